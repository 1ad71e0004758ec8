"""Key URIs: how a secret gets into an authenticator, as text or as the content of a QR code.

The format is that of https://github.com/google/google-authenticator/wiki/Key-Uri-Format. It allows a colon in neither
issuer nor account name, encoded or not, since most readers decode the label before they split it: FreeOTP refuses a
label with a second colon, Aegis loses the issuer. A colon in a name is therefore written as U+A789, which looks like
one. Labels are only shown to people: nothing is looked up by them.
"""

import base64
from typing import Final
from urllib.parse import quote

from mfa_service.model import TotpParameters

_COLON_IN_A_NAME: Final = "\ua789"


def base32_unpadded(secret: bytes) -> str:
    """Return bytes in base32 without the padding (RFC 4648 §6, §3.2), which authenticators neither need nor all take.

    Args:
        secret: any number of bytes.

    Returns:
        Upper-case letters and the digits 2 to 7.
    """
    return base64.b32encode(secret).decode("ascii").rstrip("=")


def bytes_of_base32(text: str) -> bytes:
    """Return the bytes of unpadded base32, as an authenticator reads a typed secret (RFC 4648 §6).

    Raises:
        ValueError: it is no base32.
    """
    return base64.b32decode(text + "=" * (-len(text) % 8))


def registration_uri(*, issuer: str, user_name: str, secret_base32: str, parameters: TotpParameters) -> str:
    """Return the URI that puts a device's secret into an authenticator.

    Every parameter is written out, the defaults too, and a blank is `%20`: some readers take `+` for a plus sign.

    Args:
        issuer: who the codes are for, as the user knows it; not empty.
        user_name: the account as the user knows it; not empty.
        secret_base32: the secret in base32 without padding.
        parameters: how the device makes its codes.

    Returns:
        `otpauth://totp/ISSUER:USER?secret=…&issuer=…&algorithm=…&digits=…&period=…`, ASCII alone, in which every
        character of the two names that is not unreserved (RFC 3986 §2.3) is percent-encoded UTF-8.
    """
    encoded_issuer = _encode(issuer)
    return (
        f"otpauth://totp/{encoded_issuer}:{_encode(user_name)}?secret={secret_base32}&issuer={encoded_issuer}"
        f"&algorithm={parameters.algorithm}&digits={parameters.digits}&period={parameters.period_s}"
    )


def _encode(name: str) -> str:
    return quote(name.replace(":", _COLON_IN_A_NAME), safe="")
