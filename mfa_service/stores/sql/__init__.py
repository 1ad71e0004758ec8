"""The registry in SQL: one implementation for SQLite and PostgreSQL."""

from dataclasses import dataclass

import sqlalchemy as sa

from mfa_service.model import GuessingLimits
from mfa_service.ports import Clock
from mfa_service.stores.sql import engines, schema
from mfa_service.stores.sql.applications import SqlApplications
from mfa_service.stores.sql.devices import SqlDevices
from mfa_service.stores.sql.engines import Engines, reaching
from mfa_service.stores.sql.keys import SqlKeys


@dataclass(frozen=True, slots=True)
class Registry:
    """What must never be lost, in one database."""

    devices: SqlDevices
    applications: SqlApplications
    keys: SqlKeys
    engines: Engines

    async def ping(self) -> None:
        """Ask the database for an answer.

        Raises:
            StoreUnavailable: it gives none.
        """
        with reaching():
            async with self.engines.reader.connect() as connection:
                await connection.execute(sa.select(1))

    async def check_schema(self) -> None:
        """Check that the schema has everything this version needs.

        Raises:
            SchemaStale: it is older, or there is none.
        """
        await schema.check(self.engines)

    async def close(self) -> None:
        """Answer what is under way, then close every connection."""
        await self.devices.close()
        await self.engines.close()


def open_registry(url: str, *, clock: Clock, limits: GuessingLimits) -> Registry:
    """Return the registry in a database; it is first reached when it is first used.

    Args:
        url: of SQLAlchemy, `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.
        clock: the time of an SQLite database; PostgreSQL has its own.
        limits: how devices answer wrong codes.
    """
    database = engines.connect(url, clock=clock)
    return Registry(
        devices=SqlDevices(database, limits),
        applications=SqlApplications(database),
        keys=SqlKeys(database),
        engines=database,
    )
