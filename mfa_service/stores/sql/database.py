"""A database and the two ways to run statements on it."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.sql import faults, prepared
from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.faults import Reaching
from mfa_service.stores.sql.prepared import Member, Prepared, Row
from mfa_service.stores.sql.shuttle import Shuttle

Seen = TypeVar("Seen")


class Database:
    """One database.

    Args:
        writing: connections that write; SQLite has one.
        reading: connections that read; the same ones on PostgreSQL.
        driver: of both.

    Attributes:
        reaching: turns, within a block, whatever this database out of reach raises into `StoreUnavailable`.
    """

    def __init__(self, writing: AsyncEngine, reading: AsyncEngine, driver: Driver) -> None:
        self.reaching = Reaching(driver)
        self._transactional = writing
        self._writing = writing.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = reading.execution_options(isolation_level="AUTOCOMMIT")
        self._write_batches = Shuttle(writing, driver)
        self._readers = None if reading is writing else Shuttle(reading, driver)
        self._read_batches = self._readers or self._write_batches
        self._is_closed = False

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._transactional.dialect.name

    @property
    def file(self) -> Path:
        """Where an SQLite database is."""
        return Path(self._transactional.url.database or "")

    async def read(
        self, statement: sa.Executable, parameters: Mapping[str, str] | None = None
    ) -> Sequence[sa.Row[Any]]:
        """Run one statement that changes nothing and return its rows.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with self._reach():
            async with _taken(self._reading.connect(), self._read_batches) as connection:
                return (await connection.execute(statement, parameters)).all()

    async def look(self, at: Callable[[sa.Connection], Seen]) -> Seen:
        """Run a function on a connection that reads.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with self._reach():
            async with _taken(self._reading.connect(), self._read_batches) as connection:
                return await connection.run_sync(at)

    async def write(
        self, statement: sa.Executable, parameters: Mapping[str, str] | None = None
    ) -> Sequence[sa.Row[Any]]:
        """Run and commit one statement and return the rows of its RETURNING.

        Raises:
            RowLocked: somebody else holds a row, or the SQLite file.
            StoreUnavailable: the database is out of reach; the statement may have been carried out all the same.
        """
        with self._reach(), faults.telling_busy():
            async with _taken(self._writing.connect(), self._write_batches) as connection:
                return (await connection.execute(statement, parameters)).all()

    def prepare(self, statement: sa.Executable) -> Prepared:
        """Compile a statement on a batch for `read_batch` or `write_batch`."""
        return prepared.prepare(statement, self._transactional.dialect)

    def prepare_packed(self, statement: sa.Select[*tuple[Any, ...]]) -> Prepared:
        """Compile a hot look of text and whole numbers at a batch for `read_batch` or `read_batch_to_write`."""
        return prepared.prepare_packed(statement, self._transactional.dialect)

    async def read_batch(self, statement: Prepared, batch: Sequence[Member]) -> Sequence[Row]:
        """Run one statement that changes nothing on the members of a batch and return its rows.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with self._reach():
            return await self._read_batches.run(statement, batch)

    async def read_batch_to_write(self, statement: Prepared, batch: Sequence[Member]) -> Sequence[Row]:
        """Do the same for whoever is about to write those very rows.

        SQLite's connection that writes then has their pages in its memory, which those that read lose at each commit.
        One that reads stands in for it where it is wanted for a transaction, or kept by another process's lock.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with self._reach():
            return await self._write_batches.run(statement, batch, or_else=self._readers)

    async def write_batch(self, statement: Prepared, batch: Sequence[Member]) -> Sequence[Row]:
        """Run and commit one statement on the members of a batch and return the rows of its RETURNING.

        Raises:
            StoreUnavailable: the database is out of reach; the statement may have been carried out all the same.
        """
        with self._reach():
            return await self._write_batches.run(statement, batch)

    async def change_batch(self, statement: Prepared, batch: Sequence[Member]) -> int:
        """Run and commit one statement without RETURNING on the members of a batch; return how many rows it changed.

        Raises:
            StoreUnavailable: the database is out of reach; the statement may have been carried out all the same.
        """
        with self._reach():
            return await self._write_batches.change(statement, batch)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that commits at the end of the block and rolls back where the block raises.

        Raises:
            StoreUnavailable: the database is out of reach; a commit may have been carried out all the same.
            IntegrityError: a statement goes against a constraint.
        """
        with self._reach():
            async with _taken(self._transactional.begin(), self._write_batches) as connection:
                await begin(connection)
                yield connection

    async def connect(self) -> AsyncConnection:
        """Return a connection of the pool's for the caller to keep and close; single statements commit by themselves.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with self._reach(), self._write_batches.wanted():
            return await self._writing.connect()

    async def close(self) -> None:
        """Close every connection; nothing runs after that."""
        self._is_closed = True
        with self.reaching:
            await self._write_batches.close()
            await self._read_batches.close()
            await self._transactional.dispose()
            await self._reading.dispose()

    def _reach(self) -> Reaching:
        if self._is_closed:
            raise StoreUnavailable("the registry is closed")
        return self.reaching


@asynccontextmanager
async def _taken(
    connecting: AbstractAsyncContextManager[AsyncConnection], batches: Shuttle
) -> AsyncIterator[AsyncConnection]:
    """Have a connection of the pool's that batches travel by, which give way until it is there."""
    async with AsyncExitStack() as stack:
        with batches.wanted():
            connection = await stack.enter_async_context(connecting)
        yield connection


async def begin(connection: AsyncConnection) -> None:
    """Begin what SQLAlchemy believes to have begun: on SQLite its driver begins nothing by itself.

    The write lock is taken at once: a transaction that reads first could otherwise fail when it comes to write.
    """
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
