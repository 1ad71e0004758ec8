"""One node while it runs: the operations port, then the API, in one process or several, until it is told to end."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
import uvloop
from aiohttp import web

from mfa_service import app, opening
from mfa_service.errors import MfaError
from mfa_service.ops import addresses, descriptors, guessing, logs
from mfa_service.ops.addresses import BACKLOG, Address
from mfa_service.ops.board import Board
from mfa_service.ops.health import Health, Watch
from mfa_service.ops.metrics import CONTENT_TYPE, Metrics
from mfa_service.ops.request_log import RequestLog
from mfa_service.settings import Settings
from mfa_service.web.answers import Answer
from mfa_service.web.operations import build_operations
from mfa_service.web.server import parses_in_c
from mfa_service.web.service import Server

_IDLE_S: Final = 1.0  # for which a caller may find its connection open while the server ends
_CANCELLED_WITHIN_S: Final = 0.1
_REQUESTS_KEPT_BACK_S: Final = 0.05  # their lines are written together, which costs a tenth
_CLOSING_S: Final = 2.0  # kept from requests for what comes after them
_LOOK_EVERY_S: Final = 0.05
_AGAIN_AFTER_S: Final = 0.5
_YOUNG_OBJECTS: Final = 25_000  # as many as a few hundred requests under way hold; Python looks through 700 at a time
_SLOW_PARSER: Final = (
    "aiohttp reads requests by its parser in Python: slower, and not the one that this service is tested with; "
    "unset AIOHTTP_NO_EXTENSIONS, or install aiohttp from a wheel"
)
_log = structlog.get_logger(__name__)


def serve(settings: Settings, *, first: Callable[[], object] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then let open requests end.

    Args:
        settings: what holds for the node.
        first: is called once, before anything is served, where nothing stands in the way of that: the addresses are
            taken, and everything was opened and closed again.

    Returns:
        The exit code.

    Raises:
        SettingsInvalid: an address cannot be listened on; and as `app.open_server`.
    """
    request_log = logs.configure(
        level=settings.log.level,
        format=settings.log.format,
        stream=sys.stderr,
        requests_kept_back_s=_REQUESTS_KEPT_BACK_S,
    )
    if not parses_in_c():
        _log.error("http_parser_not_in_c", warning=_SLOW_PARSER)
    descriptors.raise_limit()
    operations = addresses.bind("ops", settings.ops.host, settings.ops.port)
    try:
        api = addresses.bind("http", settings.http.host, settings.http.port)
    except MfaError:
        operations.close()
        raise
    node = _Node(settings, request_log, Board(), Metrics(), operations=operations, api=api)
    return node.serve_alone(first) if settings.http.workers == 1 else node.serve_together(first)


