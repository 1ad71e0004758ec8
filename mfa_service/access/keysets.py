"""Keys of access tokens as a key set (RFC 7517), each bound to one algorithm and named by its thumbprint (RFC 7638)."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import AllowedPublicKeys, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose
from mfa_service.ports import Clock
from mfa_service.sealing import KeyMaterial, Keyring, OpenKey, PrivateKey, current, private_key

_RSA_BITS: Final = 2048
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_THUMBPRINT_MEMBERS: Final = frozenset({"crv", "e", "kty", "n", "x", "y"})  # RFC 7638 §3.2, RFC 8037 §2


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public half of a key, and the one algorithm (RFC 7518 §3.1) that it verifies."""

    kid: str
    algorithm: str
    public_key: AllowedPublicKeys


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens, with its public half and its public JWK."""

    private_key: PrivateKey = field(repr=False)
    verification: VerificationKey
    public_jwk: Mapping[str, object]


class KeySet(Protocol):
    """The keys that one issuer's tokens are verified with."""

    def get(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, as far as known now; the same object for as long as the key is in the set."""
        ...

    async def find(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, after looking for it afresh where it is not known.

        Raises:
            StoreUnavailable: it is not known, and where keys come from is out of reach.
        """
        ...


class SigningKeys:
    """This service's own key set, as the registry's keyring holds it (`KeySet`).

    Args:
        keyring: where the keys are.
        clock: decides which key signs.
    """

    def __init__(self, keyring: Keyring, *, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock
        self._seen: tuple[OpenKey, ...] = ()
        self._keys: dict[str, SigningKey] = {}
        self._verification: dict[str, VerificationKey] = {}

    def get(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, as far as known now."""
        if self._keyring.signing_keys is not self._seen:
            self._current_keys()
        return self._verification.get(kid)

    async def find(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, after the keyring has looked again for one that is not known.

        Raises:
            StoreUnavailable: it is not known, and the registry is out of reach.
        """
        key = self.get(kid)
        if key is None and _THUMBPRINT.fullmatch(kid):  # no other text is a key id here: not worth a look
            await self._keyring.look_again()
            key = self.get(kid)
        return key

    def signing_key(self) -> SigningKey:
        """Return the key that signs now: the newest whose time has come.

        Raises:
            StoreUnavailable: none can be opened now.
            UnsealFailed: no signing key opens.
        """
        keys = self._current_keys()
        if not keys:
            if self._keyring.awaited:
                raise StoreUnavailable("no token-signing key can be opened now")
            raise UnsealFailed("no token-signing key opens")
        return keys[current((key.record for key in self._seen), self._clock.now_ms()).id]

    def jwks(self) -> Mapping[str, object]:
        """Return the public halves of all keys as a JWK Set (RFC 7517 §5), those that do not sign yet included."""
        return {"keys": [key.public_jwk for key in self._current_keys().values()]}

    def _current_keys(self) -> Mapping[str, SigningKey]:
        opened = self._keyring.signing_keys
        if opened is not self._seen:
            self._keys = {key.record.id: self._keys.get(key.record.id) or _signing_key(key) for key in opened}
            self._verification = {key_id: key.verification for key_id, key in self._keys.items()}
            self._seen = opened
        return self._keys


async def establish_signing_key(keyring: Keyring, algorithm: str) -> None:
    """Make a registry's first signing key; where there is one already, it stays, whatever its algorithm.

    Args:
        keyring: where the key goes.
        algorithm: `RS256`, `ES256` or `EdDSA`.

    Raises:
        UnsealFailed: there are signing keys, and none opens.
        StoreUnavailable: the registry or the key service is out of reach.
    """
    if not keyring.records(KeyPurpose.SIGNING):
        await keyring.add(KeyPurpose.SIGNING, new_signing_key(algorithm), generation=1)
        await keyring.refresh()
    if not keyring.signing_keys:
        raise UnsealFailed("no token-signing key opens")


def new_signing_key(algorithm: str) -> KeyMaterial:
    """Return a new key that signs tokens.

    Args:
        algorithm: `RS256` (2048 bits), `ES256` (both RFC 7518 §3.1) or `EdDSA` (Ed25519, RFC 8037 §3.1).

    Raises:
        ValueError: it is another algorithm.
    """
    made = _new_private_key(algorithm)
    public_jwk = _public_jwk(made, algorithm)
    return KeyMaterial(
        id=str(public_jwk["kid"]),
        algorithm=algorithm,
        octets=made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        public_jwk=json.dumps(public_jwk),
    )


def _new_private_key(algorithm: str) -> PrivateKey:
    match algorithm:
        case "RS256":
            return generate_rsa_private_key(public_exponent=65537, key_size=_RSA_BITS)
        case "ES256":
            return generate_private_key(SECP256R1())
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case _:
            raise ValueError(f"no signing algorithm: {algorithm}")


def _signing_key(key: OpenKey) -> SigningKey:
    """Return the key that a record holds; its public half too comes from what was sealed, not from the open column."""
    opened = private_key(key)
    return SigningKey(
        private_key=opened,
        verification=VerificationKey(key.record.id, key.record.algorithm, opened.public_key()),
        public_jwk=_public_jwk(opened, key.record.algorithm),
    )


def _public_jwk(key: PrivateKey, algorithm: str) -> dict[str, object]:
    """Return the public members of a key (RFC 7517 §4), with its thumbprint as key id."""
    match key:
        case RSAPrivateKey():
            members = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case EllipticCurvePrivateKey():
            members = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case Ed25519PrivateKey():
            members = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public = {name: value for name, value in members.items() if name in _THUMBPRINT_MEMBERS}
    return {**public, "kid": _thumbprint(public), "alg": algorithm, "use": "sig"}


def _thumbprint(public: Mapping[str, object]) -> str:
    """Return the SHA-256 thumbprint of a key's required members (RFC 7638 §3)."""
    canonical = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).decode().rstrip("=")
