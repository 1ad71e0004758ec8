"""Callers that keep their connections open for as long as they may, and retry nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from tests.api.service import BASE

ANSWERED_WITHIN_S = 10.0
_PAUSE_S = 0.005


@dataclass
class Tally:
    """What became of the requests of some callers.

    Attributes:
        answered: how many got the answer that they should.
        failed: what the others got instead.
        parted: how many connections ended because an answer said so.
        ended: how many callers made their last request.
    """

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    parted: int = 0
    ended: int = 0


class Connection:
    """One connection; a request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, content: object, token: str) -> tuple[int, bytes, bool]:
        """Send a request; return status and body, and whether the connection ends with them."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = orjson.dumps(content)
        head = (
            f"{method} {BASE}{path} HTTP/1.1\r\nHost: mfa.example\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        answer = await reader.readexactly(int(fields["content-length"]))
        closes = fields.get("connection") == "close"
        if closes:
            self.close()
        return int(lines[0].split()[1]), answer, closes

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _call(port: int, token: str, tally: Tally, *, leaving: asyncio.Event, over: asyncio.Event) -> None:
    connection = Connection(port)
    content = {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}
    while not over.is_set():
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                status, _, closes = await connection.request("POST", "/deviceAuthentications", content, token)
        except (OSError, EOFError) as error:
            tally.failed.append(repr(error))
            connection.close()
            await asyncio.sleep(_PAUSE_S)
            continue
        if status == 201:
            tally.answered += 1
        else:
            tally.failed.append(str(status))
        if closes:
            tally.parted += 1
            if leaving.is_set():  # as behind a load balancer that was told: the next request goes elsewhere
                break
        await asyncio.sleep(_PAUSE_S)
    connection.close()
    tally.ended += 1


@dataclass
class Load:
    """Callers at work.

    Attributes:
        tally: what became of their requests.
        leaving: once set, a caller whose connection ends does not come back.
    """

    tally: Tally
    leaving: asyncio.Event
    over: asyncio.Event


@asynccontextmanager
async def calling(port: int, token: str, *, callers: int = 8) -> AsyncIterator[Load]:
    """Open challenges again and again until the end of the block."""
    load = Load(Tally(), asyncio.Event(), asyncio.Event())
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_call(port, token, load.tally, leaving=load.leaving, over=load.over))
        try:
            yield load
        finally:
            load.over.set()
