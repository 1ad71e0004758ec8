"""The schema: made, upgraded by several at once, checked, and equal to the tables that the code reads."""

import asyncio
import contextlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mfa_service.errors import SchemaStale, SettingsInvalid, StoreUnavailable
from mfa_service.model import Charged, NewDevice, Owner, SealedSecret, TotpParameters
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.stores.sql.tables import metadata
from mfa_service.stores.sql.urls import parse
from tests.clocks import ManualClock
from tests.contract.sql_stores import KEY, LIMITS, SHOP, sqlite_url
from tests.servers import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "registry.sqlite3")
    else:
        with postgres.database(cast("str", request.getfixturevalue("postgres_url"))) as url:
            yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Registry]:
    registry = await open_registry(url, clock=ManualClock(), limits=LIMITS)
    try:
        yield registry
    finally:
        await registry.close()


async def set_revision(registry: Registry, revision: str) -> None:
    async with registry.database.transaction() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


async def test_a_database_without_a_schema_is_refused_with_the_command_to_run(empty_database_url: str) -> None:
    async with opened(empty_database_url) as registry:
        with pytest.raises(SchemaStale, match="run `mfa-service database upgrade`"):
            await registry.check_schema()


async def test_an_upgraded_schema_fits_and_a_second_upgrade_leaves_it(empty_database_url: str) -> None:
    for _ in range(2):
        await schema.upgrade(empty_database_url)
        async with opened(empty_database_url) as registry:
            await registry.check_schema()


async def test_upgrades_at_once_do_not_get_in_each_others_way(empty_database_url: str) -> None:
    await asyncio.gather(*(schema.upgrade(empty_database_url) for _ in range(3)))
    async with opened(empty_database_url) as registry:
        await registry.check_schema()


async def test_an_upgrade_waits_for_whoever_makes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as maker:
        maker.execute("BEGIN EXCLUSIVE")
        upgrade = asyncio.create_task(schema.upgrade(sqlite_url(file)))
        await asyncio.sleep(1.0)  # longer than a connection waits to set up the file's log
        assert not upgrade.done()
        maker.execute("ROLLBACK")
        await upgrade
    async with opened(sqlite_url(file)) as registry:
        await registry.check_schema()


async def test_an_older_schema_is_refused_the_next_one_accepted_and_one_beyond_refused(empty_database_url: str) -> None:
    await schema.upgrade(empty_database_url)
    async with opened(empty_database_url) as registry:
        await set_revision(registry, "0000")
        with pytest.raises(SchemaStale, match="run `mfa-service database upgrade`"):
            await registry.check_schema()
        following = f"{int(schema.HEAD) + 1:04}"
        await set_revision(registry, following)
        await registry.check_schema()
        await schema.upgrade(empty_database_url)
        assert (await registry.database.read(sa.text("SELECT version_num FROM alembic_version")))[0][0] == following
        await set_revision(registry, f"{int(schema.HEAD) + 2:04}")
        with pytest.raises(SchemaStale, match="too new"):
            await registry.check_schema()


async def test_the_revisions_make_the_tables_that_the_code_reads(empty_database_url: str) -> None:
    await schema.upgrade(empty_database_url)

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with opened(empty_database_url) as registry:
        assert await registry.database.look(differences) == []


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
async def test_an_upgrade_that_waits_for_a_table_keeps_no_running_node_from_it(empty_database_url: str) -> None:
    look = sa.text("SELECT count(*) FROM devices")
    engine = schema._opened(parse(empty_database_url))[0]
    async with engine.begin() as connection:
        await connection.run_sync(schema._run_alembic, "0001")
    async with opened(empty_database_url) as registry:
        async with engine.begin() as connection:  # as a backup does, for as long as it takes
            await connection.execute(sa.text("LOCK TABLE devices IN ACCESS SHARE MODE"))
            upgrading = asyncio.create_task(schema.upgrade(empty_database_url))
            for _ in range(60):
                await registry.database.read(look)
                await asyncio.sleep(0.02)
            assert not upgrading.done()
        await upgrading
        await registry.check_schema()
    await engine.dispose()


