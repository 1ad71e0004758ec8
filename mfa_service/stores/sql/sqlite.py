"""SQLite: one file, one connection a process that writes, some that read."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from mfa_service.errors import StoreUnavailable
from mfa_service.ports import Clock
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.prepared import Parameters, Row

_BUSY_TIMEOUT_MS = 500
_POOL_TIMEOUT_S = 1.0
_PAGE_BYTES = 2_048  # of a new file: each acceptance writes a page, and one of the default size costs a fifth more
_WAL_PAGES = 8_000  # 16 MB before they are written into the file itself; a quarter of them costs a seventh more
_READERS = 7  # one for each kind of look in batches, and one for all else; made when they are first needed
_DURABLE = (
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
    f"PRAGMA page_size = {_PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit that returned survives a power cut
    "PRAGMA foreign_keys = ON",
    f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}",
)
# One that writes keeps its pages over its commits: 4 MB hold the inner pages of a million devices' table and indexes.
_WRITING = "PRAGMA cache_size = -4000"
_READING = "PRAGMA query_only = ON"


def connect(url: sa.URL, *, clock: Clock) -> Database:
    """Return the database in a file, which is made where it is missing.

    Args:
        url: `sqlite+aiosqlite:///PATH`.
        clock: the time of the database's clock.

    Raises:
        StoreUnavailable: the file can be neither made nor opened.
    """
    make_private(Path(url.database or ""))
    writing = engine(url)
    reading = engine(url, readers=_READERS)
    for one in (writing, reading):
        _give_functions(one, clock)
    return Database(writing, reading, DRIVER)


def engine(url: sa.URL, *, readers: int = 0) -> AsyncEngine:
    """Return an engine whose single statements commit by themselves, durably.

    Args:
        url: as for `connect`.
        readers: how many connections it has, which then only read; 0: one that writes.
    """
    made = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=readers or 1,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_use_lifo=True,  # the one used last remembers pages and statements
        skip_autocommit_rollback=bool(readers),  # nothing to roll back; one that writes may have begun a transaction
    )
    sa.event.listen(made.sync_engine, "connect", _make_durable)
    sa.event.listen(made.sync_engine, "connect", _ready_to_read if readers else _ready_to_write)
    return made


def make_private(path: Path) -> None:
    """Make an empty file that its owner alone may read and write, unless it is there; its side files take after it.

    Raises:
        StoreUnavailable: it can be neither made nor opened.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"database file: {error.strerror}") from None


def _make_durable(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `database.begin` does
    _run(connection, *_DURABLE)


def _ready_to_read(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    _run(connection, _READING)


def _ready_to_write(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    _run(connection, _WRITING)


def _run(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _give_functions(engine: AsyncEngine, clock: Clock) -> None:
    def give(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The same throughout a statement, as on any database: asked once, and not for each row by a thread that would
        # have to wait for the interpreter each time.
        connection.create_function("now_ms", 0, clock.now_ms, deterministic=True)
        connection.create_function("octets", 1, bytes.fromhex, deterministic=True)

    sa.event.listen(engine.sync_engine, "connect", give)


async def _fetch(connection: aiosqlite.Connection, text: str, parameters: Parameters) -> Sequence[Row]:
    return list(await connection.execute_fetchall(text, parameters))


async def _change(connection: aiosqlite.Connection, text: str, parameters: Parameters) -> int:
    before = connection.total_changes
    await connection.execute_fetchall(text, parameters)
    return connection.total_changes - before


def _is_closed(_connection: aiosqlite.Connection) -> bool:
    """Return False: a file's connection stays."""
    return False


DRIVER: Final = Driver(
    fetch=_fetch,
    change=_change,
    errors=(sa.exc.DBAPIError, sqlite3.Error),
    answers=(sqlite3.Error,),
    standby=(),
    is_closed=_is_closed,
)
"""aiosqlite, and beneath it Python's own."""
