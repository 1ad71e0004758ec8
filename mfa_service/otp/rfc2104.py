"""HMAC: keyed hashing for message authentication (RFC 2104), over the hash functions of `cryptography`."""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes

from mfa_service.model import Algorithm

_FUNCTIONS: Final[Mapping[Algorithm, hashes.SHA1 | hashes.SHA256 | hashes.SHA512]] = {
    "SHA1": hashes.SHA1(),  # noqa: S303 - RFC 4226 fixes it; HMAC does not rest on collision resistance (RFC 6151)
    "SHA256": hashes.SHA256(),
    "SHA512": hashes.SHA512(),
}
# With each, its block's size B. A copy of an empty hash state costs a third of a new one; these are only ever copied.
_EMPTY: Final = {algorithm: (hashes.Hash(function), function.block_size) for algorithm, function in _FUNCTIONS.items()}
_IPAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OPAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class Hmac:
    """HMAC under one key, for any number of messages.

    The two hash states that have taken in the padded key are prepared once (RFC 2104 §4) and copied for each message;
    the key itself is not kept.

    Args:
        key: the secret key K, any number of bytes; one longer than the hash's block is hashed first (§2).
        algorithm: which hash function H stands for.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        empty, block_bytes = _EMPTY[algorithm]
        if len(key) > block_bytes:
            long_key = empty.copy()
            long_key.update(key)
            key = long_key.finalize()
        padded = key.ljust(block_bytes, b"\0")
        self._inner = inner = empty.copy()
        inner.update(padded.translate(_IPAD))
        self._outer = outer = empty.copy()
        outer.update(padded.translate(_OPAD))

    def digest(self, message: bytes) -> bytes:
        """Return H(K xor opad, H(K xor ipad, message)) (RFC 2104 §2).

        Args:
            message: what to authenticate, any number of bytes.

        Returns:
            The whole digest: 20, 32 or 64 bytes by the hash function.
        """
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.finalize())
        return outer.finalize()
