"""What the web layer's tests put around it: stand-ins for what lies behind, and a raw client before it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson
from aiohttp import web

from mfa_service.errors import AccessDenied
from mfa_service.model import (
    Device,
    DeviceStatus,
    Enrolment,
    IssuedToken,
    Owner,
    Principal,
    SealedSecret,
    TokenRequest,
    TotpParameters,
)
from mfa_service.web.service import Limits

NOW_MS = 1_795_465_500_123
AUTH_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
URI = f"otpauth://totp/mfa:alice?secret={SECRET}"
BASE = "/ciam-mfa/v2"
BEARER = {"Authorization": "Bearer both"}
TOKENS = {
    "both": frozenset({"mfa:enroll", "mfa:authenticate"}),
    "enroll": frozenset({"mfa:enroll"}),
    "authenticate": frozenset({"mfa:authenticate"}),
}


def device(name: str, status: DeviceStatus = DeviceStatus.ACTIVE) -> Device:
    return Device(
        id="0" * 32,
        owner=Owner("app", "alice"),
        name=name,
        status=status,
        parameters=TotpParameters(),
        secret=SealedSecret("k", b"sealed"),
        last_step=-1,
        last_auth_id="",
        earlier_acceptances="",
        failures=0,
        slow_failures=0,
        slow_since_ms=0,
        locked_until_ms=0,
        pending_until_ms=0,
        created_at_ms=NOW_MS,
        last_used_ms=0,
        read_at_ms=NOW_MS,
    )


@dataclass
class Behind:
    """The rules and ports behind the web layer: they note what they are called with, and do as told.

    Attributes:
        calls: what was called, with which arguments.
        error: raised by every rule and by the issuer, where set.
        requests: the lines of the request log.
        faults: what operators were told.
        devices: what the listing gives.
        bound: the trace ids that requests were bound to.
        token_requests: what the issuer was given.
    """

    calls: list[tuple[object, ...]] = field(default_factory=list)
    error: Exception | None = None
    requests: list[dict[str, object]] = field(default_factory=list)
    faults: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    devices: Sequence[Device] = ()
    bound: list[str] = field(default_factory=list)
    token_requests: list[TokenRequest] = field(default_factory=list)

    def _note(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def verify(self, token: str) -> Principal:
        self.calls.append(("verify",))
        if token not in TOKENS:
            raise AccessDenied(presented=True)
        return Principal("app", "client-1", TOKENS[token])

    async def issue(self, request: TokenRequest) -> IssuedToken:
        self.token_requests.append(request)
        self._note("issue")
        return IssuedToken("signed", 3600, frozenset({"mfa:enroll", "mfa:authenticate"}))

    async def initiate(self, owner: Owner, device_name: str) -> str:
        self._note("initiate", owner, device_name)
        return AUTH_ID

    async def validate(self, application_id: str, auth_id: str, otp: str) -> None:
        self._note("validate", application_id, auth_id, otp)

    async def register(self, owner: Owner, device_name: str, parameters: TotpParameters) -> Enrolment:
        self._note("register", owner, device_name, parameters)
        return Enrolment(AUTH_ID, device_name, SECRET, URI)

    async def activate(self, owner: Owner, auth_id: str, otp: str) -> str:
        self._note("activate", owner, auth_id, otp)
        return "Phone"

    async def devices_of(self, owner: Owner) -> Sequence[Device]:
        self._note("devices_of", owner)
        return self.devices

    async def remove(self, owner: Owner, device_name: str) -> None:
        self._note("remove", owner, device_name)

    async def remove_all(self, owner: Owner) -> None:
        self._note("remove_all", owner)

    def jwks(self) -> Mapping[str, object]:
        return {"keys": []}

    def metadata(self) -> Mapping[str, object]:
        return {"issuer": "https://mfa.example"}

    def request(self, **line: object) -> None:
        self.requests.append(line)

    def error_told(self, event: str, **fields: object) -> None:
        self.faults.append((event, fields))


class Faults:
    def __init__(self, behind: Behind) -> None:
        self._behind = behind

    def error(self, event: str, **fields: object) -> None:
        self._behind.error_told(event, **fields)


@dataclass(frozen=True)
class Response:
    """One parsed answer."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} is there twice"
        return values[0] if values else None

    @property
    def json(self) -> dict[str, object]:
        content = orjson.loads(self.body)
        assert isinstance(content, dict)
        return content


class Wire:
    """A raw connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def response(self, *, head_only: bool = False) -> Response:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
            lines = head.split("\r\n")[:-2]
            headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            body = b"" if head_only else await self.reader.readexactly(length)
        return Response(int(lines[0].split()[1]), [(name, value) for name, value in headers], body)

    async def is_closed(self) -> bool:
        """Whether the server ends the connection without another byte."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read() == b""
        except ConnectionResetError:
            return True


class Serve(Protocol):
    """Starts a server with its own things behind it."""

    async def __call__(self, *, issuing: bool = True, limits: Limits = ..., **options: object) -> "Api": ...


class Api:
    """A running server and what is behind it."""

    def __init__(self, behind: Behind, server: web.Server, port: int) -> None:
        self.behind = behind
        self.server = server
        self.port = port

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def raw(self, octets: bytes) -> tuple[Response, bool]:
        """Send bytes; return the first answer and whether the connection ended with it."""
        async with self.connect() as wire:
            await wire.send(octets)
            response = await wire.response()
            closes = response.header("Connection") == "close"
            return response, closes and await wire.is_closed()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Response:
        """Send one request as it stands and return its answer."""
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        lines = [f"{method} {path} HTTP/1.1", "Host: mfa.example", *(f"{name}: {value}" for name, value in given)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        async with self.connect() as wire:
            await wire.send("\r\n".join([*lines, "", ""]).encode("utf-8") + (body or b""))
            return await wire.response(head_only=method == "HEAD")

    async def post(self, path: str, content: object, headers: Mapping[str, str] = BEARER) -> Response:
        """Post JSON to a path under the base path."""
        given = {"Content-Type": "application/json", **headers}
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        return await self.call("POST", BASE + path, body, given)

    async def get(self, path: str, headers: Mapping[str, str] = BEARER) -> Response:
        return await self.call("GET", BASE + path, None, headers)
