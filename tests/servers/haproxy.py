"""Debian's HAProxy on free ports of this machine, before nodes whose readiness it asks for."""

import csv
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.valkey import free_port, wait_until

BINARY = Path("/usr/sbin/haproxy")
CHECKED_EVERY_MS = 100
_LOST = ("econ", "eresp", "wretr", "wredis")

# It tries nothing twice, so that its callers meet whatever a node does.
_CONFIGURATION = """
global
    log stdout format raw local0

defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    retries 0
    timeout connect 2s
    timeout client 30s
    timeout server 10s
    timeout check 2s

frontend api
    bind 127.0.0.1:{port}
    default_backend nodes

frontend figures
    bind 127.0.0.1:{figures_port}
    stats enable
    stats uri /

backend nodes
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter {checked_every_ms}ms fall 1 rise 1
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """What the balancer is told of a node."""

    name: str
    port: int
    operations_port: int


class Balancer:
    """A running HAProxy.

    Attributes:
        name: what records call it.
        url: where its callers find it.
    """

    def __init__(self, folder: Path, backends: Sequence[Backend]) -> None:
        port = free_port()
        self._figures_port = free_port()
        self.name = "balancer"
        self.url = f"http://127.0.0.1:{port}"
        text = _CONFIGURATION.format(port=port, figures_port=self._figures_port, checked_every_ms=CHECKED_EVERY_MS)
        lines = [f"    server {one.name} 127.0.0.1:{one.port} port {one.operations_port}\n" for one in backends]
        configuration = folder / "haproxy.cfg"
        configuration.write_text(text + "".join(lines))
        self._log = folder / "haproxy.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen((BINARY, "-db", "-f", configuration), stdout=log, stderr=log)

    def _rows(self) -> Mapping[str, Mapping[str, str]]:
        assert self._process.poll() is None, self._log.read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._figures_port}/;csv", timeout=5) as answer:
            rows = csv.DictReader(answer.read().decode().removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] == "nodes" and row["svname"] != "BACKEND"}

    def is_up(self, name: str) -> bool:
        """Whether a node gets requests."""
        return self._rows()[name]["status"] == "UP"

    def wait(self, *names: str) -> None:
        """Wait until nodes get requests."""
        wait_until(lambda: all(map(self.is_up, names)), "a balancer that sends requests to its nodes")

    def answered(self) -> Mapping[str, int]:
        """Return how many requests each node has had."""
        return {name: int(row["stot"]) for name, row in self._rows().items()}

    def lost(self) -> Mapping[str, int]:
        """Return how many requests or connections to nodes failed, or were tried again, by kind."""
        return {kind: sum(int(row[kind] or 0) for row in self._rows().values()) for kind in _LOST}

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def balancing(folder: Path, backends: Sequence[Backend]) -> Iterator[Balancer]:
    """Run an HAProxy until the end of the block; the test is skipped where there is none."""
    if not BINARY.exists():
        pytest.skip(f"Debian's haproxy is not installed ({BINARY})")
    balancer = Balancer(folder, backends)
    try:
        balancer.wait(*(one.name for one in backends))
        yield balancer
    finally:
        balancer.close()
