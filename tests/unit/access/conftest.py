"""A registry with one application and one RS256 key, and everything of `access` on top of it."""

import os
from dataclasses import dataclass

import pytest

from mfa_service.access.applications import ApplicationTable, new_application
from mfa_service.access.issuer import ClientCredentialsIssuer
from mfa_service.access.keysets import SigningKeys, new_signing_key
from mfa_service.access.profiles import RFC_9068, TokenProfile
from mfa_service.access.verifier import JwtVerifier
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, Application, KeyPurpose, TokenRequest
from mfa_service.sealing import KeyMaterial, Keyring, establish
from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryApplications, MemoryKeys, root_key

ISSUER = "urn:mfa-service:registry"
AUDIENCE = "urn:mfa-service:audience"
SCOPES = frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE})
LIFE_S = 3600
LEEWAY_S = 10


@dataclass(frozen=True, repr=False)
class Access:
    """What the tests use; `client_secret` is the application's."""

    clock: ManualClock
    keys: MemoryKeys
    keyring: Keyring
    signing: SigningKeys
    applications: MemoryApplications
    table: ApplicationTable
    issuer: ClientCredentialsIssuer
    verifier: JwtVerifier
    application: Application
    client_secret: str
    material: KeyMaterial

    def request(self, *, client_secret: str | None = None, scopes: frozenset[str] | None = None) -> TokenRequest:
        secret = self.client_secret if client_secret is None else client_secret
        return TokenRequest(self.application.client_id, secret, scopes, basic=False)

    async def token(self, *, scopes: frozenset[str] | None = None) -> str:
        return (await self.issuer.issue(self.request(scopes=scopes))).access_token

    def another_verifier(self, *, leeway_s: int = LEEWAY_S, profile: TokenProfile = RFC_9068) -> JwtVerifier:
        """A verifier of the same keys and applications that remembers nothing yet."""
        return JwtVerifier(
            keys=self.signing,
            applications=self.table,
            clock=self.clock,
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway_s=leeway_s,
            profile=profile,
        )

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, at the end of which the table of applications has been read."""
        self.clock.advance(seconds)
        await self.table.refresh()

    async def disable(self) -> None:
        await self.applications.set_disabled(self.application.id, disabled=True)
        await self.table.refresh()


@pytest.fixture(scope="session")
def rsa_material() -> KeyMaterial:
    return new_signing_key("RS256")


@pytest.fixture
async def access(rsa_material: KeyMaterial) -> Access:
    clock = ManualClock()
    keys = MemoryKeys()
    keyring = await establish(keys, root_key(), clock=clock, random_bytes=os.urandom)
    await keyring.add(KeyPurpose.SIGNING, rsa_material, generation=1)
    await keyring.refresh()
    signing = SigningKeys(keyring, clock=clock)
    applications = MemoryApplications()
    application, client_secret = new_application("shop", SCOPES, clock=clock, random_bytes=os.urandom)
    await applications.add(application)
    table = ApplicationTable(applications, clock=clock)
    await table.refresh()
    issuer = ClientCredentialsIssuer(
        applications=applications,
        keys=signing,
        clock=clock,
        random_bytes=os.urandom,
        issuer=ISSUER,
        audience=AUDIENCE,
        life_s=LIFE_S,
    )
    verifier = JwtVerifier(
        keys=signing, applications=table, clock=clock, issuer=ISSUER, audience=AUDIENCE, leeway_s=LEEWAY_S
    )
    return Access(
        clock, keys, keyring, signing, applications, table, issuer, verifier, application, client_secret, rsa_material
    )
