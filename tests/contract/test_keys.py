"""The registry of sealed keys, by the port's sentences, on every database."""

import asyncio
from dataclasses import replace

import pytest

from mfa_service.errors import KeyNeeded, KeyNotFound, StoreUnavailable
from mfa_service.model import KeyPurpose, KeyRecord, NewDevice, Owner, SealedSecret, TotpParameters
from mfa_service.stores.sql import Registry
from tests.contract.sql_stores import KEY, Stage

CANARY = KeyRecord("c1", KeyPurpose.CANARY, 1, "A256GCM", b"sealed", "", 10, 10)
ALICE = Owner("shop", "alice")


def device(key_id: str, name: str = "phone") -> NewDevice:
    return NewDevice(f"{key_id} {name}", ALICE, name, TotpParameters(), SealedSecret(key_id, b"sealed"), 7)


async def register(registry: Registry, new: NewDevice) -> None:
    await registry.devices.register(new, pending_ttl_s=900, max_per_user=50)


async def rotated(stage: Stage, *, ago_s: int = 60, generation: int = 2) -> KeyRecord:
    """A newer key that took over so long ago."""
    since_ms = stage.clock.now_ms() - ago_s * 1000
    return await stage.registry.keys.add(
        replace(KEY, id=f"k{generation}", generation=generation, created_at_ms=since_ms, active_from_ms=since_ms)
    )


async def ids(stage: Stage) -> list[str]:
    return [record.id for record in await stage.registry.keys.all()]


async def test_keys_are_read_back_by_purpose_and_generation(stage: Stage) -> None:
    later = replace(KEY, id="s2", generation=2)
    signing = KeyRecord("j1", KeyPurpose.SIGNING, 1, "ES256", b"sealed", '{"kty":"EC"}', 10, 20)
    for record in (later, signing, CANARY):
        assert await stage.registry.keys.add(record) == record
    assert await stage.registry.keys.all() == [CANARY, KEY, later, signing]


async def test_the_first_key_of_a_place_stays_there(stage: Stage) -> None:
    assert await stage.registry.keys.add(replace(KEY, id="other", sealed=b"other")) == KEY
    assert await stage.registry.keys.all() == [KEY]


async def test_of_keys_added_at_once_everyone_learns_of_the_same_one(stage: Stage) -> None:
    records = [replace(CANARY, id=f"c{number}") for number in range(10)]
    held = await asyncio.gather(*(stage.registry.keys.add(record) for record in records))
    assert held == [(await stage.registry.keys.all())[0]] * 10


async def test_keys_are_there_after_reopening(stage: Stage) -> None:
    await stage.registry.keys.add(CANARY)
    async with stage.reopened() as again:
        assert await again.keys.all() == [CANARY, KEY]


async def test_a_key_that_was_superseded_long_enough_and_that_nothing_needs_is_retired(stage: Stage) -> None:
    await rotated(stage)
    await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)
    assert await ids(stage) == ["k2"]
    with pytest.raises(KeyNotFound):
        await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)


async def test_the_newest_key_of_a_purpose_is_never_retired(stage: Stage) -> None:
    await stage.registry.keys.add(CANARY)
    await rotated(stage)
    for key_id in ("c1", "k2"):
        with pytest.raises(KeyNeeded, match="the newest key"):
            await stage.registry.keys.retire(key_id, superseded_for_ms=0)
    assert await ids(stage) == ["c1", "k1", "k2"]


async def test_a_key_whose_successor_has_not_come_is_the_current_one_and_not_retired(stage: Stage) -> None:
    await rotated(stage, ago_s=-10)
    with pytest.raises(KeyNeeded, match="the current key"):
        await stage.registry.keys.retire(KEY.id, superseded_for_ms=0)
    await stage.advance(10)
    await stage.registry.keys.retire(KEY.id, superseded_for_ms=0)


async def test_a_key_is_not_retired_before_its_successor_is_old_enough_by_the_databases_clock(stage: Stage) -> None:
    await rotated(stage, ago_s=59)
    with pytest.raises(KeyNeeded, match="superseded for 60 s"):
        await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)
    await stage.advance(1)
    await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)


async def test_a_key_that_took_over_from_the_start_counts_from_when_it_was_made(stage: Stage) -> None:
    made = await rotated(stage, ago_s=59, generation=2)
    assert made.created_at_ms > 0
    await stage.execute("UPDATE keys SET active_from_ms = 0 WHERE id = 'k2'")
    with pytest.raises(KeyNeeded, match="superseded for 60 s"):
        await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)


async def test_a_key_that_a_device_needs_is_not_retired_an_expired_pending_one_included(stage: Stage) -> None:
    await rotated(stage)
    await register(stage.registry, device(KEY.id))
    await stage.advance(901)
    assert await stage.registry.devices.all_of(ALICE) == []
    with pytest.raises(KeyNeeded, match="run `mfa-service keys reseal`"):
        await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)
    assert await stage.registry.devices.sweep(limit=1) == 1
    await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)


async def test_what_was_sealed_with_a_retired_key_is_not_registered(stage: Stage) -> None:
    await rotated(stage)
    await stage.registry.keys.retire(KEY.id, superseded_for_ms=60_000)
    with pytest.raises(StoreUnavailable, match="went away"):
        await register(stage.registry, device(KEY.id))
    assert await stage.registry.devices.all_of(ALICE) == []
    await register(stage.registry, device("k2"))


async def test_of_a_retirement_and_registrations_at_once_no_device_is_left_without_its_key(
    stage: Stage, workers: list[Registry]
) -> None:
    for generation in range(2, 12):
        old = f"k{generation - 1}"
        await rotated(stage, generation=generation)
        one, two, three = workers

        async def retire(key_id: str, registry: Registry) -> None:
            try:
                await registry.keys.retire(key_id, superseded_for_ms=60_000)
            except (KeyNeeded, StoreUnavailable):  # a registration holds it, or did for too long
                return

        await asyncio.gather(
            register(one, device(old, "phone")),
            retire(old, two),
            register(three, device(old, "tablet")),
            return_exceptions=True,
        )
        needed = await stage.registry.sealed_devices.per_key()
        assert set(needed) <= set(await ids(stage))
        await asyncio.gather(stage.registry.devices.remove_all(ALICE), return_exceptions=True)
