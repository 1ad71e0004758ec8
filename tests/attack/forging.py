"""Tokens that no well-behaved issuer makes, by another library: with a service's own key, and with what anybody has."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from mfa_service import sealing
from mfa_service.access.keysets import SigningKeys
from tests.api.service import Caller, Response
from tests.attack.wires import LISTING
from tests.unit.access.forging import sign

Members = Mapping[str, Any]
Key = RSAKey | ECKey | OKPKey

INVALID_TOKEN = 'Bearer error="invalid_token"'
_KEYS: Mapping[str, type[Key]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}


def decoded(segment: str) -> bytes:
    """The octets that a segment of a token stands for."""
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def with_members(good: Members, changed: Members | None) -> Members:
    """What is good with members changed; None leaves one out."""
    return {name: value for name, value in {**good, **(changed or {})}.items() if value is not None}


@dataclass(frozen=True)
class Good:
    """A token just issued, and what it says.

    Attributes:
        token: as issued.
        header: of it.
        claims: of it.
    """

    token: str = field(repr=False)
    header: Members
    claims: Members


async def good(caller: Caller, **parameters: str) -> Good:
    """A token that the service itself issued."""
    token = await caller.token(**parameters)
    header, claims, _ = token.split(".")
    return Good(token, orjson.loads(decoded(header)), orjson.loads(decoded(claims)))


async def published(caller: Caller) -> Mapping[str, str]:
    """The one key that the service publishes."""
    [key] = (await caller.service.send("GET", "/.well-known/jwks.json")).json["keys"]
    found: Mapping[str, str] = key
    return found


def imported(jwk: Mapping[str, str]) -> Key:
    """A published key as joserfc reads it, good for whatever its type is."""
    key = JWKRegistry.import_key({name: jwk[name] for name in jwk if name not in ("kid", "use", "alg")})
    assert isinstance(key, RSAKey | ECKey | OKPKey)
    return key


@dataclass(frozen=True)
class Insider:
    """Whoever has the key that a service signs its tokens with.

    Attributes:
        key: the service's own.
        good: a token of it.
    """

    key: Key = field(repr=False)
    good: Good

    def forged(self, *, header: Members | None = None, claims: Members | bytes | None = None) -> str:
        """A token, well signed, that differs from a good one in these members; None leaves one out."""
        payload = claims if isinstance(claims, bytes) else with_members(self.good.claims, claims)
        algorithm = str(self.good.header["alg"])
        return sign(with_members(self.good.header, header), payload, self.key, algorithm=algorithm)


async def insider(caller: Caller) -> Insider:
    """Take the key out of the registry of a service that holds its root key in its own folder."""
    [key] = (await opened(caller)).signing_keys
    return Insider(_KEYS[key.record.algorithm].import_key(key.octets), await good(caller))


async def signing_keys(caller: Caller) -> SigningKeys:
    """The key set of such a service, opened once more."""
    return SigningKeys(await opened(caller), clock=caller.service.clock)


async def opened(caller: Caller) -> sealing.Keyring:
    """The keys of such a service."""
    service = caller.service
    return await sealing.establish(
        service.registry.keys,
        sealing.read_root_key(service.settings.data_dir / "root.key", random_bytes=service.entropy),
        clock=service.clock,
        random_bytes=service.entropy,
    )


async def asked(caller: Caller, token: str) -> Response:
    """List devices with a token."""
    return await caller.service.send("GET", LISTING, headers={"Authorization": f"Bearer {token}"})
