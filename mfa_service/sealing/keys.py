"""Single keys: how they are wrapped, and which of them is current."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mfa_service.model import KeyRecord


class KeyWrapping(Protocol):
    """Whoever holds the root key: seals and opens single keys, on this machine or in a key service."""

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return a key sealed and bound to its context."""
        ...

    async def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` sealed.

        Raises:
            UnsealFailed: it is damaged, of another context, or wrapped by another root key.
            StoreUnavailable: the key service is out of reach.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A key just made, before it is wrapped.

    Attributes:
        id: the key id; unique in the registry.
        algorithm: `A256GCM` or a JWS algorithm (RFC 7518).
        octets: the key itself: 32 bytes, or a private key in PKCS #8 DER.
        public_jwk: the public half as JSON for operators to read; nothing is verified with it.
    """

    id: str
    algorithm: str
    octets: bytes = field(repr=False)
    public_jwk: str = ""


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key of the registry and what it holds."""

    record: KeyRecord
    octets: bytes = field(repr=False)


def current(records: Iterable[KeyRecord], now_ms: int) -> KeyRecord:
    """Return the record of the highest generation in use; where none is in use yet, the highest there is.

    Args:
        records: keys of one purpose, at least one.
        now_ms: Unix time in milliseconds.
    """
    return max(records, key=lambda record: (record.active_from_ms <= now_ms, record.generation))
