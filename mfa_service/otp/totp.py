"""TOTP: a time-based one-time password algorithm (RFC 6238). The time is an argument."""

from hmac import compare_digest

from mfa_service.model import TotpParameters
from mfa_service.otp import hotp
from mfa_service.otp.rfc2104 import Hmac


def step_at(now_ms: int, period_s: int) -> int:
    """Return the time step that a moment lies in (RFC 6238 §4.2, with T0 = 0).

    Args:
        now_ms: Unix time in milliseconds.
        period_s: the time step X in seconds.

    Returns:
        T, the number of whole steps since the epoch; the first millisecond of a step belongs to it.
    """
    return now_ms // (period_s * 1000)


def code_at(secret: bytes, parameters: TotpParameters, step: int) -> str:
    """Return the one-time password of one time step (RFC 6238 §4.2).

    Args:
        secret: the bytes shared with the authenticator.
        parameters: how the device makes its codes.
        step: the time step T, 0 or later.

    Returns:
        `parameters.digits` ASCII digits.

    Raises:
        OverflowError: `step` is negative.
    """
    return hotp.code(Hmac(secret, parameters.algorithm), step, parameters.digits)


def match(secret: bytes, parameters: TotpParameters, otp: str, *, now_ms: int, window_steps: int) -> int | None:
    """Return the time step whose code this is, of those near a moment (RFC 6238 §5.2).

    Every step of the window is computed and compared in constant time, whichever of them matches; steps before the
    epoch do not exist.

    Args:
        secret: the bytes shared with the authenticator.
        parameters: how the device makes its codes.
        otp: what the user typed, any text; other characters than ASCII digits match nothing.
        now_ms: Unix time in milliseconds.
        window_steps: how many steps before and after the present one count, 0 or more.

    Returns:
        The highest step that has this code; None where none has.
    """
    mac = Hmac(secret, parameters.algorithm)
    digits = parameters.digits
    given = _ascii(otp)
    now = step_at(now_ms, parameters.period_s)
    matching = None
    for step in range(max(0, now - window_steps), now + window_steps + 1):
        if compare_digest(hotp.code(mac, step, digits), given):
            matching = step
    return matching


def matches_step(secret: bytes, parameters: TotpParameters, otp: str, step: int) -> bool:
    """Return whether this is the code of one time step, compared in constant time.

    Args:
        secret: the bytes shared with the authenticator.
        parameters: how the device makes its codes.
        otp: what the user typed, any text; other characters than ASCII digits match nothing.
        step: the time step T, 0 or later.

    Raises:
        OverflowError: `step` is negative.
    """
    return compare_digest(code_at(secret, parameters, step), _ascii(otp))


def _ascii(otp: str) -> str:
    # What is not ASCII is compared as a question mark, which no code has: an error would carry the text.
    return otp if otp.isascii() else "?"
