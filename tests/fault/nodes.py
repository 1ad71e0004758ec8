"""Nodes of one service: processes that share a registry, a Redis and a root key, as operators start them."""

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mfa_service import app
from mfa_service import settings as settings_module
from mfa_service.access.applications import new_application
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from tests.fault import ledger
from tests.fault.history import History
from tests.servers import postgres
from tests.servers.service_process import plain_environment

APPLICATIONS = ("shop", "bank")
MAX_ATTEMPTS = 3
"""Wrong codes that a challenge takes: fewer than a device does, so that each limit shows by itself."""
FREE_FAILURES = 5
"""Wrong codes in a row after which a device waits, as it comes."""

_SERVES_WITHIN_S = 20.0
_STOPS_WITHIN_S = 30.0
_NUMBERS = itertools.count(1)


class Node:
    """One process of the service, ended by its own id.

    Args:
        name: what the records call it.
        environment: its settings.
        folder: for its log.

    Attributes:
        url: where its root is, once `wait` has returned.
    """

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.url = ""
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "mfa_service", "serve"), cwd=folder, env=environment, stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Wait until it serves."""
        deadline_s = time.monotonic() + _SERVES_WITHIN_S
        while not self.url:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, self._log.read_text()
            time.sleep(0.05)
            for event in self.events():
                if event.get("event") == "serving":
                    self.url = f"http://127.0.0.1:{event['port']}"

    def events(self) -> list[Mapping[str, object]]:
        """Return what it has logged; a line that is not complete yet is left out."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def kill(self) -> None:
        """End it at once, without a chance to finish anything."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Tell it to stop, unless it was killed, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
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
def site(folder: Path, *, database_url: str, redis_url: str) -> Iterator[Site]:
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
        "MFA_OPS_PORT": "0",
    }
    applications = asyncio.run(_set_up(environment))
    postgres.execute(database_url, *ledger.STATEMENTS)
    with contextlib.ExitStack() as stack:
        nodes = []
        for name in ("one", "two"):  # at once: the first start of either may find the other's keys
            nodes.append(Node(name, environment, folder))
            stack.callback(nodes[-1].kill)
        for node in nodes:
            node.wait()
        yield Site(tuple(nodes), database_url, environment["MFA_REDIS_KEY_PREFIX"], applications)
        killed = [node for node in nodes if node.stop() == -signal.SIGKILL]
        broken = [event for node in nodes for event in node.events() if event.get("level") in ("error", "critical")]
        assert len(killed) < len(nodes)
        assert not broken


async def _set_up(environment: Mapping[str, str]) -> Mapping[str, Credentials]:
    """Make the schema and onboard the applications."""
    settings = settings_module.load(config_path=None, environment=environment, flags={}).settings
    clock = app.SystemClock()
    await app.upgrade_database(settings)
    registry = await app.open_registry_of(settings, clock=clock)
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
