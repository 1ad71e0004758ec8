"""Answers on their way to a connection."""

import asyncio
from typing import Protocol, cast

from aiohttp import web
from aiohttp.http import HttpVersion10

from mfa_service.web.answers import Answer, WireFormat
from mfa_service.web.requests import Request


class Ending(Protocol):
    """A connection that knows when it is to end."""

    @property
    def is_ending(self) -> bool:
        """Whether the next answer is its last."""
        ...


class Reply(web.StreamResponse):
    """An answer on its way to the connection, written in one piece.

    Args:
        given: what is answered.
        wire: writes it.
        trace_id: the request's.
        now_ms: Unix time in milliseconds.
        write_timeout_s: how long the caller may take.

    Attributes:
        keep_alive: whether the connection takes another request.
    """

    keep_alive: bool = False  # in place of a property of aiohttp's

    def __init__(self, given: Answer, wire: WireFormat, trace_id: str, now_ms: int, write_timeout_s: float) -> None:
        # Not aiohttp's own constructor, nor anything that it prepares: nobody looks into a reply once it is made.
        self._given = given
        self._wire = wire
        self._trace_id = trace_id
        self._now_ms = now_ms
        self._write_timeout_s = write_timeout_s
        self._request: Request | None = None

    async def prepare(self, request: object) -> None:
        """Note which request is answered, after a pause where the answer says so.

        The connection ends with one whose body is unread, one that asked for another protocol (what follows it may be
        in that), and when the server is about to close.
        """
        if not isinstance(request, Request):
            raise TypeError("a reply answers a request of this server")
        self._request = request
        self.keep_alive = self._may_stay_open(request)
        if self._given.pause_s and self.keep_alive:
            # Not after the answer: a proxy would take the connection for free and have others' requests wait there.
            await asyncio.sleep(self._given.pause_s)
            self.keep_alive = self._may_stay_open(request)

    def _may_stay_open(self, request: Request) -> bool:
        return not (
            request.head.should_close
            or self._given.closes
            or not request.body.is_eof()
            or request.head.upgrade
            or cast("Ending", request.connection).is_ending
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the whole answer.

        Raises:
            ConnectionError: the caller is gone, or did not take the answer in time.
        """
        request = self._request
        if request is None or data:
            raise RuntimeError("a reply is written once, whole, after prepare()")
        transport = request.connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        connection = None if self.keep_alive else "close"
        if self.keep_alive and request.head.version == HttpVersion10:
            connection = "keep-alive"
        transport.write(self.message(connection=connection, without_body=request.head.method == "HEAD"))
        if request.connection.writing_paused:
            try:
                async with asyncio.timeout(self._write_timeout_s):
                    await request.writer.drain()
            except TimeoutError:
                transport.abort()
                raise ConnectionAbortedError("the caller does not read") from None

    def message(self, *, connection: str | None, without_body: bool = False) -> bytes:
        """Return the answer's bytes."""
        return self._wire.message(
            self._given,
            trace_id=self._trace_id,
            now_ms=self._now_ms,
            connection=connection,
            without_body=without_body,
        )
