"""The hold of one server on a whole registry: an advisory lock of PostgreSQL, which ends with its connection."""

import contextlib

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.stores.sql.database import Database, reaching

_LOCK = 0x6D6662  # one more than that of upgrades
# A machine that vanished is found out after half a minute instead of two hours, and its hold ends.
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "4"}


class Hold:
    """Keeps other servers off a registry whose challenges are in this one's memory, where they could not see them.

    An SQLite file needs none: its folder is held (`mfa_service.ops.folder`).

    Args:
        database: the registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection | None = None

    async def take(self) -> None:
        """Take the hold, or take it again where its connection was lost; one that is still there stays.

        Raises:
            SettingsInvalid: another server has it.
            StoreUnavailable: the database is out of reach.
        """
        if self._database.dialect != "postgresql":
            return
        try:
            with reaching():
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
            await _close(connection)

    async def _taken(self) -> AsyncConnection:
        connection = await self._database.connect()
        try:
            for name, value in _KEEPALIVE.items():
                await connection.execute(sa.select(sa.func.set_config(name, value, False)))  # noqa: FBT003  SQL's own
            if await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK))):
                return connection
        except BaseException:
            await _close(connection)
            raise
        await _close(connection)
        raise SettingsInvalid(
            "database.url: another server runs on this registry and keeps its challenges in memory, where this one "
            "could not see them; stop it, choose another database, or set redis.url on both"
        )


async def _close(connection: AsyncConnection) -> None:
    """Close a connection for good: back in the pool it would hold on."""
    with contextlib.suppress(StoreUnavailable), reaching():
        await connection.invalidate()
    with contextlib.suppress(StoreUnavailable), reaching():
        await connection.close()
