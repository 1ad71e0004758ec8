"""The whole service on a socket of this machine, and the applications that call it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from mfa_service import app, opening
from mfa_service import settings as settings_module
from mfa_service.access.applications import new_application
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, Application, Device, Owner
from mfa_service.ports import Clock
from mfa_service.settings import Settings
from mfa_service.stores.sql import Registry
from mfa_service.web.service import RequestLog
from tests.api.authenticator import Authenticator
from tests.clocks import ManualClock

BASE = "/ciam-mfa/v2"
BOTH_SCOPES = frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE})
USER = "alice"
DEVICE = "Phone"

# An elliptic curve's key is made in a moment; all else is as it comes.
_SETTINGS = {"tokens.signing_algorithm": "ES256"}


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever the service sent
        return orjson.loads(self.body)

    @property
    def outcome(self) -> tuple[int, str | None]:
        """The status, and the service's own code where it is an error."""
        return self.status, self.json["code"] if self.status >= 400 else None


class Entropy:
    """The machine's random bytes, until they are told to fail.

    Attributes:
        fails_at: the size of a request that fails.
        text: what the failure says.
    """

    fails_at: int | None = None
    text = "the text of an internal fault"

    def __call__(self, size: int) -> bytes:
        if size == self.fails_at:
            raise RuntimeError(self.text)
        return os.urandom(size)


class Duties:
    """What the service does now and then, done when a test's clock has moved instead."""

    def __init__(self) -> None:
        self._acts: dict[str, Callable[[], Awaitable[object]]] = {}

    async def keep_doing(self, interval_s: float, act: Callable[[], Awaitable[object]], *, name: str) -> None:
        assert interval_s > 0
        self._acts[name] = act
        await asyncio.Event().wait()

    async def do(self, *, but: str = "") -> None:
        """Do each of them once, one excepted."""
        for name, act in self._acts.items():
            if name != but:
                await act()


class _NoLog:
    def request(self, **_: object) -> None: ...


