"""Applications that call the nodes, with every request on record."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pyotp
from yarl import URL

from tests.fault import ledger
from tests.fault.checker import told, violations
from tests.fault.history import Call, History, Lost, Record
from tests.fault.nodes import Credentials, Entrance, Site

PERIOD_S = 60
_BASE = "/ciam-mfa/v2"
_ANSWERS_WITHIN_S = 10
_PRIVATE = ("authId", "secret", "registrationUri", "deviceName")
_WINDOW = range(-3, 4)


class Authenticator:
    """A user's device: makes the codes of its secret, by another implementation than the service's.

    Attributes:
        user: whose it is.
        name: what the user calls it.
        id: the `authId` of its activation.
    """

    def __init__(self, user: str, name: str, answer: Mapping[str, str]) -> None:
        totp = pyotp.parse_uri(answer["registrationUri"])
        assert isinstance(totp, pyotp.TOTP)
        assert totp.interval == PERIOD_S
        self.user = user
        self.name = name
        self.id = answer["authId"]
        self._totp = totp

    def code(self, step: int) -> str:
        """The code of a time step."""
        return self._totp.generate_otp(step)

    def wrong_code(self) -> str:
        """A code that is right at no time near the present."""
        right = {self.code(step_now() + steps) for steps in _WINDOW}
        return next(code for code in map(str, range(100_000, 1_000_000)) if code not in right)


def step_now() -> int:
    """The time step that is now."""
    return int(time.time()) // PERIOD_S


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer, or why there is none."""

    status: int | None
    headers: Mapping[str, str]
    content: Any = field(repr=False)

    @property
    def items(self) -> Sequence[Mapping[str, str]]:
        """The answer's objects: of a list its members."""
        if isinstance(self.content, list):
            return self.content
        return [self.content] if self.content else []

    @property
    def code(self) -> str:
        """The service's own code, where it refuses."""
        return "".join(item.get("code", "") for item in self.items)

    @property
    def message(self) -> str:
        """The message, of everything but a list."""
        return "".join(item.get("message", "") for item in self.items)