@dataclass(frozen=True, slots=True)
class _Node:
    settings: Settings
    request_log: RequestLog
    board: Board
    metrics: Metrics
    operations: Address
    api: Address

    def serve_alone(self, first: Callable[[], object] | None) -> int:
        """Serve with this one process."""
        try:
            if first is not None:
                asyncio.run(self._rehearse())
                first()
            uvloop.run(self._alone())
        finally:
            self.operations.close()
            self.api.close()
        return 0

    def serve_together(self, first: Callable[[], object] | None) -> int:
        """Serve with several processes, of which this one is the parent.

        It opens everything once before: whatever is wrong with the settings is told by one process, in one line.
        """
        from mfa_service.ops import workers  # noqa: PLC0415  gunicorn: 1 MiB that one worker need not have

        for one in self.operations.sockets:
            one.listen(BACKLOG)
        asyncio.run(self._rehearse())
        guessing.log_odds(self.settings)
        if first is not None:
            first()
        gc.freeze()  # what is there already stays shared with the workers, and costs none of them time at its end
        http = self.settings.http
        exiting_s = min(1, http.shutdown_timeout_s // 3)  # for this process, after its last worker
        return workers.run(
            workers.Work(serve=self._serve, operate=self._operate),
            self.board,
            address=self.api,
            workers=http.workers,
            ends_within_s=http.drain_s + http.shutdown_timeout_s - exiting_s,
        )

    async def _rehearse(self) -> None:
        async with app.open_server(self.settings, clock=app.SystemClock(), request_log=self.request_log):
            pass

    async def _alone(self) -> None:
        told = asyncio.Event()

        def end() -> None:
            self.board.drain()
            told.set()

        ends = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
            ends.append(signal.SIGHUP)  # no parent could replace this process, and its callers must not notice its end
        for number in ends:
            asyncio.get_running_loop().add_signal_handler(number, end)
        async with self._operating() as health:
            await self._serve(self.api.sockets, told, 1, watch=health.watch)
        _log.info("stopped")

    async def _serve(
        self,
        sockets: Sequence[socket.socket],
        told: asyncio.Event,
        number: int,
        watch: Watch = lambda _name, _check: None,
    ) -> None:
        """Serve the API until told to end; then take no new connection, and let those that are there end."""
        http = self.settings.http
        port = sockets[0].getsockname()[1]
        async with app.open_server(
            self.settings,
            clock=app.SystemClock(),
            request_log=self.request_log,
            watch=watch,
            count_unwatched=self.metrics.count_unwatched(number),
        ) as server:
            runner = application_runner(server)
            await runner.setup()
            _spare_collector()
            try:
                await _listen(runner, sockets, self.api)
                self.board.serve(number)
                if http.workers == 1:  # of several workers their parent tells, once
                    guessing.log_odds(self.settings)
                operations_port = self.operations.bound_port
                url = app.api_url(self.settings)
                _log.info("serving", url=url, port=port, operations_port=operations_port, pid=os.getpid())
                await told.wait()
                self.board.enter(number)
                server.is_ending = True
                if self.board.is_draining:
                    await asyncio.sleep(http.drain_s)
                for site in runner.sites:
                    await site.stop()
                timeout_s = http.shutdown_timeout_s - min(_CLOSING_S, http.shutdown_timeout_s / 2)
                await server.end(idle_s=min(_IDLE_S, timeout_s), timeout_s=timeout_s)
            finally:
                await runner.cleanup()
                self.request_log.flush()
        self.board.leave(number)

    async def _operate(self, told: asyncio.Event) -> None:
        """Serve the operations port until told to end, and while the node drains until the last worker is gone."""
        async with self._operating() as health:
            watching = asyncio.get_running_loop().create_task(self._watch_stores(health))
            await told.wait()
            while self.board.is_draining and not self.board.is_empty:  # noqa: ASYNC110  other processes set no event
                await asyncio.sleep(_LOOK_EVERY_S)
            watching.cancel()
            await asyncio.wait({watching})

    @asynccontextmanager
    async def _operating(self) -> AsyncIterator[Health]:
        health = Health(("workers", *opening.watched(self.settings)))
        health.watch("workers", self.board.check)
        server = build_operations(
            health.report,
            lambda: Answer(200, self.metrics.page(), content_type=CONTENT_TYPE),
            clock=app.SystemClock(),
            random_bytes=app.random_bytes,
            fault_log=_log,
        )
        runner = application_runner(server)
        await runner.setup()
        try:
            await _listen(runner, self.operations.sockets, self.operations)
            yield health
        finally:
            await runner.cleanup()
            await health.close()

    async def _watch_stores(self, health: Health) -> None:
        """Open the stores, and another issuer's keys, to have them watched; a store out of reach is waited for."""
        clock = app.SystemClock()
        while True:
            try:
                async with (
                    opening.open_stores(self.settings, clock=clock, watch=health.watch),
                    opening.open_issuer(self.settings, clock=clock, watch=health.watch),
                ):
                    await asyncio.Event().wait()
            except MfaError as error:
                _log.warning("stores_not_watched", error=type(error).__name__)
            await asyncio.sleep(_AGAIN_AFTER_S)


def application_runner(server: Server) -> web.ServerRunner:
    """Return what runs a server, alone or as one of several workers.

    Its own time is short, for `Server.end` has waited for the requests before it is cleaned up.
    """
    return web.ServerRunner(server, shutdown_timeout=_CANCELLED_WITHIN_S)


def _spare_collector() -> None:
    """Keep the garbage collector from looking through requests under way, and at what is there for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


async def _listen(runner: web.ServerRunner, sockets: Sequence[socket.socket], address: Address) -> None:
    try:
        for one in sockets:
            await web.SockSite(runner, one, backlog=BACKLOG).start()
    except OSError as error:
        raise address.refusal(error) from None
