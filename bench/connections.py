"""Requests over connections that are kept open, one under way on each: made before, looked at in passing."""

import asyncio
import re
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

_HEAD_ENDS = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CODE = re.compile(rb'"code":"[0-9]+"')


class UnexpectedAnswer(Exception):
    """A server answered otherwise than it has to, or not at all: its figures say nothing."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What every answer of a load has to be.

    Attributes:
        status: of HTTP.
        word: stands in the body.
    """

    status: int
    word: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to send, each once.

    Attributes:
        port: of the server, on 127.0.0.1.
        requests: whole requests as bytes, in the order they are begun.
        expected: what each has to be answered with.
        connections: how many there are, each with one request under way.
        keeps_answers: whether the answers are wanted.
    """

    port: int
    requests: Sequence[bytes]
    expected: Expected
    connections: int
    keeps_answers: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a load.

    Attributes:
        begun_ns: this machine's monotonic clock at the first request.
        ended_ns: the same at the last answer.
        latencies_ns: of each request, in the order of their answers.
        answers: the bodies in the order of the requests, where they were wanted.
        cpu_s: what this process spent on it.
    """

    begun_ns: int
    ended_ns: int
    latencies_ns: "array[int]"
    answers: Sequence[bytes]
    cpu_s: float


class Exchange:
    """Sends one load, inside a running event loop.

    Args:
        load: what to send.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = enumerate(load.requests)
        self._latencies_ns = array("q")
        self._answers = [b""] * len(load.requests) if load.keeps_answers else []
        self._connections: list[_Connection] = []
        self._busy = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status_line = b"HTTP/1.1 %d " % load.expected.status
        self.word = load.expected.word

    async def connect(self) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(min(self._load.connections, len(self._load.requests))):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._load.port)
            self._connections.append(connection)

    async def send(self) -> Sent:
        """Send every request and wait for its answer, then close the connections.

        Raises:
            UnexpectedAnswer: an answer is not as expected, or a connection ended before it.
        """
        begun_ns, cpu_s = time.monotonic_ns(), time.process_time()
        self._busy = len(self._connections)
        for connection in self._connections:
            connection.send_next()
        try:
            await self._ended
        finally:
            for connection in self._connections:
                connection.close()
        cpu_s = time.process_time() - cpu_s
        return Sent(begun_ns, time.monotonic_ns(), self._latencies_ns, self._answers, cpu_s)

    def take(self) -> tuple[int, bytes]:
        """Give the next request and its number; no bytes where there is none."""
        return next(self._requests, (-1, b""))

    def note(self, number: int, latency_ns: int, answer: bytes) -> None:
        """Take note of an answer."""
        self._latencies_ns.append(latency_ns)
        if self._answers:
            self._answers[number] = answer

    def retire(self) -> None:
        """Take note that a connection has nothing more to send."""
        self._busy -= 1
        if not self._busy and not self._ended.done():
            self._ended.set_result(None)

    def fail(self, why: str) -> None:
        """Give up on the whole load."""
        if not self._ended.done():
            self._ended.set_exception(UnexpectedAnswer(why))


class _Connection(asyncio.Protocol):
    """One connection: as soon as its request is answered, it sends the next one there is."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received = b""
        self._number = -1
        self._sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        self._number, request = self._exchange.take()
        if not request:
            self._exchange.retire()
            return
        self._sent_ns = time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        body = body_of(data)
        if body is None:
            self._received = data
            return
        latency_ns = time.monotonic_ns() - self._sent_ns
        self._received = b""
        exchange = self._exchange
        if not data.startswith(exchange.status_line) or exchange.word not in body:
            exchange.fail(described(data))
            return
        exchange.note(self._number, latency_ns, body)
        self.send_next()

    def connection_lost(self, _: Exception | None) -> None:
        if self._number >= 0:
            self._exchange.fail("a connection ended before its request was answered")

    def close(self) -> None:
        self._number = -1
        self._transport.close()


def body_of(received: bytes) -> bytes | None:
    """Return the body of an answer (RFC 9112 §6), or None where the answer is not complete yet.

    Raises:
        UnexpectedAnswer: its head does not say how long the body is.
    """
    head, ends, body = received.partition(_HEAD_ENDS)
    if not ends:
        return None
    length = _LENGTH.search(head + b"\r\n")
    if length is None:
        raise UnexpectedAnswer(described(received))
    return body if len(body) >= int(length[1]) else None


def described(received: bytes) -> str:
    """Return what may be told of an answer: its first line and its code, no token and no secret."""
    line = received.partition(b"\r\n")[0].decode("ascii", "replace")
    code = _CODE.search(received)
    return f"answered {line}{'' if code is None else f', {code[0].decode()}'}"