class Caller:
    """An application.

    Args:
        name: what the records call it.
        credentials: for its tokens.
        session: its connections.
        history: takes the records.

    Attributes:
        bearer: the header with its token, which every other call comes with.
    """

    def __init__(self, name: str, credentials: Credentials, session: aiohttp.ClientSession, history: History) -> None:
        self.name = name
        self._credentials = credentials
        self._session = session
        self._history = history
        self.bearer: dict[str, str] = {}

    async def token(self, node: Entrance) -> Record:
        """Call 1; the token is kept for all nodes."""
        grant = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.client_id,
            "client_secret": self._credentials.client_secret,
        }
        record, answer = await self._send(Call.TOKEN, node, "POST", "/get/token", grant)
        if record.status == 200:
            self.bearer = {"Authorization": f"Bearer {answer['access_token']}"}
        return record

    async def register(self, node: Entrance, user: str, name: str) -> tuple[Record, Authenticator | None]:
        """Call 2, for a device of as long a time step as there is; with the authenticator, where it was answered."""
        content = {"deviceType": "TOTP", "deviceName": name, "period": PERIOD_S}
        record, answer = await self._send(
            Call.REGISTER,
            node,
            "POST",
            f"/users/{quote(user, safe='')}/mfadevices",
            content,
            user=user,
            device_name=name,
        )
        return record, Authenticator(user, name, answer) if record.status == 201 else None

    async def activate(self, node: Entrance, device: Authenticator, step: int) -> Record:
        """Call 3, with the code of a step."""
        path = f"/users/{quote(device.user, safe='')}/mfadevices/{device.id}"
        content = {"deviceType": "TOTP", "otp": device.code(step)}
        record, _ = await self._send(
            Call.ACTIVATE, node, "POST", path, content, user=device.user, device=device.id, auth_id=device.id, step=step
        )
        return record

    async def list(self, node: Entrance, user: str) -> Record:
        """Call 4."""
        record, _ = await self._send(Call.LIST, node, "GET", f"/users/{quote(user, safe='')}/mfadevices", user=user)
        return record

    async def remove(self, node: Entrance, device: Authenticator) -> Record:
        """Call 5."""
        path = f"/users/{quote(device.user, safe='')}/mfadevices/TOTP/{quote(device.name, safe='')}"
        record, _ = await self._send(
            Call.REMOVE, node, "DELETE", path, user=device.user, device_name=device.name, device=device.id
        )
        return record

    async def initiate(self, node: Entrance, device: Authenticator) -> Record:
        """Call 6."""
        content = {"userName": device.user, "deviceName": device.name, "deviceType": "TOTP"}
        record, _ = await self._send(
            Call.INITIATE,
            node,
            "POST",
            "/deviceAuthentications",
            content,
            user=device.user,
            device_name=device.name,
            device=device.id,
        )
        return record

    async def validate(self, node: Entrance, auth_id: str, device: Authenticator, step: int | None) -> Record:
        """Call 7, with the code of a step, or with a wrong one."""
        otp = device.wrong_code() if step is None else device.code(step)
        record, _ = await self._send(
            Call.VALIDATE,
            node,
            "POST",
            f"/deviceAuthentications/{auth_id}",
            {"deviceType": "TOTP", "otp": otp},
            user=device.user,
            device=device.id,
            auth_id=auth_id,
            step=step,
        )
        return record

    async def _send(
        self,
        call: Call,
        node: Entrance,
        method: str,
        path: str,
        content: object = None,
        *,
        user: str = "",
        device_name: str = "",
        device: str = "",
        auth_id: str = "",
        step: int | None = None,
    ) -> tuple[Record, Any]:
        """Make a request and put it on record; returned with the answer's content, None where there is none."""
        trace_id = secrets.token_hex(16)
        bearer = {} if call is Call.TOKEN else self.bearer
        headers = {**bearer, "traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}
        data = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            data = orjson.dumps(content)
        sent_s = time.monotonic()
        answer = await self._answer(method, URL(node.url + _BASE + path, encoded=True), headers, data)
        answered_s = time.monotonic()
        if answer.status == 201:  # a registration or an initiation
            auth_id = answer.content["authId"]
        record = Record(
            call=call,
            node=node.name,
            application=self.name,
            user=user,
            device_name=device_name,
            device=device or (auth_id if call is Call.REGISTER else ""),
            auth_id=auth_id,
            step=step,
            sent_s=sent_s,
            answered_s=answered_s,
            status=answer.status,
            code=answer.code,
            used="already used" in answer.message,
            retry_after_s=int(answer.headers["Retry-After"]) if "Retry-After" in answer.headers else None,
            trace_id=trace_id,
            answered_trace_id=answer.headers.get("X-Trace-Id", ""),
            private=tuple((name, item[name]) for item in answer.items for name in _PRIVATE if name in item),
            listed=tuple(
                (item["deviceName"], item["status"])
                for item in answer.items
                if call is Call.LIST and answer.status == 200
            ),
        )
        self._history.records.append(record)
        return record, answer.content

    async def _answer(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None) -> _Answer:
        try:
            async with self._session.request(method, url, data=data, headers=headers) as response:
                body = await response.read()
                is_the_nodes_own = response.content_type == "application/json"  # not what stands before it
                content = orjson.loads(body) if body and is_the_nodes_own else None
                return _Answer(response.status, response.headers, content)
        except TimeoutError:
            return _Answer(None, {}, {"code": Lost.TIME})
        except aiohttp.ClientConnectionError:
            return _Answer(None, {}, {"code": Lost.CONNECTION})


@asynccontextmanager
async def calling(site: Site) -> AsyncIterator[tuple[Caller, ...]]:
    """The applications of a site, each with a token from another node; at the end the site's history is checked."""
    timeout = aiohttp.ClientTimeout(total=_ANSWERS_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        made = tuple(Caller(name, one, session, site.history) for name, one in site.applications.items())
        for caller, node in zip(made, site.nodes, strict=True):
            assert (await caller.token(node)).status == 200
        yield made
    site.history.ledger = await ledger.read(site.database_url)
    found = violations(site.history)
    assert not found, told(found)
