"""The hold on a registry: one server whose challenges are in its own memory, and no second one beside it."""

import asyncio
import base64
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from mfa_service import app
from mfa_service import settings as settings_module
from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.ops.health import Health
from mfa_service.settings import Settings
from mfa_service.stores.sql import Registry
from mfa_service.stores.sql.hold import FileHold
from mfa_service.web.service import Server
from tests.api.service import Duties
from tests.contract.sql_stores import Stage

REFUSED = "another server runs on this registry and keeps its challenges in memory"
ROOT_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
_END_CONNECTION = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

on_postgresql = pytest.mark.parametrize("empty_registry_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("empty_registry_url", ["sqlite"], indirect=True)


async def test_a_second_server_is_refused_until_the_first_lets_go(workers: list[Registry]) -> None:
    first, second = (registry.hold() for registry in workers[:2])
    await first.take()
    await first.take()  # again and again, as long as it serves
    with pytest.raises(SettingsInvalid, match=REFUSED):
        await second.take()
    await first.release()
    await second.take()
    with pytest.raises(SettingsInvalid, match=REFUSED):
        await first.take()
    await second.release()


@on_postgresql
async def test_a_hold_whose_connection_was_lost_is_told_of_and_taken_again(
    stage: Stage, workers: list[Registry]
) -> None:
    first, second = (registry.hold() for registry in workers[:2])
    await first.take()
    await stage.execute(_END_CONNECTION)
    with pytest.raises(StoreUnavailable):
        await first.take()
    await first.take()
    with pytest.raises(SettingsInvalid, match=REFUSED):
        await second.take()
    await first.release()


@on_postgresql
async def test_a_server_that_lost_its_hold_to_another_one_is_not_ready(
    stage: Stage, workers: list[Registry], tmp_path: Path
) -> None:
    await stage.execute("DELETE FROM keys")  # the server makes its own
    health, duties = Health(("challenges",)), Duties()
    other = workers[1].hold()
    async with app.open_server(
        settings_of(stage, tmp_path),
        clock=stage.clock,
        request_log=NoLog(),
        keep_doing=duties.keep_doing,
        watch=lambda name, check: health.watch(name, check) if name == "challenges" else None,
    ):
        await asyncio.sleep(0)
        assert (await health.report()).ready
        await stage.execute(_END_CONNECTION)
        await other.take()
        with pytest.raises(StoreUnavailable):
            await duties.do()
        with pytest.raises(SettingsInvalid, match=REFUSED):
            await duties.do()
        assert (await health.report()).checks == {"challenges": "another server holds the registry"}
        await other.release()
        await duties.do()
        assert (await health.report()).ready
    await health.close()


async def test_a_hold_keeps_no_call_from_its_registry(workers: list[Registry]) -> None:
    first, second, _ = workers
    hold = first.hold()
    await hold.take()
    for registry in (first, second):
        await registry.ping()
    await hold.release()
    await first.ping()


@on_sqlite
async def test_a_file_of_two_names_is_one_registry(workers: list[Registry]) -> None:
    hold = workers[0].hold()
    await hold.take()
    path = workers[0].database.file
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(SettingsInvalid, match=REFUSED):
        await FileHold(link).take()
    await hold.release()


async def test_a_lock_that_cannot_be_made_is_a_database_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="database file's lock: No such file or directory"):
        await FileHold(tmp_path / "nowhere" / "registry.sqlite3").take()


async def test_two_services_on_one_registry_need_redis(stage: Stage, tmp_path: Path) -> None:
    await stage.execute("DELETE FROM keys")  # they make their own

    def service(name: str) -> AbstractAsyncContextManager[Server]:
        return app.open_server(settings_of(stage, tmp_path / name), clock=stage.clock, request_log=NoLog())

    async with service("one"):
        with pytest.raises(SettingsInvalid, match=REFUSED):
            await service("two").__aenter__()
    async with service("two"):
        pass


def settings_of(stage: Stage, folder: Path) -> Settings:
    flags = {
        "data_dir": str(folder),
        "database.url": stage.url,
        "keys.root": ROOT_KEY,
        "tokens.signing_algorithm": "ES256",
    }
    return settings_module.load(config_path=None, environment={}, flags=flags).settings


class NoLog:
    def request(self, **_: object) -> None: ...
