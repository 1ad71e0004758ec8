"""The hold of one server on a whole registry: a lock of the system's or of PostgreSQL's, which ends with its process.

It keeps other servers off a registry whose challenges are in one server's memory, where they could not see them. The
command line takes none.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.stores.sql.database import Database

_LOCK = 0x6D6662  # one more than that of upgrades
# A machine that vanished is found out after half a minute instead of two hours, and its hold ends.
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4"}
_REFUSAL = (
    "data_dir, database.url: another server runs on this registry and keeps its challenges in memory, where this one "
    "could not see them; stop it, choose another registry, or set redis.url on both"
)


class Hold(Protocol):
    """A registry's hold.

    Attributes:
        is_elsewhere: whether another server had it when it was last to be taken.
    """

    is_elsewhere: bool

    async def take(self) -> None:
        """Take the hold, or take it again where it was lost; one that is still there stays.

        Raises:
            SettingsInvalid: another server has it.
            StoreUnavailable: the database is out of reach.
        """
        ...

    async def release(self) -> None:
        """Let go."""
        ...


def hold_on(database: Database) -> Hold:
    """Return the hold on the registry in a database."""
    return AdvisoryHold(database) if database.dialect == "postgresql" else FileHold(database.file)


class FileHold:
    """The hold on an SQLite file: a lock on a file beside it, which stays where it is.

    The file itself takes none: to close it once more in this process would end SQLite's own locks on it.

    Args:
        database: the file, by any of its names.
    """

    def __init__(self, database: Path) -> None:
        path = database.resolve()
        self.is_elsewhere = False
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None

    async def take(self) -> None:
        """Take the hold; a file's is not lost."""
        if self._descriptor is None:
            self._descriptor = self._taken()

    async def release(self) -> None:
        """Let go, by closing the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _taken(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"database file's lock: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise SettingsInvalid(_REFUSAL) from None
            raise StoreUnavailable(f"database file's lock: {error.strerror}") from None
        return descriptor


class AdvisoryHold:
    """The hold on a PostgreSQL database: an advisory lock, which ends with its connection.

    Args:
        database: the registry's.
    """

    def __init__(self, database: Database) -> None:
        self.is_elsewhere = False
        self._database = database
        self._connection: AsyncConnection | None = None

    async def take(self) -> None:
        """Take the hold, or take it again where its connection was lost."""
        try:
            with self._database.reaching:
                if self._connection is None:
                    self._connection = await self._taken()
                else:
                    await self._connection.execute(sa.select(1))
        except StoreUnavailable:
            await self.release()
            raise

    async def release(self) -> None:
        """Let go, by closing the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._close(connection)

    async def _taken(self) -> AsyncConnection:
        connection = await self._database.connect()
        try:
            for name, value in _KEEPALIVE.items():
                await connection.execute(sa.select(sa.func.set_config(name, value, False)))  # noqa: FBT003  SQL's own
            self.is_elsewhere = not await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK)))
            if not self.is_elsewhere:
                return connection
        except BaseException:
            await self._close(connection)
            raise
        await self._close(connection)
        raise SettingsInvalid(_REFUSAL)

    async def _close(self, connection: AsyncConnection) -> None:
        """Close a connection for good: back in the pool it would hold on."""
        with contextlib.suppress(StoreUnavailable), self._database.reaching:
            await connection.invalidate()
        with contextlib.suppress(StoreUnavailable), self._database.reaching:
            await connection.close()
