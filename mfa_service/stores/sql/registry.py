"""The registry as a whole: devices, applications and keys in one database."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from mfa_service.model import GuessingLimits
from mfa_service.ports import Clock
from mfa_service.stores.sql import schema, sqlite
from mfa_service.stores.sql.applications import SqlApplications
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.devices import SqlDevices
from mfa_service.stores.sql.expressions import now_ms
from mfa_service.stores.sql.hold import Hold, hold_on
from mfa_service.stores.sql.keys import SqlKeys
from mfa_service.stores.sql.sealed_devices import SqlSealedDevices
from mfa_service.stores.sql.urls import SQLITE, parse

_Warnings: TypeAlias = Callable[[Database], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Registry:
    """What must never be lost, in one database.

    Attributes:
        warnings: what an operator should know about the database's promises.
    """

    devices: SqlDevices
    applications: SqlApplications
    keys: SqlKeys
    sealed_devices: SqlSealedDevices
    warnings: tuple[str, ...]
    database: Database

    async def ping(self) -> None:
        """Ask the database for an answer.

        Raises:
            StoreUnavailable: it gives none.
        """
        await self.database.read(sa.select(1))

    async def now_ms(self) -> int:
        """Return the database's clock, as Unix time in milliseconds.

        Raises:
            StoreUnavailable: it gives none.
        """
        [row] = await self.database.read(sa.select(now_ms().label("now_ms")))
        moment: int = row.now_ms
        return moment

    async def check_schema(self) -> str:
        """Check that the schema has everything this version needs, and return its revision.

        Raises:
            SchemaStale: it is older, or there is none, or it is more than one version ahead.
            StoreUnavailable: the database is out of reach.
        """
        return await schema.check(self.database)

    def hold(self) -> Hold:
        """Return the hold that a server whose challenges are in its own memory takes on the whole registry."""
        return hold_on(self.database)

    async def close(self) -> None:
        """Answer what is under way, then close every connection; every method raises `StoreUnavailable` after that."""
        await self.applications.close()
        await self.devices.close()
        await self.database.close()


async def open_registry(url: str, *, clock: Clock, limits: GuessingLimits) -> Registry:
    """Open the registry in a database and ask it for a first answer.

    Args:
        url: of SQLAlchemy, `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`.
        clock: the time of an SQLite database; PostgreSQL has its own.
        limits: how devices answer wrong codes.

    Raises:
        SettingsInvalid: the URL is neither, or the server acknowledges commits before they are durable.
        StoreUnavailable: the database is out of reach.
    """
    parsed = parse(url)
    warnings_of: _Warnings | None = None
    if parsed.drivername == SQLITE:
        database = sqlite.connect(parsed, clock=clock)
    else:
        from mfa_service.stores.sql import postgresql  # noqa: PLC0415  its driver takes 5 MiB, which a file does without

        database = postgresql.connect(parsed)
        warnings_of = postgresql.durability_warnings
    try:
        await database.read(sa.select(1))
        warnings = [] if warnings_of is None else await warnings_of(database)
    except BaseException:
        await database.close()
        raise
    return Registry(
        devices=SqlDevices(database, limits),
        applications=SqlApplications(database),
        keys=SqlKeys(database),
        sealed_devices=SqlSealedDevices(database),
        warnings=tuple(warnings),
        database=database,
    )
