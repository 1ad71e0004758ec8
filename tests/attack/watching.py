"""What the service does beside answering: what it opens, whom it connects to, and what it asks of a database."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

_EVENTS = ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.")
_watches: list[list[str]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watches and event.startswith(_EVENTS):
        for seen in _watches:
            seen.append(f"{event} {arguments[:1]}")


sys.addaudithook(_note)  # there is no way to take one off again: it does nothing while nobody watches


@contextmanager
def watched() -> Iterator[list[str]]:
    """Note what this process opens, looks up and asks of a database while the block runs."""
    seen: list[str] = []

    def statement(*given: object) -> None:
        seen.append(f"statement {given[2]}")

    sa.event.listen(sa.Engine, "before_cursor_execute", statement)
    _watches.append(seen)
    try:
        yield seen
    finally:
        _watches.remove(seen)
        sa.event.remove(sa.Engine, "before_cursor_execute", statement)


@dataclass
class Listener:
    """Counts who connects.

    Attributes:
        url: where it listens.
        connections: how many there were.
    """

    url: str = ""
    connections: int = 0


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """Listen on this machine, and end every connection."""
    listener = Listener()

    async def connect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        writer.close()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield listener
