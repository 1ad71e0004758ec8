"""Raw connections to a service: requests as they are written, answers as they come."""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Mapping, Sequence

import orjson
from yarl import URL

from tests.api.service import BASE, Caller, Service
from tests.attack.setups import TwoNodes
from tests.unit.web.stand_ins import Response, Wire

HOST = b"Host: mfa.example\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

LISTING = "/users/alice/mfadevices"
CHALLENGES = "/deviceAuthentications"
BODY = b'{"userName":"alice","deviceName":"Phone","deviceType":"TOTP"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
"""The header line that tells how long the body is with which a challenge is asked for."""

REMOVAL = f"DELETE {BASE}{LISTING}/TOTP/all HTTP/1.1\r\n".encode() + HOST
"""The head of a second request that must never be executed, without who calls."""


@contextlib.asynccontextmanager
async def connected(service: Service, *, limit: int = 2**16) -> AsyncIterator[Wire]:
    """A connection to a service, on two nodes to the next one."""
    url = URL(next(service.turns) if isinstance(service, TwoNodes) else service.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=limit)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def raw(service: Service, octets: bytes, *, head_only: bool = False) -> tuple[Response, bool]:
    """Send bytes; return the first answer, and whether the connection ended with it."""
    async with connected(service) as wire:
        await wire.send(octets)
        response = await wire.response(head_only=head_only)
        return response, response.header("Connection") == "close" and await wire.is_closed()


async def authorization(caller: Caller) -> bytes:
    """The header line that says who a caller is."""
    return f"Authorization: {(await caller.bearer())['Authorization']}\r\n".encode()


def head(method: str, path: str, *lines: bytes, version: str = "1.1") -> bytes:
    """A request's head for a path under the base path, with these header lines and no end."""
    return f"{method} {BASE}{path} HTTP/{version}\r\n".encode() + b"".join(lines)


def with_body(begun: bytes, content: object) -> bytes:
    """A request whose head is begun, with its length and JSON."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return begun + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunks(*pieces: bytes) -> bytes:
    """A chunked body of these pieces."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def rounds(values: Sequence[str], count: int) -> list[str]:
    """So many values, beginning anew at the end."""
    return list(itertools.islice(itertools.cycle(values), count))


def fields(response: Response) -> Mapping[str, str]:
    """The header fields of an answer by their lower-case names."""
    return {name.lower(): value for name, value in response.headers}


def refuse_other(response: Response, *statuses: int) -> None:
    """Fail on an answer of another status, or without the contract's one body of errors."""
    assert response.status in statuses
    assert response.json["status"] == "FAILURE"
    assert re.fullmatch(r"[0-9a-f]{32}", str(response.json["traceId"]))
    assert response.json["traceId"] == response.header("X-Trace-Id")
