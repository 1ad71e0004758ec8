"""Single keys: how they are wrapped, what they hold, and which of them is current."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from mfa_service.errors import UnsealFailed
from mfa_service.model import KeyRecord

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


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


def private_key(key: OpenKey) -> PrivateKey:
    """Return the private key that a token-signing key holds.

    Raises:
        UnsealFailed: it holds none, or none of its algorithm.
    """
    try:
        # What was sealed was made here: to search an RSA key's numbers for faults would hold up the loop for 35 ms.
        found = load_der_private_key(key.octets, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    match key.record.algorithm, found:
        case "RS256", RSAPrivateKey() as fit:
            return fit
        case "ES256", EllipticCurvePrivateKey(curve=SECP256R1()) as fit:
            return fit
        case "EdDSA", Ed25519PrivateKey() as fit:
            return fit
        case _:
            raise UnsealFailed(f"the signing key {key.record.id} is damaged: it is no key for {key.record.algorithm}")


def current(records: Iterable[KeyRecord], now_ms: int) -> KeyRecord:
    """Return the record of the highest generation in use; where none is in use yet, the highest there is.

    Args:
        records: keys of one purpose, at least one.
        now_ms: Unix time in milliseconds.
    """
    return max(records, key=lambda record: (record.active_from_ms <= now_ms, record.generation))
