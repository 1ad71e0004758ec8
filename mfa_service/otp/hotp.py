"""HOTP: an HMAC-based one-time password algorithm (RFC 4226)."""

from struct import Struct
from typing import Final

from mfa_service.otp.rfc2104 import Hmac

_four_bytes: Final = Struct(">I").unpack_from
_MODULI: Final = {digits: 10**digits for digits in (6, 7, 8)}


def truncate(digest: bytes) -> int:
    """Return 31 bits of an HMAC, from the place that its last four bits name (RFC 4226 §5.3, dynamic truncation).

    Args:
        digest: an HMAC of 20 bytes or more.

    Returns:
        Snum, a number from 0 to 2³¹ - 1.
    """
    snum: int = _four_bytes(digest, digest[-1] & 0x0F)[0]
    return snum & 0x7FFF_FFFF


def code(mac: Hmac, counter: int, digits: int) -> str:
    """Return the one-time password of one counter value (RFC 4226 §5.3).

    Args:
        mac: HMAC under the secret shared with the authenticator.
        counter: the moving factor, 0 to 2⁶⁴ - 1.
        digits: how long the password is: 6, 7 or 8.

    Returns:
        As many ASCII digits, leading zeros included.

    Raises:
        ValueError: `digits` is another number.
        OverflowError: `counter` does not fit into eight bytes.
    """
    modulus = _MODULI.get(digits)
    if modulus is None:
        raise ValueError("digits must be 6, 7 or 8")
    return str(truncate(mac.digest(counter.to_bytes(8, "big"))) % modulus).zfill(digits)
