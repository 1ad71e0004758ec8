"""The registry on SQLite and on PostgreSQL, each by a clock that stands still until a test moves it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from mfa_service.model import Application, KeyPurpose, KeyRecord
from mfa_service.rules import guessing
from mfa_service.stores.sql import Registry, open_registry, schema
from tests.clocks import ManualClock
from tests.servers import postgres

LIMITS = guessing.limits(free_failures=3, first_wait_s=30, longest_wait_s=100, disable_after=7)
SHOP = Application("shop", "Shop", "client-shop", frozenset({"mfa:enroll"}), disabled=False, created_at_ms=1)
BANK = Application("bank", "Bank", "client-bank", frozenset({"mfa:enroll"}), disabled=False, created_at_ms=2)
KEY = KeyRecord("k1", KeyPurpose.SEALING, 1, "A256GCM", b"\x00sealed", "", 10, 11)
"""What the devices of tests are sealed with."""

# Found before PostgreSQL's own by the search path that the database is given.
_STILL_CLOCK = (
    "CREATE SCHEMA still",
    "CREATE TABLE still.moment (at_ms bigint)",
    "INSERT INTO still.moment VALUES (0)",
    """
    CREATE FUNCTION still.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT to_timestamp(at_ms / 1000.0) FROM still.moment'
    """,
)


@dataclass
class Stage:
    """A registry, where it is, and the clock that its database goes by."""

    url: str
    registry: Registry
    clock: ManualClock

    @property
    def is_postgresql(self) -> bool:
        return self.registry.database.dialect == "postgresql"

    async def advance(self, seconds: float) -> None:
        """Let time pass for the test and for the database."""
        self.clock.advance(seconds)
        await self.set_database_clock()

    async def set_database_clock(self) -> None:
        if self.is_postgresql:  # SQLite asks the clock itself
            await self.execute("UPDATE still.moment SET at_ms = :now_ms", now_ms=self.clock.now_ms())

    async def execute(self, statement: str, **parameters: int | str) -> None:
        """Do behind the registry's back what it has no method for."""
        async with self.registry.database.transaction() as connection:
            await connection.execute(sa.text(statement), parameters)

    @asynccontextmanager
    async def reopened(self) -> AsyncIterator[Registry]:
        """Close the registry, and open what it left behind."""
        await self.registry.close()
        again = await open_registry(self.url, clock=self.clock, limits=LIMITS)
        yield again
        await again.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    asyncio.run(schema.upgrade(sqlite_url(path)))
    return path


@pytest.fixture(scope="session")
def postgres_registry_url(postgres_url: str) -> Iterator[str]:
    """A PostgreSQL database with the schema, whose clock stands still."""
    with postgres.database(postgres_url) as url:
        asyncio.run(schema.upgrade(url))
        name = sa.make_url(url).database
        postgres.execute(url, *_STILL_CLOCK, f'ALTER DATABASE "{name}" SET search_path = public, still, pg_catalog')
        yield url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_registry_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a registry with nothing in it, on either database."""
    if request.param == "sqlite":
        path = tmp_path / "registry.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return sqlite_url(path)
    url = cast("str", request.getfixturevalue("postgres_registry_url"))
    postgres.execute(url, "TRUNCATE devices, applications, keys")
    return url


@pytest.fixture
async def stage(empty_registry_url: str, clock: ManualClock) -> AsyncIterator[Stage]:
    registry = await open_registry(empty_registry_url, clock=clock, limits=LIMITS)
    made = Stage(empty_registry_url, registry, clock)
    await made.set_database_clock()
    await registry.applications.add(SHOP)
    await registry.applications.add(BANK)
    await registry.keys.add(KEY)
    yield made
    await registry.close()


@pytest.fixture
async def workers(stage: Stage) -> AsyncIterator[list[Registry]]:
    """Three registries on one database, as three processes have them."""
    others = [await open_registry(stage.url, clock=stage.clock, limits=LIMITS) for _ in range(2)]
    yield [stage.registry, *others]
    for registry in others:
        await registry.close()


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"
