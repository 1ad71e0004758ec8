"""A registry whose database is out of reach: every method says so, and nothing else."""

import asyncio
import shutil
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from mfa_service.errors import DeviceNotFound, MfaError, RowLocked, SettingsInvalid, StoreUnavailable
from mfa_service.model import Acceptance, NewDevice, Owner, Purpose, Resealed, SealedSecret, TotpParameters
from mfa_service.stores.sql import Registry, open_registry, schema
from tests.clocks import ManualClock
from tests.contract.sql_stores import BANK, KEY, LIMITS, SHOP, Stage, sqlite_url
from tests.servers import postgres

ALICE = Owner("shop", "alice")
PHONE = NewDevice("d1", ALICE, "phone", TotpParameters(), SealedSecret("k1", b"sealed"), 7)
CHANGE = Resealed("d1", PHONE.secret, SealedSecret("k1", b"anew"))

Call = Callable[[Registry], Awaitable[object]]
READING: dict[str, Call] = {
    "ping": lambda registry: registry.ping(),
    "check_schema": lambda registry: registry.check_schema(),
    "devices.get": lambda registry: registry.devices.get("d1"),
    "devices.credential": lambda registry: registry.devices.credential("d1"),
    "devices.standing": lambda registry: registry.devices.standing(ALICE, "phone"),
    "devices.find": lambda registry: registry.devices.find(ALICE, "phone"),
    "devices.all_of": lambda registry: registry.devices.all_of(ALICE),
    "devices.owners_named": lambda registry: registry.devices.owners_named("alice"),
    "applications.all": lambda registry: registry.applications.all(),
    "applications.by_client_id": lambda registry: registry.applications.by_client_id("client-shop"),
    "applications.named": lambda registry: registry.applications.named("Shop"),
    "keys.all": lambda registry: registry.keys.all(),
    "now_ms": lambda registry: registry.now_ms(),
    "sealed_devices.after": lambda registry: registry.sealed_devices.after("", limit=1),
    "sealed_devices.per_key": lambda registry: registry.sealed_devices.per_key(),
    "sealed_devices.needing": lambda registry: registry.sealed_devices.needing("k1", limit=1),
}
WRITING: dict[str, Call] = {
    "devices.register": lambda registry: registry.devices.register(PHONE, pending_ttl_s=900, max_per_user=5),
    "devices.accept": lambda registry: registry.devices.accept(
        Acceptance("d1", 1, "a1", 0, Purpose.AUTHENTICATION, clock_tolerance_ms=3000)
    ),
    "devices.charge": lambda registry: registry.devices.charge("d1"),
    "devices.remove": lambda registry: registry.devices.remove(ALICE, "phone"),
    "devices.remove_all": lambda registry: registry.devices.remove_all(ALICE),
    "devices.remove_pending": lambda registry: registry.devices.remove_pending("d1"),
    "devices.sweep": lambda registry: registry.devices.sweep(limit=10),
    "devices.unlock": lambda registry: registry.devices.unlock(ALICE, "phone"),
    "applications.add": lambda registry: registry.applications.add(SHOP),
    "applications.set_secrets": lambda registry: registry.applications.set_secrets("shop", ()),
    "applications.set_disabled": lambda registry: registry.applications.set_disabled("shop", disabled=True),
    "applications.remove": lambda registry: registry.applications.remove("shop", with_devices=True),
    "keys.add": lambda registry: registry.keys.add(KEY),
    "keys.retire": lambda registry: registry.keys.retire("k1", superseded_for_ms=0),
    "sealed_devices.replace": lambda registry: registry.sealed_devices.replace([CHANGE]),
}
EVERY = READING | WRITING


async def answers(registry: Registry, calls: dict[str, Call]) -> dict[str, type[BaseException] | None]:
    """Make every call, one after another, and tell what each raises."""
    raised: dict[str, type[BaseException] | None] = {}
    for name, call in calls.items():
        try:
            await call(registry)
        except MfaError as error:
            raised[name] = type(error)
        else:
            raised[name] = None
    return raised


def all_unavailable(calls: dict[str, Call]) -> dict[str, type[BaseException] | None]:
    return dict.fromkeys(calls, StoreUnavailable)


async def test_a_closed_registry_is_out_of_reach(stage: Stage) -> None:
    await stage.registry.close()
    assert await answers(stage.registry, EVERY) == all_unavailable(EVERY)


