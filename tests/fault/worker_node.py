"""One node as operators start it: its process, its workers, its two ports."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.metrics import samples
from tests.servers.service_process import plain_environment

STARTED_WITHIN_S = 20.0
ENDED_WITHIN_S = 20.0


def wait_until(holds: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, f"{what} within {within_s} s did not come about"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"


@contextmanager
def heeding_hangups() -> Iterator[None]:
    """Start processes that SIGHUP ends, although the tests themselves may run under nohup, which is handed down."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class Node:
    """A node's first process, and what it has logged so far.

    Attributes:
        process: it.
        lines: of its log, those of its workers included.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        flags = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with heeding_hangups():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mfa_service", *flags, "serve"],
                cwd=folder,
                env=plain_environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.lines: list[str] = []
        self._served: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "serving":
                self._served.append(event)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that serve the API, the oldest first."""
        return [event["pid"] for event in list(self._served) if is_alive(event["pid"])]

    @property
    def children(self) -> list[int]:
        """The process ids of all processes of the node but the first."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._served[0]["port"])

    def await_workers(self, count: int, *, within_s: float = STARTED_WITHIN_S, besides: frozenset[int]) -> list[int]:
        """Wait until so many workers serve that are none of some old ones; return their ids."""

        def there() -> bool:
            assert self.process.poll() is None, "".join(self.lines)
            return len(set(self.workers) - besides) >= count

        wait_until(there, within_s=within_s, what=f"{count} workers")
        return [pid for pid in self.workers if pid not in besides]

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask on the operations port."""
        port = self._served[0]["operations_port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def metrics(self) -> dict[str, float]:
        """Return what the operations port counts."""
        port = self._served[0]["operations_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return samples(answer.read())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(ENDED_WITHIN_S)
        self._reader.join(ENDED_WITHIN_S)
        return code

    def close(self) -> None:
        """End it, if it has not ended, and whatever it has left behind."""
        children = self.children if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def started(folder: Path, settings: Mapping[str, object]) -> Iterator[Node]:
    """Start a node on free ports, whose first process is gone after the block."""
    node = Node(folder, {"data_dir": folder / "data", "http.port": 0, "tokens.signing_algorithm": "ES256", **settings})
    try:
        yield node
    finally:
        node.close()
