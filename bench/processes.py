"""Servers as processes of their own: started, asked what they cost, and ended by their own ids."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import cores

_SERVES_WITHIN_S = 30.0
_ENDS_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.05


class DoesNotServe(Exception):
    """A server ended, or took too long, before it served."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and all that came of it.

    Attributes:
        pid: of the first of them.
    """

    pid: int

    def cpu_s(self) -> float:
        """Return the user and system time of all of them so far, in seconds, of those that have ended too."""
        first = psutil.Process(self.pid)
        ended = first.cpu_times()
        spent_s = ended.children_user + ended.children_system
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since, as PostgreSQL's helpers do
                times = process.cpu_times()
                spent_s += times.user + times.system
        return spent_s

    def rss_bytes(self) -> int:
        """Return the resident memory of the largest of them."""
        largest = 0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                largest = max(largest, process.memory_info().rss)
        return largest

    def _processes(self) -> Sequence[psutil.Process]:
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


@dataclass(frozen=True, slots=True)
class Served:
    """A server that serves.

    Attributes:
        port: on 127.0.0.1.
        tree: its processes.
    """

    port: int
    tree: Tree


@contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], *, log: Path, workers: int, on: AbstractSet[int]
) -> Iterator[Served]:
    """Run a server until the end of the block.

    Args:
        command: each of its workers logs a JSON line with the event `serving` and its `port` as soon as it serves.
        environment: all of it.
        log: where its output goes; its folder is the server's.
        workers: how many there are to be.
        on: the cores it runs on.

    Raises:
        DoesNotServe: it does not come to serve.
    """
    with cores.on(on), log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  our own servers
            command, cwd=log.parent, env=environment, stdout=output, stderr=output, process_group=0
        )
    try:
        yield Served(_port(process, log, workers), Tree(process.pid))
        process.send_signal(signal.SIGTERM)
        process.wait(_ENDS_WITHIN_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever of it is left
        process.wait()


def plain_environment() -> dict[str, str]:
    """Return this process's environment without anything that the service or Python would take settings from."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MFA_", "PYTHON"))}


def _port(process: "subprocess.Popen[bytes]", log: Path, workers: int) -> int:
    deadline_s = time.monotonic() + _SERVES_WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        events = [json.loads(line) for line in lines if '"event":"serving"' in line and line.endswith("}\n")]
        if len(events) >= workers:
            return int(events[0]["port"])
        time.sleep(_LOOK_EVERY_S)
    raise DoesNotServe(log.read_text(encoding="utf-8"))
