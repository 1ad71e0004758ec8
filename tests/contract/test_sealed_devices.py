"""The devices' secrets as they are sealed, by the port's sentences, on every database."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import replace

import pytest

from mfa_service.errors import KeyRetired, RowLocked
from mfa_service.model import NewDevice, Owner, Resealed, SealedDevice, SealedSecret, TotpParameters
from mfa_service.stores.sql import sealed_devices
from tests.contract.sql_stores import KEY, Stage

PARAMETERS = TotpParameters("SHA256", 8, 60)
NEWER = replace(KEY, id="k2", generation=2)
OLD, ANEW = SealedSecret("k1", b"\x00sealed"), SealedSecret("k2", b"\xffsealed anew")


async def registered(stage: Stage, *ids: str) -> None:
    await stage.registry.keys.add(NEWER)
    for one in ids:
        device = NewDevice(one, Owner("shop", f"user {one}"), "phone", PARAMETERS, OLD, 7)
        await stage.registry.devices.register(device, pending_ttl_s=900, max_per_user=5)


async def secrets(stage: Stage) -> Mapping[str, SealedSecret]:
    return {one.id: one.secret for one in await stage.registry.sealed_devices.after("", limit=100)}


async def test_devices_are_read_in_pages_by_their_ids_with_what_binds_their_secrets(stage: Stage) -> None:
    await registered(stage, "c", "a", "b")
    first = await stage.registry.sealed_devices.after("", limit=2)
    assert first == [SealedDevice(one, Owner("shop", f"user {one}"), PARAMETERS, OLD) for one in ("a", "b")]
    [last] = await stage.registry.sealed_devices.after("b", limit=2)
    assert last.id == "c"
    assert await stage.registry.sealed_devices.after("c", limit=2) == []


async def test_a_secret_is_replaced_and_nothing_else_of_its_device(stage: Stage) -> None:
    await registered(stage, "a", "b")
    before = await stage.registry.devices.get("a")
    await stage.registry.sealed_devices.replace([Resealed("a", OLD, ANEW)])
    assert await stage.registry.devices.get("a") == replace(before, secret=ANEW)
    assert await secrets(stage) == {"a": ANEW, "b": OLD}


@pytest.mark.parametrize("was", [SealedSecret("k1", b"\x00another"), SealedSecret("k2", OLD.blob)])
async def test_a_secret_that_is_not_what_it_was_stays(stage: Stage, was: SealedSecret) -> None:
    await registered(stage, "a", "b")
    changes = [Resealed("a", was, ANEW), Resealed("b", OLD, ANEW), Resealed("gone", OLD, ANEW)]
    await stage.registry.sealed_devices.replace(changes)
    assert await secrets(stage) == {"a": OLD, "b": ANEW}


async def test_of_a_page_all_secrets_are_replaced_or_none(stage: Stage) -> None:
    await registered(stage, "a", "b")
    changes = [Resealed("a", OLD, ANEW), Resealed("b", OLD, SealedSecret("no key", b"sealed"))]
    with pytest.raises(KeyRetired, match="a sealing key was retired meanwhile"):
        await stage.registry.sealed_devices.replace(changes)
    assert await secrets(stage) == {"a": OLD, "b": OLD}


async def test_the_devices_that_need_each_key_are_counted_over_pages(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_devices, "_COUNTED", 2)
    assert await stage.registry.sealed_devices.per_key() == {}
    await registered(stage, *"abcde")
    await stage.registry.sealed_devices.replace([Resealed("b", OLD, ANEW), Resealed("e", OLD, ANEW)])
    assert await stage.registry.sealed_devices.per_key() == {"k1": 3, "k2": 2}


async def test_some_of_the_devices_that_need_a_key_are_named(stage: Stage) -> None:
    await registered(stage, *"abcde")
    await stage.registry.sealed_devices.replace([Resealed("b", OLD, ANEW), Resealed("e", OLD, ANEW)])
    assert sorted(await stage.registry.sealed_devices.needing("k1", limit=9)) == ["a", "c", "d"]
    some = await stage.registry.sealed_devices.needing("k1", limit=2)
    assert len(some) == 2
    assert set(some) < {"a", "c", "d"}
    assert await stage.registry.sealed_devices.needing("no key", limit=9) == []


async def test_a_file_that_another_process_writes_to_is_told_apart_from_one_out_of_reach(stage: Stage) -> None:
    if stage.is_postgresql:  # it locks rows, and no file
        return
    await registered(stage, "a")
    with contextlib.closing(sqlite3.connect(stage.registry.database.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RowLocked):
            await stage.registry.sealed_devices.replace([Resealed("a", OLD, ANEW)])
        other.execute("ROLLBACK")
    await stage.registry.sealed_devices.replace([Resealed("a", OLD, ANEW)])
    assert await secrets(stage) == {"a": ANEW}


async def test_a_row_that_somebody_holds_is_told_apart_from_a_database_out_of_reach(stage: Stage) -> None:
    if not stage.is_postgresql:  # one writer at a time: there are no rows to hold
        return
    await registered(stage, "a")
    async with stage.registry.database.transaction() as connection:
        await connection.exec_driver_sql("SELECT id FROM devices FOR UPDATE")
        with pytest.raises(RowLocked):
            await asyncio.wait_for(stage.registry.sealed_devices.replace([Resealed("a", OLD, ANEW)]), 2)
    await stage.registry.sealed_devices.replace([Resealed("a", OLD, ANEW)])
    assert await secrets(stage) == {"a": ANEW}
