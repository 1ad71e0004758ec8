"""Clients that keep a connection for as long as they can: by sending slowly, or by never reading."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.api.service import BASE

_PAUSE_S = 3.0  # so that no byte crosses the answer that comes after ten
_WITHIN_S = 25.0
_RECEIVE_BYTES = 4_096
_AT_ONCE = 64
_LONG_ANSWERS = b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: mfa.example\r\n\r\n" * 50

Place = tuple[str, int]


@dataclass(frozen=True)
class Ended:
    """How a slow client's connection ended.

    Attributes:
        after_s: its first byte, or of one that does not read, what it sent last.
        status: of what it was answered; None where it was cut off without an answer, or read none.
    """

    after_s: float
    status: int | None


@dataclass(frozen=True)
class Slow:
    """Makes slow clients of one service.

    Args:
        place: where it listens.
        authorization: a header line with a token that it takes.
    """

    place: Place
    authorization: bytes

    async def send_head(self) -> Ended:
        """Send a head, a byte now and then."""
        return await self._trickle(b"", _LONG_ANSWERS)

    async def send_body(self) -> Ended:
        """Send a head, and a body that it announces, a byte now and then."""
        head = b"POST %s/deviceAuthentications HTTP/1.1\r\nHost: mfa.example\r\nContent-Type: application/json\r\n"
        begun = head % BASE.encode() + self.authorization + b"Content-Length: 100\r\n\r\n"
        return await self._trickle(begun, b'{"userName": "' + b"a" * 86)

    async def _trickle(self, begun: bytes, rest: bytes) -> Ended:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(*self.place)
        began_s = loop.time()
        answer = asyncio.ensure_future(reader.read())
        try:
            writer.write(begun)
            for octet in rest:
                writer.write(bytes((octet,)))
                await asyncio.wait({answer}, timeout=_PAUSE_S)
                if answer.done() or loop.time() - began_s > _WITHIN_S:
                    break
            async with asyncio.timeout(1):
                given = await answer
        except (ConnectionError, TimeoutError):
            given = b""
        finally:
            writer.close()
        return Ended(loop.time() - began_s, int(given.split()[1]) if given else None)

    async def never_read(self) -> Ended:
        """Ask for long answers and read none."""
        loop = asyncio.get_running_loop()
        with socket.socket() as one:
            one.setblocking(False)  # noqa: FBT003  its signature
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            await loop.sock_connect(one, self.place)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while True:
                    began_s = loop.time()
                    async with asyncio.timeout(_WITHIN_S):
                        await loop.sock_sendall(one, _LONG_ANSWERS)
            return Ended(loop.time() - began_s, None)


async def all_at_once(count: int, act: Callable[[], Awaitable[Ended]]) -> list[Ended]:
    """Have so many clients do something, each begun a moment after another."""
    tasks = []
    for number in range(count):
        tasks.append(asyncio.ensure_future(act()))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.02)
    return await asyncio.gather(*tasks)
