"""How long a device waits after wrong codes, and what that leaves a guesser.

Sources: RFC 4226 §7.3 (throttling by a growing delay), NIST SP 800-63B §5.2.2 (at most 100 failures in a row).
"""

from typing import Final

from mfa_service.errors import DeviceWaits
from mfa_service.model import Charged, Device, DeviceStatus, GuessingLimits, Standing

WORST_ODDS_PER_DAY = 1 / 1_000
"""No device may be easier to guess at within a day."""

RIGHT_CODES_A_DAY = 10
"""Logins of a device's owner that a guesser may count on within a day: each sets the count of wrong codes back."""

_DAY_MS = 86_400_000

SLOW_WINDOW_MS = 30 * _DAY_MS
"""How long wrong codes are counted that no right code clears, from the first of them on."""

ALERT_AT = 20
"""Wrong codes within that window that operators are told of."""

_BLOCKED: Final = DeviceStatus.BLOCKED  # looked up once, for every challenge and code
_CODES = 1_000_000  # of a six-digit device, the easiest to guess


def limits(*, free_failures: int, first_wait_s: int, longest_wait_s: int, disable_after: int) -> GuessingLimits:
    """Compute the list of waits from the four figures of the settings.

    Args:
        free_failures: the wait begins with this many wrong codes in a row.
        first_wait_s: the first wait in seconds; each further one is twice as long.
        longest_wait_s: no wait is longer, in seconds.
        disable_after: the device is blocked at this many wrong codes in a row.

    Returns:
        The waits in milliseconds, indexed by the number of wrong codes in a row, up to the block.
    """
    waits_ms = [0] * (disable_after + 1)
    wait_s = first_wait_s
    for failures in range(free_failures, disable_after + 1):
        waits_ms[failures] = min(wait_s, longest_wait_s) * 1000
        wait_s = min(wait_s * 2, longest_wait_s)
    return GuessingLimits(waits_ms=tuple(waits_ms), disable_after=disable_after)


def guesses_per_day(limits: GuessingLimits, *, right_codes: int = 0) -> int:
    """Return how many wrong codes a device takes at most within one day, from none on.

    Args:
        limits: the waits and the block.
        right_codes: how often within the day, evenly, its owner sets the count back.
    """
    stretches = right_codes + 1
    return stretches * _guesses_within(_DAY_MS // stretches, limits)


def odds_per_day(limits: GuessingLimits, *, window_steps: int, right_codes: int = 0) -> float:
    """Return the odds that a guesser hits a code of a six-digit device within one day.

    Args:
        limits: the waits and the block.
        window_steps: how many steps either side of now are accepted; each adds a code that counts.
        right_codes: as for `guesses_per_day`.

    Returns:
        A probability between 0 and 1.
    """
    return _odds(guesses_per_day(limits, right_codes=right_codes), window_steps)


def odds_per_challenge(*, max_attempts: int, window_steps: int) -> float:
    """Return the odds that a guesser hits a code of a six-digit device on one challenge."""
    return _odds(max_attempts, window_steps)


def slow_failures(device: Device) -> int:
    """Return the wrong codes within the slow counter's window when the device was read; right ones clear none."""
    return device.slow_failures if device.read_at_ms < device.slow_since_ms + SLOW_WINDOW_MS else 0


def calls_for_alert(charged: Charged) -> bool:
    """Whether this very wrong code is the one to tell operators of: one code of each window is."""
    return charged.slow_failures == ALERT_AT


def refuse_waiting(device: Standing) -> None:
    """Let a device pass that answers codes now.

    Raises:
        DeviceWaits: it is blocked, or waits after too many wrong codes in a row.
    """
    if device.status is _BLOCKED:
        raise DeviceWaits(None)
    left_ms = device.locked_until_ms - device.read_at_ms
    if left_ms > 0:
        raise DeviceWaits(-(-left_ms // 1000))


def _guesses_within(stretch_ms: int, limits: GuessingLimits) -> int:
    elapsed_ms = 0
    for failures in range(1, limits.disable_after + 1):
        if elapsed_ms >= stretch_ms:
            return failures - 1
        elapsed_ms += limits.waits_ms[failures]
    return limits.disable_after


def _odds(guesses: int, window_steps: int) -> float:
    codes_in_window = 2 * window_steps + 1
    return min(1.0, guesses * codes_in_window / _CODES)
