"""The HTTP server: aiohttp's own, with deadlines, bounds, and the service's answers to what is no request at all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, cast

from aiohttp import http_parser, web
from aiohttp.http_exceptions import LineTooLong

from mfa_service.web.limits import Limits
from mfa_service.web.refusals import HeadTooLarge, HeadTooSlow, MalformedRequest, Refusal, TargetTooLong
from mfa_service.web.replies import Reply
from mfa_service.web.requests import Request

_LOOK_EVERY_S = 0.02

_Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Dispatcher(Protocol):
    """What a server hands its requests to."""

    async def __call__(self, request: Request) -> web.StreamResponse:
        """Answer a request; nothing is raised."""
        ...

    def refuse(self, error: Exception) -> Reply:
        """Return, and log, the answer to something that is no request, or that the dispatcher itself broke on."""
        ...

    def report(self, event: str, fault: BaseException | None) -> None:
        """Tell operators of a fault outside any request."""
        ...


class Connection(web.RequestHandler):
    """One connection: aiohttp's, which also bounds and times the heads of its requests.

    Args:
        server: whose connection it is.
        dispatch: answers its requests.
        limits: the bounds.
        loop: the running event loop.
    """

    __slots__ = ("_dispatch", "_head_after", "_head_bytes", "_head_timer", "_limits", "_server")

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
        self._server = server
        self._dispatch = dispatch
        self._limits = limits
        self._head_after = 0  # how many requests were complete when the head now awaited was begun
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the next answer is its last."""
        return self._close or self._server.is_ending

    def end_if_idle(self) -> None:
        """Close, unless a request is under way or has begun to come in."""
        waiter = self._waiter
        begun = self._head_after == self._request_count and self._head_bytes
        if waiter is not None and not waiter.done() and not begun:
            self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, and to wait for the first head."""
        super().connection_made(transport)
        if self.transport is not None:
            self.transport.set_write_buffer_limits(high=self._limits.unread_bytes)
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

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's signature
        """Go on reading where it was paused; aiohttp asks for it twice a body, and would parse nothing each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

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
        """Return the answer to bytes that are no request, or to one that the dispatcher broke on."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        if status >= 500 and isinstance(exc, Exception):  # noqa: PLR2004  the dispatcher itself broke
            return self._dispatch.refuse(exc)
        return self._dispatch.refuse(self._refusal_of(exc))

    def _refusal_of(self, fault: BaseException | None) -> Refusal:
        if isinstance(fault, LineTooLong):
            return TargetTooLong() if fault.args[1] == self._limits.target_bytes else HeadTooLarge()
        if fault is not None and str(fault.args[:1]).startswith("('Too many headers"):
            return HeadTooLarge()
        return MalformedRequest()

    def log_exception(self, *_: object, **kw: object) -> None:
        """Tell of a fault by its kind alone: aiohttp's texts repeat what the caller sent."""
        fault = kw.get("exc_info")
        self._dispatch.report("connection_fault", fault if isinstance(fault, BaseException) else None)


class Server(web.Server):
    """Makes the connections.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.

    Attributes:
        is_ending: whether every connection ends with its next answer, which says so (RFC 9112 §9.6). To be set before
            the server closes, so that no caller sends a request into a connection that is being closed.
    """

    def __init__(self, dispatch: Dispatcher, limits: Limits) -> None:
        # aiohttp asks nothing of a request but what ours has, and hands it to nobody but this handler. The bound
        # method: an object that is called itself takes a detour for every request.
        super().__init__(cast("_Handler", dispatch.__call__), request_factory=cast("Any", Request))
        self._dispatch = dispatch
        self._limits = limits
        self.is_ending = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self, dispatch=self._dispatch, limits=self._limits, loop=self._loop)

    async def end(self, *, idle_s: float, timeout_s: float) -> None:
        """Wait until every connection has ended; nothing may listen for new ones any more.

        Args:
            idle_s: for which a connection may stay on which nothing is asked.
            timeout_s: after which those that are left are left, in seconds.
        """
        self.is_ending = True
        began_s = self._loop.time()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)  # first of all: the connection accepted last is not here yet
            waited_s = self._loop.time() - began_s
            if not self.connections or waited_s >= timeout_s:
                return
            if waited_s >= idle_s:
                for connection in self.connections:
                    if isinstance(connection, Connection):
                        connection.end_if_idle()


def parses_in_c() -> bool:
    """Whether aiohttp's parser in C reads the requests here, and not its slower one in Python."""
    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


def build_server(dispatch: Dispatcher, limits: Limits) -> Server:
    """Return a server, inside a running event loop, as `aiohttp.web.ServerRunner` takes it.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.
    """
    return Server(dispatch, limits)
