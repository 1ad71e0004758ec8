"""Applications whose tokens come from another issuer."""

from typing import Protocol

from mfa_service.access.applications import application_elsewhere
from mfa_service.model import Application
from mfa_service.ports import Clock
from tests.api.service import BOTH_SCOPES, Caller, Service


class Issues(Protocol):
    """Gives access tokens to a client."""

    def token(self, clock: Clock, client_id: str) -> str: ...


class OutsideCaller(Caller):
    """An application that calls with tokens of another issuer.

    Attributes:
        issuer: where they come from.
    """

    def __init__(self, service: Service, application: Application, issuer: Issues) -> None:
        super().__init__(service, application, "")
        self.issuer = issuer

    async def token(self, **_: str) -> str:
        """A token just issued."""
        return self.issuer.token(self.service.clock, self.application.client_id)

    async def asks(self, token: str) -> tuple[int, str | None]:
        """What a call with a token is answered: 200, or why not; 10003 is a user without devices."""
        headers = {"Authorization": f"Bearer {token}"}
        return (await self.service.send("GET", "/users/nobody/mfadevices", headers=headers)).outcome


async def onboarded_from(service: Service, issuer: Issues, client_id: str = "shop") -> OutsideCaller:
    """Onboard an application of another issuer."""
    application = application_elsewhere(
        client_id, BOTH_SCOPES, client_id=client_id, clock=service.clock, random_bytes=service.entropy
    )
    await service.registry.applications.add(application)
    await service.duties.do()
    return OutsideCaller(service, application, issuer)
