"""The HTTP server: aiohttp's own, with deadlines, bounds, and the service's answers to what is no request at all."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from aiohttp.http import HttpVersion10
from aiohttp.http_exceptions import LineTooLong

from mfa_service.web.answers import Answer, WireFormat
from mfa_service.web.refusals import HeadTooLarge, HeadTooSlow, MalformedRequest, Refusal, TargetTooLong


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and for how long, a connection may ask for.

    Attributes:
        body_bytes: of a request's body.
        target_bytes: of a request target. No other limit is equal to it: the parser names the limit, not the line.
        field_bytes: of one header field.
        head_bytes: of a whole head that comes in pieces.
        head_fields: header fields of a request.
        header_timeout_s: from a connection's start, or a later request's first byte, to the end of its head.
        body_timeout_s: from the end of a head to the end of its body.
        write_timeout_s: for a caller to take an answer that does not fit its buffers.
        keepalive_timeout_s: for which a connection may be idle.
        linger_s: for which the rest of an unread body is taken and thrown away, so that the caller gets its answer.
    """

    body_bytes: int = 16_384
    target_bytes: int = 8_190
    field_bytes: int = 8_192
    head_bytes: int = 32_768
    head_fields: int = 64
    header_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    write_timeout_s: float = 10.0
    keepalive_timeout_s: float = 75.0
    linger_s: float = 1.0


class Dispatcher(Protocol):
    """What a server hands its requests to."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; nothing is raised."""
        ...

    def refuse(self, refusal: Refusal) -> "Reply":
        """Return, and log, the answer to something that is no request."""
        ...

    def report(self, event: str, fault: BaseException | None) -> None:
        """Tell operators of a fault outside any request."""
        ...


class Reply(web.StreamResponse):
    """An answer on its way to the connection, written at once.

    Args:
        given: what is answered.
        wire: writes it.
        trace_id: the request's.
        now_ms: Unix time in milliseconds.
        write_timeout_s: how long the caller may take.
    """

    def __init__(self, given: Answer, *, wire: WireFormat, trace_id: str, now_ms: int, write_timeout_s: float) -> None:
        super().__init__(status=given.status)
        self._given = given
        self._wire = wire
        self._trace_id = trace_id
        self._now_ms = now_ms
        self._write_timeout_s = write_timeout_s
        self._request: web.BaseRequest | None = None
        self._stays_open = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Note which request is answered; a connection with an unread body, or about to close, ends with it."""
        self._request = request
        self._stays_open = (
            request.keep_alive and not self._given.closes and request.content.is_eof() and not request.protocol._close  # noqa: SLF001  aiohttp has no public name for it
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the whole answer.

        Raises:
            ConnectionError: the caller is gone, or did not take the answer in time.
        """
        request = self._request
        if request is None or data:
            raise RuntimeError("a reply is written once, whole, after prepare()")
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        connection = None if self._stays_open else "close"
        if self._stays_open and request.version == HttpVersion10:
            connection = "keep-alive"
        transport.write(self.message(connection=connection, without_body=request.method == "HEAD"))
        if request.protocol.writing_paused:
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


class Connection(web.RequestHandler):
    """One connection: aiohttp's, which also bounds and times the heads of its requests.

    Args:
        server: whose connection it is.
        dispatch: answers its requests.
        limits: the bounds.
        loop: the running event loop.
    """

    __slots__ = ("_dispatch", "_head_after", "_head_bytes", "_head_timer", "_limits")

    def __init__(
        self, server: "Server", *, dispatch: Dispatcher, limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.keepalive_timeout_s,
            access_log=None,  # type: ignore[arg-type]  # what aiohttp's runners pass to switch it off
            max_line_size=limits.target_bytes,
            max_field_size=limits.field_bytes,
            max_headers=limits.head_fields,
            lingering_time=limits.linger_s,
            read_bufsize=limits.body_bytes,
            auto_decompress=False,
        )
        self._dispatch = dispatch
        self._limits = limits
        self._head_after = 0  # how many requests were complete when the head now awaited was begun
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, and to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they are a piece of a head, it is measured and timed."""
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and data and not waiter.done():
            if self._head_after != self._request_count:
                self._await_head()
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse_head(HeadTooLarge())

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_after = self._request_count
        self._head_bytes = 0
        self._head_timer = self._loop.call_later(self._limits.header_timeout_s, self._head_overdue, self._request_count)

    def _head_overdue(self, head_after: int) -> None:
        waiter = self._waiter
        if self._request_count != head_after or waiter is None or waiter.done():
            return
        if self._head_bytes:
            self._refuse_head(HeadTooSlow())
        else:
            self.force_close()

    def _refuse_head(self, refusal: Refusal) -> None:
        if self.transport is not None:
            self.transport.write(self._dispatch.refuse(refusal).message(connection="close"))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it may hold what the caller sent
    ) -> web.StreamResponse:
        """Return the answer to bytes that are no request."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        if status >= 500:  # noqa: PLR2004  the dispatcher itself broke
            self._dispatch.report("dispatch broke", exc)
        return self._dispatch.refuse(self._refusal_of(exc))

    def _refusal_of(self, fault: BaseException | None) -> Refusal:
        if isinstance(fault, LineTooLong):
            return TargetTooLong() if fault.args[1] == self._limits.target_bytes else HeadTooLarge()
        if fault is not None and str(fault.args[:1]).startswith("('Too many headers"):
            return HeadTooLarge()
        return MalformedRequest()

    def log_exception(self, *args: object, **kw: object) -> None:
        """Tell of a fault by its kind alone: aiohttp's texts repeat what the caller sent."""
        fault = kw.get("exc_info")
        self._dispatch.report(str(args[0]), fault if isinstance(fault, BaseException) else None)


class Server(web.Server):
    """Makes the connections.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.
    """

    def __init__(self, dispatch: Dispatcher, limits: Limits) -> None:
        super().__init__(dispatch)
        self._dispatch = dispatch
        self._limits = limits

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self, dispatch=self._dispatch, limits=self._limits, loop=self._loop)


def build_server(dispatch: Dispatcher, limits: Limits) -> web.Server:
    """Return a server, inside a running event loop, as `aiohttp.web.ServerRunner` takes it.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.
    """
    return Server(dispatch, limits)
