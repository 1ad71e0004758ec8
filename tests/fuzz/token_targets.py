"""What is asked of the verifier of tokens: nothing passes but what the issuer's own key signed for this service."""

import asyncio
import base64
import json
import os
from functools import cache
from typing import NamedTuple

from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from mfa_service.access.applications import ApplicationTable, new_application
from mfa_service.access.keysets import SigningKeys, new_signing_key
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import AccessDenied, TokenExpired
from mfa_service.model import SCOPE_ENROLL, Application, KeyPurpose, Principal
from mfa_service.sealing import establish
from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryApplications, MemoryKeys, root_key

ISSUER = "urn:mfa-service:registry"
AUDIENCE = "urn:mfa-service:audience"
CLIENT_ID = "client"
KEY_ID = b"KEY_ID"
"""What stands for the id of the key in a seed, which cannot know it."""

_NOW_S = 1_800_000_000
_LEEWAY_S = 10


class _Access(NamedTuple):
    """A verifier, what it knows, and the private key that signs for it."""

    runner: asyncio.Runner
    verifier: JwtVerifier
    application: Application
    key_id: str
    private_key: ECKey


@cache
def _access() -> _Access:
    runner, clock = asyncio.Runner(), ManualClock(_NOW_S * 1000)
    material = new_signing_key("ES256")

    async def made() -> tuple[JwtVerifier, Application]:
        keyring = await establish(MemoryKeys(), root_key(), clock=clock, random_bytes=os.urandom)
        await keyring.add(KeyPurpose.SIGNING, material, generation=1)
        await keyring.refresh()
        applications = MemoryApplications()
        application, _ = new_application(
            "shop", frozenset({SCOPE_ENROLL}), clock=clock, random_bytes=os.urandom, client_id=CLIENT_ID
        )
        await applications.add(application)
        table = ApplicationTable(applications, clock=clock)
        await table.refresh()
        verifier = JwtVerifier(
            keys=SigningKeys(keyring, clock=clock),
            applications=table,
            clock=clock,
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway_s=_LEEWAY_S,
        )
        return verifier, application

    verifier, application = runner.run(made())
    return _Access(runner, verifier, application, material.id, ECKey.import_key(material.octets))


def token(octets: bytes) -> None:
    """The text of a token that nobody signed: it is refused."""
    assert _principal(octets.decode("utf-8", "surrogateescape")) is None


def signed_token(octets: bytes) -> None:
    """A header and a payload that the issuer's key signed, divided by a zero byte: few of them are good tokens."""
    access = _access()
    header, _, payload = octets.replace(KEY_ID, access.key_id.encode()).partition(b"\0")
    signing_input = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = JWSRegistry.algorithms["ES256"].sign(signing_input, access.private_key)
    principal = _principal(f"{signing_input.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}")
    if principal is None:
        return
    assert principal.application_id == access.application.id
    assert principal.scopes <= access.application.scopes
    claimed, said = json.loads(payload), json.loads(header)
    assert (said["kid"], said["alg"]) == (access.key_id, "ES256")
    assert not {"crit", "b64"} & said.keys()
    assert (claimed["iss"], claimed["client_id"]) == (ISSUER, CLIENT_ID)
    assert AUDIENCE in claimed["aud"]
    assert claimed["iat"] - _LEEWAY_S <= _NOW_S < claimed["exp"] + _LEEWAY_S


def _principal(text: str) -> Principal | None:
    """Whom a token stands for; None where it is refused."""
    access = _access()
    try:
        return access.runner.run(access.verifier.verify(text))
    except (AccessDenied, TokenExpired):
        return None
