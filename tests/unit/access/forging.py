"""Tokens that no well-behaved issuer makes, signed with joserfc's algorithms, which allow any header."""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.unit.access.conftest import AUDIENCE, ISSUER, Access

Header = Mapping[str, object]


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def private_key(access: Access) -> RSAKey:
    """The very key of the issuer, as joserfc reads it."""
    return _imported(access.material.octets)


@functools.cache
def _imported(octets: bytes) -> RSAKey:
    return RSAKey.import_key(octets)


def header(access: Access, **members: object) -> dict[str, object]:
    """The header of a good token, with members changed; None leaves one out."""
    return _with({"alg": "RS256", "typ": "at+jwt", "kid": access.material.id}, members)


def claims(access: Access, **members: object) -> dict[str, object]:
    """The claims of a good token, with members changed; None leaves one out."""
    now_s = access.clock.now_ms() // 1000
    good: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": access.application.client_id,
        "client_id": access.application.client_id,
        "iat": now_s,
        "exp": now_s + 3600,
        "jti": "an-id",
        "scope": "mfa:enroll mfa:authenticate",
    }
    return _with(good, members)


def signing_input(protected: Header, payload: Mapping[str, object] | bytes) -> bytes:
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"{base64url(json.dumps(protected).encode())}.{base64url(octets)}".encode()


def sign(
    protected: Header,
    payload: Mapping[str, object] | bytes,
    key: RSAKey | ECKey | OKPKey,
    *,
    algorithm: str = "RS256",
) -> str:
    """A token signed by one algorithm, whatever its header says."""
    octets = signing_input(protected, payload)
    return f"{octets.decode()}.{base64url(JWSRegistry.algorithms[algorithm].sign(octets, key))}"


def hmac_signed(protected: Header, payload: Mapping[str, object], key: bytes, digest: str) -> str:
    octets = signing_input(protected, payload)
    return f"{octets.decode()}.{base64url(hmac.new(key, octets, getattr(hashlib, digest)).digest())}"


def forged(
    access: Access, *, protected: Mapping[str, object] | None = None, payload: Mapping[str, object] | None = None
) -> str:
    """A good token but for the members given, signed by the issuer's own key."""
    return sign(header(access, **(protected or {})), claims(access, **(payload or {})), private_key(access))


def _with(good: dict[str, object], members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**good, **members}.items() if value is not None}
