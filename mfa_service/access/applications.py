"""Onboarded applications: how they are made, and the table of them that each process holds."""

import base64
import hashlib
import re
from dataclasses import replace
from typing import Final

from mfa_service.errors import ApplicationNotFound, NameRefused, StoreUnavailable
from mfa_service.model import Application, SecretHash
from mfa_service.names import canonical
from mfa_service.ports import Applications, Clock, RandomBytes

_ID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_CLIENT_ID: Final = re.compile(r"[!-~]{1,255}", re.ASCII)  # RFC 6749 appendix A.1, without the blank
_MAX_AGE_S: Final = 5.0


class ApplicationTable:
    """Every application, in memory, as the registry had them a moment ago.

    A process calls `refresh` each 0.5 s, so what is disabled or removed is out within a second; where that fails for
    long, nobody is in.

    Args:
        applications: the registry of applications.
        clock: tells the table's age.
    """

    def __init__(self, applications: Applications, *, clock: Clock) -> None:
        self._applications = applications
        self._clock = clock
        self._known: dict[str, Application | None] = {}  # None: looked for in the registry and not there
        self._read_at_s = float("-inf")

    async def refresh(self) -> None:
        """Read the whole registry again.

        Raises:
            StoreUnavailable: it is out of reach; the table stays as it is.
        """
        began_at_s = self._clock.monotonic_s()
        self._known = {application.client_id: application for application in await self._applications.all()}
        self._read_at_s = began_at_s

    async def find(self, client_id: str) -> Application:
        """Return an application by its client id, disabled or not; one not in the table is looked for in the registry.

        Raises:
            ApplicationNotFound: there is none.
            StoreUnavailable: the table is older than five seconds, or the registry is needed and out of reach.
        """
        if self._clock.monotonic_s() - self._read_at_s > _MAX_AGE_S:
            raise StoreUnavailable("the table of applications is out of date")
        known = self._known
        try:
            application = known[client_id]
        except KeyError:
            application = await self._looked_up(client_id)
            known.setdefault(client_id, application)  # without effect where the table was read again meanwhile
        if application is None:
            raise ApplicationNotFound
        return application

    async def _looked_up(self, client_id: str) -> Application | None:
        try:
            return await self._applications.by_client_id(client_id)
        except ApplicationNotFound:
            return None


def new_application(
    name: str, scopes: frozenset[str], *, clock: Clock, random_bytes: RandomBytes, client_id: str | None = None
) -> tuple[Application, str]:
    """Return a new application and its client secret, of which only the hash is kept.

    Args:
        name: what operators call it.
        scopes: what its tokens may allow.
        clock: when it was onboarded.
        random_bytes: the source of ids and the secret.
        client_id: the client id at an issuer of its own; None for a random one.

    Returns:
        The application, not yet in the registry, and the secret: 256 random bits in base64url.

    Raises:
        NameRefused: the name or the client id is none.
    """
    if client_id is None:
        client_id = random_bytes(_ID_BYTES).hex()
    application = application_elsewhere(name, scopes, client_id=client_id, clock=clock, random_bytes=random_bytes)
    client_secret = _new_secret(random_bytes)
    return replace(application, secret_hashes=(_hash(client_secret),)), client_secret


def is_client_id(text: str) -> bool:
    """Return whether an application can be called this: 1 to 255 visible ASCII characters.

    Args:
        text: any.
    """
    return _CLIENT_ID.fullmatch(text) is not None


def application_elsewhere(
    name: str, scopes: frozenset[str], *, client_id: str, clock: Clock, random_bytes: RandomBytes
) -> Application:
    """Return a new application of another issuer, which keeps its secret: here it has none.

    Args:
        name: what operators call it.
        scopes: what its tokens may allow.
        client_id: what the issuer's tokens call it.
        clock: when it was onboarded.
        random_bytes: the source of ids.

    Raises:
        NameRefused: the name or the client id is none.
    """
    if not is_client_id(client_id):
        raise NameRefused("a client id has 1 to 255 visible ASCII characters and no blank")
    return Application(
        id=random_bytes(_ID_BYTES).hex(),
        name=canonical(name),
        client_id=client_id,
        scopes=scopes,
        disabled=False,
        created_at_ms=clock.now_ms(),
        secret_hashes=(),
    )


def rotate_secret(
    application: Application, *, grace_s: int, clock: Clock, random_bytes: RandomBytes
) -> tuple[tuple[SecretHash, ...], str]:
    """Return the hashes that an application has from now on, and its new client secret.

    Args:
        application: as the registry has it.
        grace_s: how many seconds the secrets so far stay good; none of them outlives an earlier end.
        clock: the time now.
        random_bytes: the source of the secret.

    Returns:
        The new secret's hash and those still good, not yet in the registry; and the secret: 256 random bits in
        base64url.
    """
    client_secret = _new_secret(random_bytes)
    now_ms = clock.now_ms()
    until_ms = now_ms + grace_s * 1000
    ending = (
        SecretHash(one.digest, until_ms if one.valid_until_ms is None else min(until_ms, one.valid_until_ms))
        for one in application.secret_hashes
    )
    good = (one for one in ending if one.valid_until_ms is not None and one.valid_until_ms > now_ms)
    return (_hash(client_secret), *good), client_secret


def _new_secret(random_bytes: RandomBytes) -> str:
    return base64.urlsafe_b64encode(random_bytes(_SECRET_BYTES)).decode().rstrip("=")


def _hash(client_secret: str) -> SecretHash:
    # Plain SHA-256: 256 random bits leave nothing to guess, so nothing to slow down.
    return SecretHash(hashlib.sha256(client_secret.encode()).digest())
