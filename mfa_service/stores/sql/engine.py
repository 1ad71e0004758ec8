"""Connections to the registry's database, and what counts as its being out of reach."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Executable, Row, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.ports import Clock
from mfa_service.stores.sql.expressions import SQLITE_CLOCK

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
DRIVERS = {SQLITE: "sqlite+aiosqlite", POSTGRESQL: "postgresql+asyncpg"}

_POOL_TIMEOUT_S = 1.0
_BUSY_TIMEOUT_MS = 500
_READERS = 2
_CONNECT_TIMEOUT_S = 2.0
_COMMAND_TIMEOUT_S = 1.5  # above the server's own limit: it ends a connection whose server fell silent

# SQLSTATE classes and codes (PostgreSQL, appendix A) of a server that cannot answer now: connection, deadlock, out of
# resources, lock not available, cancelled or shutting down, system error, internal error, and a server turned standby.
_OUT_OF_REACH = ("08", "40", "53", "55P03", "57", "58", "XX", "25006")
_TURNED_STANDBY = "25006"


def parse_url(text: str) -> URL:
    """Return a database's URL in SQLAlchemy's form.

    Args:
        text: `sqlite+aiosqlite:///PATH`, or `postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME`; several hosts are
            given as `postgresql+asyncpg://USER:PASSWORD@/NAME?host=H1:5432&host=H2:5432`.

    Raises:
        SettingsInvalid: it is none of these; the text does not repeat it, as it may hold a password.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise SettingsInvalid("database.url is not a URL") from None
    if url.drivername not in DRIVERS.values():
        raise SettingsInvalid(f"database.url must begin with {' or '.join(f'{name}://' for name in DRIVERS.values())}")
    if url.drivername == DRIVERS[SQLITE] and (url.database or ":memory:") == ":memory:":
        raise SettingsInvalid("database.url must name a file: what is in memory is not kept")
    return url


class Database:
    """One database and the ways to run statements on it.

    Args:
        writing: connections that write; SQLite has one.
        reading: connections that read.
    """

    def __init__(self, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self._transactions = writing
        self._writing = writing.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = reading.execution_options(isolation_level="AUTOCOMMIT")
        self._is_closed = False

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._transactions.dialect.name

    async def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one statement that changes nothing and return its rows.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        return await self._run(self._reading, statement, parameters)

    async def write(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run and commit one statement and return the rows it returns.

        Raises:
            StoreUnavailable: the database is out of reach; the statement may have been carried out all the same.
            IntegrityError: it goes against a constraint.
        """
        return await self._run(self._writing, statement, parameters)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that commits at the end of the block, or rolls back where the block raises.

        Raises:
            StoreUnavailable: the database is out of reach.
            IntegrityError: a statement goes against a constraint.
        """
        with self._reach():
            async with self._transactions.begin() as connection:
                if self.dialect == SQLITE:  # the driver begins none by itself: see `_prepare_sqlite`
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection

    async def close(self) -> None:
        """Close every connection; nothing runs after that."""
        self._is_closed = True
        await self._transactions.dispose()
        await self._reading.dispose()

    async def _run(
        self, engine: AsyncEngine, statement: Executable, parameters: Mapping[str, Any] | None
    ) -> Sequence[Row[Any]]:
        with self._reach():
            async with engine.connect() as connection:
                result = await connection.execute(statement, parameters)
                return result.all() if result.returns_rows else ()

    @contextmanager
    def _reach(self) -> Iterator[None]:
        if self._is_closed:
            raise StoreUnavailable("the registry is closed")
        try:
            yield
        except DBAPIError as error:
            if not _is_out_of_reach(error):
                raise
            # A driver's text may repeat a row or a statement: only the kind of error is told.
            raise StoreUnavailable(f"database: {type(error.orig).__name__} {_sqlstate(error)}".rstrip()) from None
        except (PoolTimeout, OSError) as error:
            raise StoreUnavailable(f"database: {type(error).__name__}") from None


def connect(url: URL, *, clock: Clock) -> Database:
    """Return a database whose connections are made as they are needed; an SQLite file is made if it is not there.

    Raises:
        StoreUnavailable: the file can be neither made nor opened.
    """
    if url.drivername == DRIVERS[SQLITE]:
        make_private_file(Path(str(url.database)))
        return Database(sqlite_engine(url, clock=clock), sqlite_engine(url, clock=clock, readers=_READERS))
    engine = postgresql_engine(url)
    return Database(engine, engine)


def make_private_file(path: Path) -> None:
    """Make an empty file that its owner alone may read and write, unless it is there.

    Raises:
        StoreUnavailable: it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"database file: {error.strerror}") from None


def sqlite_engine(url: URL, *, clock: Clock, readers: int | None = None) -> AsyncEngine:
    """Return an engine on an SQLite file: of one connection that writes, or of `readers` that cannot.

    Commits are durable once they return (`synchronous=FULL` in WAL mode).
    """
    engine = create_async_engine(
        url, hide_parameters=True, pool_size=readers or 1, max_overflow=0, pool_timeout=_POOL_TIMEOUT_S
    )
    pragmas = [
        f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
    ]
    if readers:
        pragmas.append("PRAGMA query_only = ON")

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # statements commit by themselves, and transactions begin where we say so
        connection.create_function(SQLITE_CLOCK, 0, clock.now_ms)
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return engine


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How long PostgreSQL waits for a lock, and for a statement to end, before it gives up; 0: for ever."""

    lock_timeout_ms: int = 200
    statement_timeout_ms: int = 800


def postgresql_engine(
    url: URL, limits: ServerLimits = ServerLimits(), *, command_timeout_s: float | None = _COMMAND_TIMEOUT_S
) -> AsyncEngine:
    """Return an engine on PostgreSQL; of several hosts it takes the one that is writable."""
    connect_args: dict[str, object] = {
        "timeout": _CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "server_settings": {
            "application_name": "mfa-service",
            "lock_timeout": str(limits.lock_timeout_ms),
            "statement_timeout": str(limits.statement_timeout_ms),
            "jit": "off",  # every statement is short
        },
    }
    if "target_session_attrs" not in url.query:
        connect_args["target_session_attrs"] = "read-write"
    engine = create_async_engine(
        url, hide_parameters=True, pool_size=8, max_overflow=4, pool_timeout=_POOL_TIMEOUT_S, connect_args=connect_args
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def _replace_closed(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        if entry.driver_connection.is_closed():  # known without asking the server
            raise DisconnectionError

    @event.listens_for(engine.sync_engine, "handle_error")
    def _leave_standby(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _TURNED_STANDBY:
            context.is_disconnect = True  # drops every pooled connection: the next one looks for the primary

    return engine


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _is_out_of_reach(error: DBAPIError) -> bool:
    """Whether it is the database that failed and not the statement; SQLite's driver tells of no more than constraints."""
    return not isinstance(error, IntegrityError) and (
        not _sqlstate(error) or _sqlstate(error).startswith(_OUT_OF_REACH)
    )
