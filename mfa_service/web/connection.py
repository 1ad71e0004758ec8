"""One connection: aiohttp's, with deadlines and bounds of its own, and the service's answers to what is no request."""

import asyncio
import contextlib
from typing import Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion10, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import ERROR

from mfa_service.web.answers import Reply, WireFormat
from mfa_service.web.limits import Limits
from mfa_service.web.refusals import HeadTooLarge, HeadTooSlow, MalformedRequest, Refusal, TargetTooLong
from mfa_service.web.requests import Request


class Ending(Protocol):
    """A server that says when it is about to close."""

    is_ending: bool


class Dispatcher(Protocol):
    """What a server hands its requests to."""

    async def __call__(self, request: Request) -> Reply:
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
        wire: writes the answers.
        limits: the bounds.
        loop: the running event loop.
    """

    __slots__ = ("_dispatch", "_head_after", "_head_bytes", "_head_timer", "_limits", "_server", "_wire")

    def __init__(
        self,
        server: web.Server,
        *,
        dispatch: Dispatcher,
        wire: WireFormat,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
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
        self._server = cast("Ending", server)
        self._dispatch = dispatch
        self._wire = wire
        self._limits = limits
        self._head_after = 0  # how many requests were complete when the head now awaited was begun
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

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

    async def start(self) -> None:
        """Answer the connection's requests, one after another.

        aiohttp's own makes of each a task, a writer, and a response that it prepares at length: a fourteenth of what a
        challenge costs, and a twentieth of what a code does.
        """
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            else:
                await asyncio.sleep(0)  # many may have been sent at once, and nobody waits behind all of them
            self._request_in_progress = True
            try:
                await self._answer_next()
            except ConnectionError:  # the caller is gone
                break
            except Exception as fault:  # noqa: BLE001  whatever it is, it ends this connection alone
                self._dispatch.report("connection_fault", fault)
                self.force_close()
            except asyncio.CancelledError:
                self.force_close()
                raise
            finally:
                self._end_request()
            if self._force_close or self._close or not self._keepalive:
                break
            self._time_idleness()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _end_request(self) -> None:
        self._current_request = None
        self._request_in_progress = False
        waiter = self._handler_waiter
        if waiter is not None and not waiter.done():  # `shutdown` waits for the answer
            waiter.set_result(None)

    def _time_idleness(self) -> None:
        closes_at_s = self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(closes_at_s, self._process_keepalive)

    async def _answer_next(self) -> None:
        """Answer the next message, and decide whether the connection takes another one.

        Raises:
            ConnectionError: the caller is gone, or did not take the answer in time.
        """
        message, body = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        if isinstance(message, RawRequestMessage):
            request = Request(message, body, self)
            self._current_request = cast("web.BaseRequest", request)  # aiohttp asks nothing of it but `_cancel`
            try:
                reply = await self._dispatch(request)
            except Exception as fault:  # noqa: BLE001  the dispatcher itself broke
                reply = self._dispatch.refuse(fault)
        else:
            request = Request(ERROR, body, self)
            reply = self._dispatch.refuse(self._refusal_of(message.exc))
        self._keepalive = self._may_stay_open(request, reply)
        if reply.given.pause_s and self._keepalive:
            # Not after the answer: a proxy would take the connection for free and have others' requests wait there.
            await asyncio.sleep(reply.given.pause_s)
            self._keepalive = self._may_stay_open(request, reply)
        self._write(request.head, reply)
        if self._paused:
            await self._until_taken()
        if not body.is_eof():
            await self._linger(body)

    def _may_stay_open(self, request: Request, reply: Reply) -> bool:
        """Tell whether another request may follow.

        None does behind an answer that says so, a body that is unread, a request for another protocol (what follows it
        may be in that), nor when the server is about to close.
        """
        head = request.head
        return not (
            head.should_close
            or reply.given.closes
            or not request.body.is_eof()
            or head.upgrade
            or self._close
            or self._server.is_ending
        )

    def _write(self, head: RawRequestMessage, reply: Reply) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        connection = None if self._keepalive else "close"
        if self._keepalive and head.version == HttpVersion10:
            connection = "keep-alive"
        transport.write(self._wire.message(reply, connection=connection, without_body=head.method == "HEAD"))

    async def _until_taken(self) -> None:
        """Wait until the caller has taken what is written, or most of it."""
        transport = self.transport
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                await self._drain_helper()
        except TimeoutError:
            if transport is not None:
                transport.abort()
            raise ConnectionAbortedError("the caller does not read") from None

    async def _linger(self, body: StreamReader) -> None:
        """Take the rest of a body and throw it away: a connection closed before would lose the answer on its way."""
        with contextlib.suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(self._limits.linger_s):
                while not body.is_eof():
                    await body.readany()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's signature
        """Go on reading where it was paused; aiohttp asks for it twice a body, and would parse nothing each time.

        Where a body has ended just as it was paused, aiohttp's parser would take that for a pause of the next body,
        which would then never end: the connection does.
        """
        if self._reading_paused:
            self._close = self._close or not resume_parser
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
            self.transport.write(self._wire.message(self._dispatch.refuse(refusal), connection="close"))
        self.force_close()

    def _refusal_of(self, fault: BaseException | None) -> Refusal:
        if isinstance(fault, LineTooLong):
            return TargetTooLong() if fault.args[1] == self._limits.target_bytes else HeadTooLarge()
        if fault is not None and str(fault.args[:1]).startswith("('Too many headers"):
            return HeadTooLarge()
        return MalformedRequest()
