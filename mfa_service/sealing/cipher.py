"""Sealed blobs: AES-256-GCM with the key's id in front (NIST SP 800-38D).

    version, 1 byte | key id, 16 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes

Version and key id are authenticated together with the context. A nonce is random, so one key seals at most 2^32 blobs
(§8.3).
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mfa_service.errors import UnsealFailed
from mfa_service.ports import RandomBytes

ALGORITHM: Final = "A256GCM"  # RFC 7518 §5.1
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 16

_VERSION: Final = b"\x01"
_HEADER_BYTES: Final = 1 + KEY_ID_BYTES
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SHORTEST_BYTES: Final = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES


class Cipher:
    """Seals and opens blobs under one key, which it does not show.

    Args:
        key_id: names the key in its blobs, 32 lower-case hexadecimal digits.
        key: 32 bytes.
        random_bytes: the source of nonces.
    """

    __slots__ = ("_aead", "_header", "_random_bytes", "key_id")

    def __init__(self, key_id: str, key: bytes, random_bytes: RandomBytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self.key_id = key_id
        self._header = _VERSION + bytes.fromhex(key_id)
        if len(self._header) != _HEADER_BYTES:
            raise ValueError(f"a key id has {KEY_ID_BYTES} bytes")
        self._aead = AESGCM(key)
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"Cipher({self.key_id!r}, ...)"

    def seal(self, secret: bytes, *, context: bytes) -> bytes:
        """Return a secret sealed and bound to its context, under a nonce of its own.

        Args:
            secret: what to hide, any number of bytes.
            context: the associated data; the same is needed to open it.
        """
        nonce = self._random_bytes(_NONCE_BYTES)
        return self._header + nonce + self._aead.encrypt(nonce, secret, self._header + context)

    def open(self, blob: bytes, *, context: bytes) -> bytes:
        """Return the secret that a blob holds.

        Args:
            blob: as `seal` made it.
            context: the associated data it was sealed with.

        Raises:
            UnsealFailed: it is damaged, of another context, or of another key.
        """
        if len(blob) < _SHORTEST_BYTES or not blob.startswith(self._header):
            raise UnsealFailed("a sealed secret is damaged, or of another key")
        nonce = blob[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        try:
            return self._aead.decrypt(nonce, blob[_HEADER_BYTES + _NONCE_BYTES :], self._header + context)
        except InvalidTag:
            raise UnsealFailed("a sealed secret is damaged, or of another row") from None
