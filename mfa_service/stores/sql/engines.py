"""Connections to the registry's database, and what its failures are called."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mfa_service.errors import StoreUnavailable
from mfa_service.ports import Clock

_BUSY_TIMEOUT_MS = 500
_POSTGRESQL_SETTINGS = {"lock_timeout": "200", "statement_timeout": "800", "application_name": "mfa-service"}


@contextmanager
def reaching() -> Iterator[None]:
    """Turn whatever a database out of reach raises into `StoreUnavailable`.

    Breaches of a constraint and unfit data stay what they are: they belong to one caller.
    """
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.DataError):
        raise
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, TimeoutError, ValueError) as error:
        # The original's text may hold parameters: only its kind is told.
        raise StoreUnavailable(type(error).__name__) from None


@dataclass(frozen=True, slots=True)
class Engines:
    """The two ways to the database.

    Attributes:
        dialect: `sqlite` or `postgresql`.
        reader: for single statements, each its own transaction.
        writer: the same for single statements that write; on SQLite the process's one writing connection.
        transactions: for several statements that hold together.
    """

    dialect: str
    reader: AsyncEngine
    writer: AsyncEngine
    transactions: AsyncEngine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction, commit it at the end, and roll it back on an exception."""
        with reaching():
            async with self.transactions.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Close every connection."""
        for engine in {self.reader, self.writer, self.transactions}:
            await engine.dispose()


def connect(url: str, *, clock: Clock) -> Engines:
    """Return the engines for a database; connections are made when they are first needed.

    Args:
        url: of SQLAlchemy, `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.
        clock: the time of SQLite's `now_ms()`.
    """
    if sa.make_url(url).get_backend_name() == "sqlite":
        writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0, pool_timeout=2)
        reader = create_async_engine(url, hide_parameters=True, pool_size=2, max_overflow=0, pool_timeout=2)
        for engine in (reader, writer):
            _prepare_sqlite(engine.sync_engine, clock)
        sa.event.listen(writer.sync_engine, "begin", _begin_immediate)
        return Engines("sqlite", reader=reader, writer=writer, transactions=writer)
    arguments: dict[str, Any] = {"server_settings": _POSTGRESQL_SETTINGS, "timeout": 2, "command_timeout": 1}
    transactions = create_async_engine(
        url, hide_parameters=True, pool_size=8, max_overflow=0, pool_timeout=1, connect_args=arguments
    )
    single = transactions.execution_options(isolation_level="AUTOCOMMIT")
    return Engines("postgresql", reader=single, writer=single, transactions=transactions)


def _prepare_sqlite(engine: sa.Engine, clock: Clock) -> None:
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own type
        connection.isolation_level = None  # the driver begins nothing by itself: `_begin_immediate` does
        connection.create_function("now_ms", 0, clock.now_ms)
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {_BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    sa.event.listen(engine, "connect", prepare)


def _begin_immediate(connection: sa.Connection) -> None:
    """Take the write lock at once: a transaction that reads first could otherwise fail when it comes to write."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def keep_private(url: str) -> None:
    """Make an SQLite file where it is missing, open to its owner alone; its side files take after it."""
    path = sa.make_url(url).database
    if path and path != ":memory:":
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
