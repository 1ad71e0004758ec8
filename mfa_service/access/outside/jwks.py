"""An issuer's key set (RFC 7517) as the keys that verify its tokens, each bound to one algorithm."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mfa_service.access.keysets import VerificationKey
from mfa_service.access.outside.documents import Unusable

MAX_KEYS: Final = 100
MAX_KID_CHARACTERS: Final = 256

_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_RSA_BITS: Final = range(2_048, 8_192 + 1)
_ALGORITHM_OF_CURVE: Final = {
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA",
}
_READERS: Final[Mapping[str, Callable[[dict[str, Any]], object]]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


@dataclass(frozen=True, slots=True)
class ReadKeys:
    """What a key set holds.

    Attributes:
        keys: the keys that verify tokens, by their ids.
        ignored: why others are not among them → how many.
    """

    keys: Mapping[str, VerificationKey]
    ignored: Mapping[str, int]


class _Ignored(Exception):
    """A key is not one that verifies tokens here; the text says why."""


def read_keys(content: bytes, *, rsa_algorithm: str) -> ReadKeys:
    """Return the keys of a key set; a key that is not fit is left out (RFC 7517 §5), and so are two of one id.

    Args:
        content: the JSON of the set.
        rsa_algorithm: what an RSA key verifies that names no algorithm.

    Raises:
        Unusable: it is no key set, or has more than a hundred keys.
    """
    ignored: Counter[str] = Counter()
    by_kid: dict[str, VerificationKey] = {}
    twice: set[str] = set()
    for jwk in _listed(content):
        try:
            key = _key(jwk, rsa_algorithm)
        except _Ignored as reason:
            ignored[str(reason)] += 1
            continue
        if by_kid.setdefault(key.kid, key) != key:
            twice.add(key.kid)
    for kid in twice:  # nobody can say which one a token means
        del by_kid[kid]
        ignored["two keys of one id"] += 1
    return ReadKeys(by_kid, ignored)


def _listed(content: bytes) -> list[object]:
    try:
        key_set = orjson.loads(content)
    except orjson.JSONDecodeError:
        key_set = None
    listed = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(listed, list):
        raise Unusable("its keys are no key set")
    if len(listed) > MAX_KEYS:
        raise Unusable("its keys are too many")
    return listed


def _key(jwk: object, rsa_algorithm: str) -> VerificationKey:
    if not isinstance(jwk, dict):
        raise _Ignored("no key")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        raise _Ignored("no id")
    _refuse_other_uses(jwk)
    algorithm = _algorithm(jwk, rsa_algorithm)
    if "d" in jwk:  # what everybody may read proves nothing
        raise _Ignored("a private key")
    return VerificationKey(kid, algorithm, _public_key(jwk))


def _refuse_other_uses(jwk: Mapping[str, Any]) -> None:
    """Refuse a key that is not for signatures, or not for verifying them (RFC 7517 §4.2, §4.3)."""
    if jwk.get("use", "sig") != "sig":
        raise _Ignored("not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Ignored("not for verifying")


def _algorithm(jwk: Mapping[str, Any], rsa_algorithm: str) -> str:
    """Return the one algorithm that a key verifies: its own, or that of its type and curve (RFC 7518 §6, RFC 8037)."""
    kty, curve, named = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if kty == "RSA":
        algorithm = rsa_algorithm if named is None else named
        if isinstance(algorithm, str) and algorithm in _RSA_ALGORITHMS:
            return algorithm
        raise _Ignored("an algorithm that is not taken")
    if not isinstance(kty, str) or not isinstance(curve, str) or (kty, curve) not in _ALGORITHM_OF_CURVE:
        raise _Ignored("a type that is not taken")
    algorithm = _ALGORITHM_OF_CURVE[kty, curve]
    if named not in (None, algorithm):
        raise _Ignored("an algorithm that is not taken")
    return algorithm


def _public_key(jwk: dict[str, Any]) -> RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey:
    try:
        key = _READERS[jwk["kty"]](jwk)
    except (jwt.InvalidKeyError, ValueError, TypeError, AttributeError):  # members of the wrong type among them
        raise _Ignored("malformed") from None
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        raise _Ignored("a private key")
    if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
        raise _Ignored("an RSA key too short or too long")
    return key