NO_LOG = _NoLog()


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        registry: its own.
        entropy: its random bytes.
    """

    settings: Settings
    clock: ManualClock
    registry: Registry
    entropy: Entropy
    duties: Duties
    session: aiohttp.ClientSession
    url: str

    async def advance(self, seconds: float) -> None:
        """Let time pass, with what the service does in it."""
        self.clock.advance(seconds)
        await self.duties.do()

    async def onboard(self, name: str = "shop", scopes: Iterable[str] = BOTH_SCOPES) -> "Caller":
        """Onboard an application."""
        application, client_secret = new_application(
            name, frozenset(scopes), clock=self.clock, random_bytes=self.entropy
        )
        await self.registry.applications.add(application)
        await self.duties.do()
        return Caller(self, application, client_secret)

    async def send(self, method: str, path: str, **given: Any) -> Response:  # noqa: ANN401  what aiohttp takes
        """Send one request to a path as it is written, under the base path unless it is a well-known one."""
        base = self.url if path.startswith("/.well-known/") else self.url + BASE
        async with self.session.request(method, URL(base + path, encoded=True), **given) as answer:
            return Response(answer.status, answer.headers, await answer.read())

    async def token_call(self, path: str = "/get/token", **given: Any) -> Response:  # noqa: ANN401  as `send`
        return await self.send("POST", path, **given)


class Caller:
    """An application that calls the service, with a token that it gets anew when it must.

    Attributes:
        application: as onboarded.
        client_secret: its first one.
    """

    def __init__(self, service: Service, application: Application, client_secret: str) -> None:
        self.service = service
        self.application = application
        self.client_secret = client_secret
        self._token = ""
        self._renew_at_ms = 0

    @property
    def grant(self) -> dict[str, str]:
        """The parameters of its token call."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.application.client_id,
            "client_secret": self.client_secret,
        }

    @property
    def basic(self) -> str:
        """Its credentials as the header of HTTP Basic."""
        return aiohttp.encode_basic_auth(self.application.client_id, self.client_secret)

    async def token(self, **parameters: str) -> str:
        """A token just issued."""
        response = await self.service.token_call(data={**self.grant, **parameters})
        assert response.status == 200
        token: str = response.json["access_token"]
        return token

    async def bearer(self) -> dict[str, str]:
        """The header that says who it is."""
        now_ms = self.service.clock.now_ms()
        if now_ms >= self._renew_at_ms:
            self._token = await self.token()
            self._renew_at_ms = now_ms + 3_000_000
        return {"Authorization": f"Bearer {self._token}"}

    async def call(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Make a call with a token; content is sent as JSON, bytes as they are."""
        given = {**await self.bearer(), **(headers or {})}
        if content is None:
            return await self.service.send(method, path, headers=given)
        data = content if isinstance(content, bytes) else orjson.dumps(content)
        return await self.service.send(method, path, data=data, headers={"Content-Type": "application/json", **given})

    async def pair(self, device: str = DEVICE, *, user: str = USER, **options: object) -> Response:
        """Call 2."""
        content = {"deviceType": "TOTP", "deviceName": device, **options}
        return await self.call("POST", f"/users/{quote(user, safe='')}/mfadevices", content)

    async def activate(self, auth_id: str, otp: str, *, user: str = USER) -> Response:
        """Call 3."""
        path = f"/users/{quote(user, safe='')}/mfadevices/{auth_id}"
        return await self.call("POST", path, {"deviceType": "TOTP", "otp": otp})

    async def devices(self, *, user: str = USER, query: str = "") -> Response:
        """Call 4."""
        return await self.call("GET", f"/users/{quote(user, safe='')}/mfadevices{query}")

    async def unpair(self, device: str = DEVICE, *, user: str = USER, device_type: str = "TOTP") -> Response:
        """Call 5."""
        path = f"/users/{quote(user, safe='')}/mfadevices/{device_type}/{quote(device, safe='')}"
        return await self.call("DELETE", path)

    async def initiate(self, device: str = DEVICE, *, user: str = USER) -> Response:
        """Call 6."""
        content = {"userName": user, "deviceName": device, "deviceType": "TOTP"}
        return await self.call("POST", "/deviceAuthentications", content)

    async def validate(self, auth_id: str, otp: str) -> Response:
        """Call 7."""
        return await self.call("POST", f"/deviceAuthentications/{auth_id}", {"deviceType": "TOTP", "otp": otp})

    async def pending(self, device: str = DEVICE, *, user: str = USER, **options: object) -> tuple[Authenticator, str]:
        """A device that waits for its first code: its authenticator, and the activation's id."""
        response = await self.pair(device, user=user, **options)
        assert response.status == 201
        return Authenticator(response.json["registrationUri"], self.service.clock), response.json["authId"]

    async def enrolled(self, device: str = DEVICE, *, user: str = USER, **options: object) -> Authenticator:
        """An active device whose authenticator shows a code that has not been used yet."""
        authenticator, auth_id = await self.pending(device, user=user, **options)
        assert (await self.activate(auth_id, authenticator.code(), user=user)).status == 200
        await self.service.advance(authenticator.totp.interval)
        return authenticator

    async def challenge(self, device: str = DEVICE, *, user: str = USER) -> str:
        """The id of an open challenge."""
        response = await self.initiate(device, user=user)
        assert response.status == 201
        auth_id: str = response.json["authId"]
        return auth_id

    async def row(self, device: str = DEVICE, *, user: str = USER) -> Device:
        """What the registry holds of a device."""
        return await self.service.registry.devices.find(Owner(self.application.id, user), device)


@asynccontextmanager
async def serving(
    folder: Path, clock: ManualClock, flags: Mapping[str, object] = MappingProxyType({}), *, log: RequestLog = NO_LOG
) -> AsyncIterator[Service]:
    """Serve on a free port of this machine, on the registry of a folder.

    Args:
        folder: the service's `data_dir`.
        clock: the service's time, and its database's.
        flags: settings that are not to be as they come, `section.key`.
        log: takes one line a request.
    """
    settings = settings_module.load(
        config_path=None, environment={}, flags={"data_dir": str(folder), **_SETTINGS, **flags}
    ).settings
    registries: list[Registry] = []
    open_registry_of = opening.open_registry_of

    async def noted(settings: Settings, *, clock: Clock) -> Registry:
        registries.append(await open_registry_of(settings, clock=clock))
        return registries[-1]

    entropy, duties = Entropy(), Duties()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_registry_of", noted)
        async with app.open_server(
            settings,
            clock=clock,
            request_log=log,
            random_bytes=entropy,
            keep_doing=duties.keep_doing,
        ) as server:
            runner = web.ServerRunner(server, shutdown_timeout=1)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
                    yield Service(
                        settings=settings,
                        clock=clock,
                        registry=registries[0],
                        entropy=entropy,
                        duties=duties,
                        session=session,
                        url=f"http://127.0.0.1:{runner.addresses[0][1]}",
                    )
            finally:
                await runner.cleanup()
