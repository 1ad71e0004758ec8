"""Random identifiers in their wire forms."""

from functools import lru_cache
from typing import Final

from mfa_service.ports import RandomBytes

_BLOCK_BYTES: Final = 4_096
_ID_BYTES: Final = 16
_AUTH_ID_CHARACTERS: Final = 36
_REMEMBERED_IDS: Final = 512
_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class BlockwiseRandomBytes:
    """Random bytes for identifiers, drawn in blocks: asking the kernel costs three times as much as all else.

    Not for keys and secrets, which would wait in memory here. Not to be shared with a forked process, which would give
    the same bytes again.

    Args:
        source: gives a block.
    """

    def __init__(self, source: RandomBytes) -> None:
        self._source = source
        self._block = b""
        self._given = 0

    def take(self, size: int) -> bytes:
        """Return so many bytes that nobody has been given before."""
        given = self._given
        octets = self._block[given : given + size]
        if len(octets) < size:
            self._block = self._source(max(_BLOCK_BYTES, size))
            given, octets = 0, self._block[:size]
        self._given = given + size
        return octets


def auth_id(random_bytes: RandomBytes) -> str:
    """Return a new random challenge id: a version 4 UUID in lower-case canonical form (RFC 9562 §5.4)."""
    text = random_bytes(_ID_BYTES).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


def device_id(random_bytes: RandomBytes) -> str:
    """Return a new random device id: 32 lower-case hexadecimal digits."""
    return random_bytes(_ID_BYTES).hex()


@lru_cache(maxsize=_REMEMBERED_IDS)  # whoever validates looks at an id three times within milliseconds
def octets_of_auth_id(auth_id: str) -> bytes:
    """Return the 16 octets of a challenge id.

    Args:
        auth_id: any text.

    Raises:
        ValueError: it is not a UUID in lower-case canonical form, which every id is.
    """
    digits = auth_id.replace("-", "")
    octets = bytes.fromhex(digits)
    is_canonical = auth_id[8:24:5] == "----" and octets.hex() == digits
    if not is_canonical or len(octets) != _ID_BYTES or len(auth_id) != _AUTH_ID_CHARACTERS:
        raise ValueError("no id")
    return octets


def octets_of_device_id(device_id: str) -> bytes:
    """Return the 16 octets of a device id.

    Raises:
        ValueError: it is not in the one form that `device_id` gives.
    """
    found = bytes.fromhex(device_id)
    if len(found) != _ID_BYTES or found.hex() != device_id:
        raise ValueError("no id")
    return found