async def test_a_statement_that_fails_tells_none_of_its_values(stage: Stage) -> None:
    with pytest.raises(sa.exc.IntegrityError) as failed:
        await stage.registry.keys.add(replace(KEY, generation=2, sealed=b"not to be told"))
    assert "not to be told" not in f"{failed.value!r} {failed.value} {failed.value.__cause__!r}"
    assert "parameters hidden" in str(failed.value)


@pytest.fixture
async def on_file(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[tuple[Registry, Path]]:
    path = tmp_path / "registry.sqlite3"
    shutil.copy(sqlite_template, path)
    registry = await open_registry(sqlite_url(path), clock=ManualClock(), limits=LIMITS)
    yield registry, path
    await registry.close()


async def test_a_file_locked_by_another_process_takes_no_writes_but_is_read(on_file: tuple[Registry, Path]) -> None:
    registry, path = on_file
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    some = {name: WRITING[name] for name in ("devices.accept", "devices.register", "applications.set_disabled")}
    began_s = time.monotonic()
    # Of single statements it is told that they may be tried again.
    assert await answers(registry, some) == all_unavailable(some) | {"applications.set_disabled": RowLocked}
    assert time.monotonic() - began_s < 3
    assert StoreUnavailable not in (await answers(registry, READING)).values()
    other.close()
    await registry.applications.add(SHOP)


async def test_a_full_disk_is_out_of_reach(on_file: tuple[Registry, Path]) -> None:
    registry, _ = on_file
    async with registry.database.transaction() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = replace(KEY, sealed=b"x" * 100_000)
    with pytest.raises(StoreUnavailable):
        await registry.keys.add(big)
    assert await registry.keys.all() == []


async def test_a_file_that_is_no_database_is_out_of_reach(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite3"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailable):
        await open_registry(sqlite_url(path), clock=ManualClock(), limits=LIMITS)


@pytest.fixture(scope="module")
def own_server() -> Iterator[postgres.Server]:
    with postgres.server("fsync=off") as running:
        asyncio.run(schema.upgrade(running.url("postgres")))
        yield running


@pytest.fixture
async def on_server(own_server: postgres.Server) -> AsyncIterator[Registry]:
    registry = await open_registry(own_server.url("postgres"), clock=ManualClock(), limits=LIMITS)
    await registry.keys.add(KEY)
    yield registry
    await registry.close()


async def test_a_server_that_died_is_out_of_reach_and_used_again_once_it_is_back(
    own_server: postgres.Server, on_server: Registry
) -> None:
    await on_server.applications.add(SHOP)
    await on_server.devices.register(PHONE, pending_ttl_s=900, max_per_user=5)
    own_server.kill()
    try:
        assert await answers(on_server, EVERY) == all_unavailable(EVERY)
    finally:
        await asyncio.to_thread(own_server.start)
    assert await on_server.applications.all() == [SHOP]
    assert (await on_server.devices.get("d1")).name == "phone"
    await on_server.applications.remove("shop", with_devices=True)


async def test_nothing_but_out_of_reach_is_told_while_a_server_is_restarted_again_and_again(
    own_server: postgres.Server, on_server: Registry
) -> None:
    await on_server.applications.add(SHOP)
    await on_server.devices.register(PHONE, pending_ttl_s=900, max_per_user=5)
    some = {name: READING[name] for name in ("devices.get", "devices.find", "devices.all_of", "keys.all")}
    raised: set[type[BaseException] | None] = set()
    stopped = asyncio.Event()

    async def call_on() -> None:
        while not stopped.is_set():
            raised.update((await answers(on_server, some)).values())
            await asyncio.sleep(0)

    calling = [asyncio.create_task(call_on()) for _ in range(6)]
    try:
        for ends in (own_server.crash, own_server.kill) * 2:
            await asyncio.sleep(0.2)
            ends()
            await asyncio.to_thread(own_server.start)
    finally:
        stopped.set()
    await asyncio.gather(*calling)  # anything but an error of the service's own is raised here
    assert raised == {None, StoreUnavailable}
    await on_server.applications.remove("shop", with_devices=True)


async def test_connections_cut_while_idle_are_replaced_before_they_are_used(
    own_server: postgres.Server, on_server: Registry
) -> None:
    await on_server.ping()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mfa-service'"
    await asyncio.to_thread(postgres.execute, own_server.url("postgres"), cut)
    await asyncio.sleep(0.05)
    assert await on_server.applications.all() == []


@pytest.mark.alone
async def test_a_row_locked_for_long_gives_up_its_batch_soon(on_server: Registry) -> None:
    await on_server.applications.add(SHOP)
    await on_server.devices.register(PHONE, pending_ttl_s=900, max_per_user=5)
    async with on_server.database.transaction() as connection:
        await connection.execute(sa.text("SELECT id FROM devices FOR UPDATE"))
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await on_server.devices.charge("d1")
        assert time.monotonic() - began_s < 0.8
    await on_server.devices.charge("d1")
    await on_server.applications.remove("shop", with_devices=True)


async def test_a_process_that_stops_in_a_transaction_keeps_others_off_for_a_moment_only(on_server: Registry) -> None:
    async def stop_for_long() -> None:
        async with on_server.database.transaction() as connection:
            await connection.execute(sa.text("LOCK TABLE applications IN SHARE ROW EXCLUSIVE MODE"))
            with pytest.raises(StoreUnavailable):
                await on_server.applications.add(SHOP)
            await asyncio.sleep(2.3)
            await on_server.applications.add(SHOP)
            await connection.execute(sa.select(1))

    with pytest.raises(StoreUnavailable):
        await stop_for_long()
    await on_server.applications.remove("shop", with_devices=True)


async def test_the_clock_of_a_postgresql_registry_is_the_servers(on_server: Registry) -> None:
    await on_server.applications.add(BANK)
    device = NewDevice("d2", Owner("bank", "bob"), "phone", TotpParameters(), SealedSecret("k1", b"sealed"), 7)
    await on_server.devices.register(device, pending_ttl_s=900, max_per_user=5)
    read = await on_server.devices.get("d2")
    assert abs(read.read_at_ms - time.time_ns() // 1_000_000) < 5_000
    assert abs(read.pending_until_ms - read.read_at_ms - 900_000) < 5_000
    await on_server.applications.remove("bank", with_devices=True)
    with pytest.raises(DeviceNotFound):
        await on_server.devices.get("d2")


async def test_start_up_warns_of_replication_that_may_forget(on_server: Registry) -> None:
    assert any("replication is not synchronous" in warning for warning in on_server.warnings)


async def test_a_server_that_acknowledges_before_it_is_durable_is_refused(own_server: postgres.Server) -> None:
    url = own_server.url("postgres")
    await asyncio.to_thread(postgres.execute, url, "ALTER DATABASE postgres SET synchronous_commit = off")
    with pytest.raises(SettingsInvalid, match="synchronous_commit"):
        await open_registry(url, clock=ManualClock(), limits=LIMITS)
    await asyncio.to_thread(postgres.execute, url, "ALTER DATABASE postgres RESET synchronous_commit")


async def test_of_several_hosts_the_one_that_takes_writes_is_used(own_server: postgres.Server) -> None:
    url = f"postgresql+asyncpg://postgres@/postgres?host=127.0.0.1:1&host=127.0.0.1:{own_server.port}"
    registry = await open_registry(url, clock=ManualClock(), limits=LIMITS)
    await registry.check_schema()
    await registry.close()


@pytest.mark.alone
async def test_a_silent_host_ahead_of_the_one_that_takes_writes_costs_calls_a_moment_and_no_call_its_answer(
    own_server: postgres.Server,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing, as a hung machine
        port = silent.getsockname()[1]
        url = f"postgresql+asyncpg://postgres@/postgres?host=127.0.0.1:{port}&host=127.0.0.1:{own_server.port}"
        registry = await open_registry(url, clock=ManualClock(), limits=LIMITS)
        began_s = time.monotonic()
        await asyncio.gather(*(registry.applications.all() for _ in range(8)), _none_by(registry))
        assert time.monotonic() - began_s < 0.4  # the silent one is not asked again
        await registry.close()


async def _none_by(registry: Registry) -> None:
    with pytest.raises(DeviceNotFound):
        await registry.devices.get("none")


async def test_connections_to_a_server_that_takes_no_writes_any_more_are_left(
    own_server: postgres.Server, on_server: Registry
) -> None:
    async def set_read_only(action: str) -> None:
        statements = (f"ALTER SYSTEM {action}", "SELECT pg_reload_conf()")
        await asyncio.to_thread(postgres.execute, own_server.url("postgres"), *statements)
        await asyncio.sleep(0.2)

    await on_server.applications.all()
    await set_read_only("SET default_transaction_read_only = on")
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await on_server.applications.add(SHOP)
        with pytest.raises(StoreUnavailable):  # reading too: its rows may be old ones
            await on_server.applications.all()
    finally:
        await set_read_only("RESET default_transaction_read_only")
    await on_server.applications.add(SHOP)
    await on_server.applications.remove("shop", with_devices=True)
