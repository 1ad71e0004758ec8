"""Several processes on one address: gunicorn's arbiter over workers that serve, and one for the operations port.

The arbiter keeps as many workers as there should be, whatever becomes of them. SIGHUP replaces them: the old ones go
when as many new ones serve. SIGTERM drains the node and ends it.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, cast

import structlog
from aiohttp.worker import GunicornUVLoopWebWorker
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from mfa_service.ops.addresses import BACKLOG, Address
from mfa_service.ops.board import Board

_BEAT_S: Final = 1.0
_HUNG_AFTER_S: Final = 15  # without a beat
_PAUSE_S: Final = 1.0  # before a worker that failed makes room for the next
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What the processes of a node do, each until it is told to end.

    Attributes:
        serve: serves the API on listening sockets, as the worker of a number.
        operate: serves the operations port.
    """

    serve: Callable[[Sequence[socket.socket], asyncio.Event, int], Awaitable[None]]
    operate: Callable[[asyncio.Event], Awaitable[None]]


def run(work: Work, board: Board, *, address: Address, workers: int, ends_within_s: int) -> int:
    """Serve with several processes until SIGTERM or SIGINT; nothing else may run in this one.

    Args:
        work: what they do.
        board: what they know of one another.
        address: of the API.
        workers: how many serve it.
        ends_within_s: after which workers that were told to end are killed.

    Returns:
        The exit code, of this process and of each one forked from it.

    Raises:
        SettingsInvalid: the address cannot be listened on.
    """
    options = {
        "bind": [f"fd://{one.detach()}" for one in address.sockets],
        "backlog": BACKLOG,
        "workers": workers,
        "worker_class": ApiWorker,
        "logger_class": _Log,
        "timeout": _HUNG_AFTER_S,
        "graceful_timeout": ends_within_s,
        "control_socket_disable": True,
        "child_exit": lambda _arbiter, worker: board.leave(worker.age),
    }
    try:
        NodeArbiter(_Application(options, work), board).run()
    except OSError as error:
        raise address.refusal(error) from None
    except SystemExit as ended:
        return 1 if ended.code else 0
    return 0


class _Application(BaseApplication):
    """Gunicorn's view of the node: its options, and what its workers get.

    Args:
        options: by gunicorn's own names.
        work: what the workers do.
    """

    def __init__(self, options: Mapping[str, Any], work: Work) -> None:
        self._options = options
        self._work = work
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # noqa: ANN401  no WSGI application: what our own workers understand
        return self._work


class _Log(Logger):
    """Gunicorn's log: warnings and errors alone, through the process's own log."""

    def setup(self, cfg: Config) -> None:
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel("WARNING")


class NodeArbiter(Arbiter):
    """Keeps a node's workers.

    Args:
        app: options and work.
        board: what the processes know of one another.
    """

    def __init__(self, app: BaseApplication, board: Board) -> None:
        super().__init__(app)
        self._board = board
        self._replaced = 0  # the number of the last worker that is to go

    def manage_workers(self) -> None:
        """Start workers that are missing, and end those that are too many or have been replaced."""
        if not any(isinstance(worker, OperationsWorker) for worker in self.WORKERS.values()):
            self._start(OperationsWorker)
        serving = sorted(
            (worker.age, pid) for pid, worker in self.WORKERS.items() if not isinstance(worker, OperationsWorker)
        )
        new = [(age, pid) for age, pid in serving if age > self._replaced]
        for _ in range(self.num_workers - len(new)):
            self._board.enter(self.worker_age + 1)
            self._start(ApiWorker)
        to_end = new[: -self.num_workers]
        if len(new) >= self.num_workers and all(self._board.serves(age) for age, _ in new):
            to_end += [(age, pid) for age, pid in serving if age <= self._replaced]
        for _, pid in to_end:
            self.kill_worker(pid, signal.SIGTERM)

    def handle_hup(self) -> None:
        """Replace every worker that serves."""
        self._replaced = self.worker_age

    def handle_term(self) -> None:
        """Drain and end."""
        self._board.drain()
        raise StopIteration

    handle_int = handle_term

    def handle_usr2(self) -> None:
        """Do nothing: this program is not replaced while it runs."""

    def _start(self, kind: type[Worker]) -> None:
        self.worker_class = kind
        self.spawn_worker()


class _NodeWorker(GunicornUVLoopWebWorker):
    """A process of the node: shows that it is alive, and ends when it is told to or its parent is gone."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401  gunicorn's own
        super().__init__(*arguments)
        self._told = asyncio.Event()

    def init_signals(self) -> None:
        """Take signals from the parent alone: a terminal sends SIGINT to every process."""
        super().init_signals()
        self.loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  gunicorn's signature
        """End in good order."""
        self._told.set()

    handle_quit = handle_exit

    async def _run(self) -> None:
        self.booted = True  # the arbiter gives up on everything where a worker ends unbooted
        beat = self.loop.create_task(self._beat())
        try:
            await self._work(cast("Work", self.wsgi))
        except Exception as error:  # noqa: BLE001  the arbiter starts another one
            _log.warning("worker_failed", pid=os.getpid(), exc_info=error)
            await asyncio.wait({self.loop.create_task(self._told.wait())}, timeout=_PAUSE_S)
        finally:
            beat.cancel()
            await asyncio.wait({beat})

    async def _work(self, work: Work) -> None:
        raise NotImplementedError

    async def _beat(self) -> None:
        while True:
            self.notify()
            if os.getppid() != self.ppid:
                self._told.set()
            await asyncio.sleep(_BEAT_S)


class ApiWorker(_NodeWorker):
    """Serves the API."""

    async def _work(self, work: Work) -> None:
        await work.serve(self.sockets, self._told, self.age)


class OperationsWorker(_NodeWorker):
    """Serves the operations port."""

    async def _work(self, work: Work) -> None:
        for one in self.sockets:
            one.close()  # or callers would still be let in when no worker is left
        await work.operate(self._told)
