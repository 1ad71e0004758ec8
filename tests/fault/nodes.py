"""Nodes of one service, of several workers each, that share a registry, a Redis and a root key."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mfa_service import app, opening
from mfa_service import settings as settings_module
from mfa_service.access.applications import new_application
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from tests.fault import ledger
from tests.fault.history import History
from tests.fault.worker_node import is_alive, wait_until
from tests.servers import postgres
from tests.servers.service_process import plain_environment

APPLICATIONS = ("shop", "bank")
WORKERS = 2
MAX_ATTEMPTS = 3
"""Wrong codes that a challenge takes: fewer than a device does, so that each limit shows by itself."""
FREE_FAILURES = 5
"""Wrong codes in a row after which a device waits, as it comes."""

_SERVES_WITHIN_S = 20.0
_STOPS_WITHIN_S = 30.0
_NUMBERS = itertools.count(1)


class Entrance(Protocol):
    """Where requests are sent: a node, or what stands before several."""

    @property
    def name(self) -> str:
        """What the records call it."""
        ...

    @property
    def url(self) -> str:
        """Where its root is."""
        ...


class Node:
    """The processes of one node, a group that is ended by its own id.

    Args:
        name: what the records call it.
        environment: its settings.
        folder: for its log.

    Attributes:
        url: where its root is, once `wait` has returned; the same ever after.
        port: of the API, the same.
        operations_port: the same.
    """

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.url = ""
        self.port = self.operations_port = 0
        self._environment = dict(environment)
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._killed_workers: list[int] = []
        self.start()

    def start(self) -> None:
        """Start it; where it was there before, on the same ports."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "mfa_service", "serve"),
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def wait(self, *, besides: Collection[int] = (), within_s: float = _SERVES_WITHIN_S) -> None:
        """Wait until as many workers serve as there should be.

        Args:
            besides: workers that do not count.
            within_s: how long it may take, in seconds.
        """
        deadline_s = time.monotonic() + within_s
        while len(set(self.workers) - set(besides)) < WORKERS:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, self._log.read_text()
            time.sleep(0.05)
        event = self._events("serving")[0]
        self.port, self.operations_port = int(event["port"]), int(event["operations_port"])
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment |= {"MFA_HTTP_PORT": str(self.port), "MFA_OPS_PORT": str(self.operations_port)}

    def run(self, *arguments: str) -> str:
        """Run a command with its settings, and return what it prints."""
        done = subprocess.run(
            (sys.executable, "-m", "mfa_service", *arguments),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that serve, the oldest first."""
        return [event["pid"] for event in self._events("serving") if is_alive(event["pid"])]

    def faults(self) -> list[Mapping[str, Any]]:
        """Return what it has logged as an error, but for the loss of workers that were killed."""
        return [
            event
            for level in ("error", "critical")
            for event in self._events(level)
            if not any(f"(pid:{pid}) was sent SIGKILL" in event["event"] for pid in self._killed_workers)
        ]

    def _events(self, word: str) -> list[Mapping[str, Any]]:
        """Return the log's lines with this level or event; one that is not complete yet is left out."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if f':"{word}"' in line and line.endswith("}\n")]

    def kill_worker(self, pid: int) -> None:
        """End a worker at once, and return when it is gone."""
        self._killed_workers.append(pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), within_s=1, what="the end of a killed worker")

    def replace_workers(self) -> None:
        """Have all workers replaced, and return when the old ones are gone."""
        old = self.workers
        self._process.send_signal(signal.SIGHUP)
        self.wait(besides=old)
        wait_until(lambda: not any(map(is_alive, old)), within_s=_STOPS_WITHIN_S, what="the end of the old workers")

    def kill(self) -> None:
        """End it at once with all of its workers, without a chance to finish anything."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def tell_to_stop(self) -> None:
        """Tell it to stop, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Tell it to stop, unless it has ended, and return its exit code when it has."""
        self.tell_to_stop()
        try:
            return self._process.wait(_STOPS_WITHIN_S)
        finally:
            self.kill()


@dataclass(frozen=True, slots=True)
class Credentials:
    """How an application gets its tokens."""

    client_id: str
    client_secret: str


@dataclass(frozen=True)
class Site:
    """The nodes of a service and what they share.

    Attributes:
        key_prefix: what its keys in Redis begin with.
        applications: name → its credentials.
        history: what becomes of every request.
    """

    nodes: tuple[Node, ...]
    database_url: str
    key_prefix: str
    applications: Mapping[str, Credentials]
    history: History = field(default_factory=History)


@contextlib.contextmanager
def site(folder: Path, *, database_url: str, redis_url: str, drain_s: int = 0) -> Iterator[Site]:
    """Run two nodes on an empty database, whose schema is made first, and stop them at the end of the block."""
    environment = {
        **plain_environment(),
        "MFA_DATA_DIR": str(folder / "data"),
        "MFA_DATABASE_URL": database_url,
        "MFA_REDIS_URL": redis_url,
        "MFA_REDIS_KEY_PREFIX": f"fault-{os.getpid()}-{next(_NUMBERS)}",
        "MFA_KEYS_ROOT": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "MFA_CHALLENGE_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
        "MFA_HTTP_PORT": "0",
        "MFA_HTTP_WORKERS": str(WORKERS),
        "MFA_HTTP_DRAIN_S": str(drain_s),
        "MFA_OPS_PORT": "0",
    }
    applications = asyncio.run(_set_up(environment))
    postgres.execute(database_url, *ledger.statements(database_url))
    with contextlib.ExitStack() as stack:
        nodes = []
        for name in ("one", "two"):  # at once: the first start of either may find the other's keys
            nodes.append(Node(name, environment, folder))
            stack.callback(nodes[-1].kill)
        for node in nodes:
            node.wait()
        yield Site(tuple(nodes), database_url, environment["MFA_REDIS_KEY_PREFIX"], applications)
        for node in nodes:
            node.tell_to_stop()
        killed = [node for node in nodes if node.stop() == -signal.SIGKILL]
        assert len(killed) < len(nodes)
        assert not [fault for node in nodes for fault in node.faults()]


async def _set_up(environment: Mapping[str, str]) -> Mapping[str, Credentials]:
    """Make the schema and onboard the applications."""
    settings = settings_module.load(config_path=None, environment=environment, flags={}).settings
    clock = app.SystemClock()
    await opening.upgrade_database(settings)
    registry = await opening.open_registry_of(settings, clock=clock)
    credentials = {}
    try:
        for name in APPLICATIONS:
            application, client_secret = new_application(
                name, frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE}), clock=clock, random_bytes=app.random_bytes
            )
            await registry.applications.add(application)
            credentials[name] = Credentials(application.client_id, client_secret)
    finally:
        await registry.close()
    return credentials