async def test_the_version_before_goes_on_adding_devices_to_an_upgraded_schema(empty_database_url: str) -> None:
    engine = schema._opened(parse(empty_database_url))[0]
    async with engine.begin() as connection:
        await connection.run_sync(schema._run_alembic, "0001")
    await engine.dispose()
    columns = (
        "id, application_id, user_name, name, slot, status, algorithm, digits, period_s, key_id, secret, last_step, "
        "last_auth_id, earlier_acceptances, failures, locked_until_ms, pending_until_ms, created_at_ms, last_used_ms"
    )
    values = "'shop', 'alice', :id, :slot, 'ACTIVE', 'SHA1', 6, 30, 'k1', :secret, -1, '', '', 2, 0, 0, 7, 0"
    insert = sa.text(f"INSERT INTO devices ({columns}) VALUES (:id, {values})")  # noqa: S608  constants, as written above
    async with opened(empty_database_url) as registry:
        await registry.applications.add(SHOP)
        await registry.keys.add(KEY)
        for slot, name in ((1, "before"), (2, "after")):
            async with registry.database.transaction() as connection:
                await connection.execute(insert, {"id": name, "slot": slot, "secret": b"sealed"})
            await schema.upgrade(empty_database_url)
        for name in ("before", "after"):
            assert await registry.devices.charge(name) == Charged(3, 1)


def test_the_newest_revision_is_the_one_that_this_version_asks_for() -> None:
    directory = ScriptDirectory(str(Path(schema.__file__).parent.parent / "migrations"))
    assert directory.get_heads() == [schema.HEAD]


@pytest.mark.parametrize(("made_with", "page_bytes"), [(None, 2_048), (4_096, 4_096)])
async def test_a_new_sqlite_file_has_small_pages_and_one_of_others_keeps_them(
    tmp_path: Path, made_with: int | None, page_bytes: int
) -> None:
    path = tmp_path / "registry.sqlite3"
    if made_with is not None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA page_size = {made_with}")
            connection.execute("VACUUM")
    await schema.upgrade(sqlite_url(path))
    async with opened(sqlite_url(path)) as registry:
        await registry.applications.add(SHOP)
        assert await registry.applications.named(SHOP.name) == SHOP
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (page_bytes,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_sqlite_file_and_its_side_files_are_their_owners_alone(tmp_path: Path) -> None:
    await schema.upgrade(sqlite_url(tmp_path / "registry.sqlite3"))
    async with opened(sqlite_url(tmp_path / "registry.sqlite3")):
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert modes.keys() >= {"registry.sqlite3", "registry.sqlite3-wal"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "registry.sqlite3",
        "postgresql://user:hidden@localhost/mfa",
        "mysql+aiomysql://user:hidden@localhost/mfa",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "postgresql+asyncpg://user:hidden@localhost:port/mfa",
    ],
)
async def test_a_url_of_no_database_for_a_registry_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"database\.url") as refused:
        await schema.upgrade(url)
    assert "hidden" not in str(refused.value)
    with pytest.raises(SettingsInvalid, match=r"database\.url"):
        await open_registry(url, clock=ManualClock(), limits=LIMITS)


async def test_a_file_in_a_folder_that_is_not_there_is_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await schema.upgrade(sqlite_url(tmp_path / "none" / "registry.sqlite3"))


async def test_an_upgrade_leaves_a_device_whose_key_is_not_there_and_refuses_another_one(
    empty_database_url: str,
) -> None:
    engine = schema._opened(parse(empty_database_url))[0]
    async with engine.begin() as connection:
        await connection.run_sync(schema._run_alembic, "0002")
    await engine.dispose()
    device = NewDevice("lost", Owner("shop", "alice"), "phone", TotpParameters(), SealedSecret("gone", b"sealed"), 7)
    async with opened(empty_database_url) as registry:
        await registry.applications.add(SHOP)
        await registry.devices.register(device, pending_ttl_s=900, max_per_user=5)
        before = await registry.devices.get("lost")
    await schema.upgrade(empty_database_url)
    async with opened(empty_database_url) as registry:
        kept = await registry.devices.get("lost")
        assert kept == replace(before, read_at_ms=kept.read_at_ms)
        with pytest.raises(StoreUnavailable, match="the sealing key went away"):
            await registry.devices.register(replace(device, id="new", name="two"), pending_ttl_s=9, max_per_user=5)
        await registry.devices.remove(device.owner, "phone")
