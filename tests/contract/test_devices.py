"""The registry of devices, by the port's sentences, on every database."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import asdict, replace

import pytest
import sqlalchemy as sa

from mfa_service.errors import DeviceNameTaken, DeviceNotFound, NoDevice, TooManyDevices
from mfa_service.model import (
    Acceptance,
    Charged,
    Credential,
    Device,
    DeviceStatus,
    NewDevice,
    Owner,
    Purpose,
    SealedSecret,
    Standing,
    TotpParameters,
)
from mfa_service.ports import NotAccepted, NotCharged
from mfa_service.rules import guessing
from mfa_service.stores.sql import Registry
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.prepared import Member, Prepared, Row
from tests.contract.sql_stores import LIMITS, Stage

ALICE = Owner("shop", "alice")
TTL_S = 900
STEP = 60_000_000
TOLERANCE_MS = 3_000


def new(name: str = "phone", device_id: str = "d1", owner: Owner = ALICE) -> NewDevice:
    return NewDevice(device_id, owner, name, TotpParameters("SHA256", 8, 60), SealedSecret("k1", b"\x00sealed"), 7)


async def register(stage: Stage, device: NewDevice, *, most: int = 5) -> None:
    await stage.registry.devices.register(device, pending_ttl_s=TTL_S, max_per_user=most)


async def accept(
    stage: Stage,
    step: int,
    auth_id: str = "a1",
    *,
    device_id: str = "d1",
    purpose: Purpose = Purpose.AUTHENTICATION,
    off_ms: int = 0,
) -> None:
    acceptance = Acceptance(device_id, step, auth_id, stage.clock.now_ms() + off_ms, purpose, TOLERANCE_MS)
    await stage.registry.devices.accept(acceptance)


async def activate(stage: Stage, device: NewDevice | None = None) -> None:
    device = device or new()
    await register(stage, device)
    await accept(stage, STEP, "a0", device_id=device.id, purpose=Purpose.ACTIVATION)


async def outcomes(calls: Iterable[Awaitable[object]]) -> Counter[str]:
    """Run calls at once and count how they end."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(type(result).__name__ if isinstance(result, BaseException) else "done" for result in results)


async def device(stage: Stage, device_id: str = "d1") -> Device:
    return await stage.registry.devices.get(device_id)


# Registration


async def test_a_registered_device_is_read_back_as_it_was_given(stage: Stage) -> None:
    await register(stage, new())
    now_ms = stage.clock.now_ms()
    expected = Device(
        id="d1",
        owner=ALICE,
        name="phone",
        status=DeviceStatus.PENDING,
        parameters=TotpParameters("SHA256", 8, 60),
        secret=SealedSecret("k1", b"\x00sealed"),
        last_step=-1,
        last_auth_id="",
        earlier_acceptances="",
        failures=0,
        slow_failures=0,
        slow_since_ms=0,
        locked_until_ms=0,
        pending_until_ms=now_ms + TTL_S * 1000,
        created_at_ms=7,
        last_used_ms=0,
        read_at_ms=now_ms,
    )
    assert await stage.registry.devices.get("d1") == expected
    assert await stage.registry.devices.find(ALICE, "phone") == expected
    assert await stage.registry.devices.all_of(ALICE) == [expected]


async def test_users_listed_at_once_each_get_their_own_devices_in_the_order_of_registration(stage: Stage) -> None:
    others = Owner("shop", "bob"), Owner("bank", "alice")
    await register(stage, replace(new("second", "d1"), created_at_ms=8))
    await register(stage, new("first", "d2"))
    for number, owner in enumerate(others, start=3):
        await register(stage, new("phone", f"d{number}", owner))
    owners = (ALICE, *others, Owner("bank", "bob"), ALICE)
    listed = await asyncio.gather(*(stage.registry.devices.all_of(owner) for owner in owners))
    assert [[one.id for one in found] for found in listed] == [["d2", "d1"], ["d3"], ["d4"], [], ["d2", "d1"]]


async def test_listings_travel_in_batches_of_few_rows(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read_batch = Database.read_batch

    async def counted(self: Database, statement: Prepared, batch: Sequence[Member]) -> Sequence[Row]:
        asked.append(len(batch))
        return await read_batch(self, statement, batch)

    monkeypatch.setattr(Database, "read_batch", counted)
    owners = [Owner("shop", f"user {number}") for number in range(100)]
    await asyncio.gather(*(stage.registry.devices.all_of(owner) for owner in owners))
    assert sum(asked) == 100
    assert max(asked) == 32


async def test_a_part_of_a_device_is_what_the_whole_one_has(stage: Stage) -> None:
    await activate(stage)
    await stage.registry.devices.charge("d1")
    whole = asdict(await device(stage))
    credential = await stage.registry.devices.credential("d1")
    standing = await stage.registry.devices.standing(ALICE, "phone")
    assert (type(credential), type(standing)) == (Credential, Standing)
    for part in (asdict(credential), asdict(standing)):
        assert part == {name: whole[name] for name in part}


async def test_a_pending_device_of_the_same_name_is_replaced(stage: Stage) -> None:
    await register(stage, new(device_id="d1"))
    await register(stage, new(device_id="d2"))
    assert [one.id for one in await stage.registry.devices.all_of(ALICE)] == ["d2"]


async def test_the_name_of_an_active_or_blocked_device_is_refused(stage: Stage) -> None:
    await activate(stage)
    with pytest.raises(DeviceNameTaken):
        await register(stage, new(device_id="d2"))
    await block(stage)
    with pytest.raises(DeviceNameTaken):
        await register(stage, new(device_id="d2"))


async def test_a_freed_slot_is_used_again(stage: Stage) -> None:
    for number in range(3):
        await register(stage, new(f"n{number}", f"d{number}"), most=3)
    with pytest.raises(TooManyDevices):
        await register(stage, new("n3", "d3"), most=3)
    await stage.registry.devices.remove(ALICE, "n1")
    await register(stage, new("n3", "d3"), most=3)
    assert {one.name for one in await stage.registry.devices.all_of(ALICE)} == {"n0", "n2", "n3"}


async def test_expired_pending_devices_take_no_slot_and_no_name(stage: Stage) -> None:
    await register(stage, new("a", "d1"), most=1)
    await stage.advance(TTL_S)
    await register(stage, new("b", "d2"), most=1)
    assert [one.id for one in await stage.registry.devices.all_of(ALICE)] == ["d2"]


async def test_parallel_registrations_never_exceed_the_most_allowed(stage: Stage) -> None:
    counted = await outcomes(register(stage, new(f"n{number}", f"d{number}")) for number in range(30))
    assert counted == {"done": 5, "TooManyDevices": 25}
    assert len(await stage.registry.devices.all_of(ALICE)) == 5


async def test_parallel_registrations_of_one_name_leave_one_device(stage: Stage) -> None:
    await outcomes(register(stage, new("phone", f"d{number}")) for number in range(10))
    assert len(await stage.registry.devices.all_of(ALICE)) == 1


async def test_users_and_applications_do_not_see_each_others_devices(stage: Stage) -> None:
    await register(stage, new(device_id="d1"))
    for number, owner in enumerate((Owner("bank", "alice"), Owner("shop", "Alice"), Owner("shop", "alíce")), start=2):
        with pytest.raises(DeviceNotFound):
            await stage.registry.devices.find(owner, "phone")
        await register(stage, new(device_id=f"d{number}", owner=owner))
        assert (await stage.registry.devices.find(owner, "phone")).id == f"d{number}"
    assert await stage.registry.devices.owners_named("alice") == [Owner("bank", "alice"), Owner("shop", "alice")]


@pytest.mark.parametrize("name", ["o'Neil", '"quoted"', "back\\slash", "名前 🔑", "$[0]", "%_", "\x01\t\x7f\x85\u2028"])
async def test_names_of_any_characters_are_found_again(stage: Stage, name: str) -> None:
    owner, devices = Owner("shop", name), stage.registry.devices
    await register(stage, new(name, owner=owner))
    assert (await devices.find(owner, name)).name == name
    assert (await devices.standing(owner, name)).id == "d1"
    found = await devices.credential("d1")
    assert (found.owner, found.name, found.secret) == (owner, name, new().secret)


@pytest.mark.parametrize("count", [1, 24, 25, 256])
async def test_of_many_looks_at_once_each_gets_its_own(stage: Stage, count: int) -> None:
    devices = stage.registry.devices
    for number in range(1, 6):
        await register(stage, new(f"n{number}", f"d{number}"))
    numbers = [number % 7 for number in range(count)]
    found = await asyncio.gather(*(devices.credential(f"d{number}") for number in numbers), return_exceptions=True)
    stood = await asyncio.gather(*(devices.standing(ALICE, f"n{number}") for number in numbers), return_exceptions=True)
    expected = [f"d{number}" if number in range(1, 6) else DeviceNotFound for number in numbers]
    for looks in (found, stood):
        assert [type(one) if isinstance(one, BaseException) else one.id for one in looks] == expected


# Pending devices


async def test_a_pending_device_vanishes_when_its_time_is_up(stage: Stage) -> None:
    devices = stage.registry.devices
    await register(stage, new())
    await stage.advance(TTL_S - 0.001)
    assert (await device(stage)).status is DeviceStatus.PENDING
    await stage.advance(0.001)
    with pytest.raises(DeviceNotFound):
        await devices.get("d1")
    with pytest.raises(DeviceNotFound):
        await devices.find(ALICE, "phone")
    with pytest.raises(DeviceNotFound):
        await devices.remove(ALICE, "phone")
    with pytest.raises(DeviceNotFound):
        await devices.unlock(ALICE, "phone")
    with pytest.raises(NoDevice):
        await devices.remove_all(ALICE)
    with pytest.raises(NotAccepted):
        await accept(stage, STEP, purpose=Purpose.ACTIVATION)
    with pytest.raises(NotCharged):
        await devices.charge("d1")
    assert await devices.all_of(ALICE) == []
    assert await devices.owners_named("alice") == []


async def test_expired_pending_devices_are_swept_a_few_at_a_time(stage: Stage) -> None:
    for number in range(3):
        await register(stage, new(f"n{number}", f"d{number}"))
    await activate(stage, new("kept", "kept"))
    assert await stage.registry.devices.sweep(limit=2) == 0
    await stage.advance(TTL_S)
    assert [await stage.registry.devices.sweep(limit=2) for _ in range(3)] == [2, 1, 0]
    assert [one.name for one in await stage.registry.devices.all_of(ALICE)] == ["kept"]


async def test_only_a_device_that_is_still_pending_is_removed_as_pending(stage: Stage) -> None:
    await register(stage, new("a", "d1"))
    await activate(stage, new("b", "d2"))
    for device_id in ("d1", "d2", "none"):
        await stage.registry.devices.remove_pending(device_id)
    assert [one.id for one in await stage.registry.devices.all_of(ALICE)] == ["d2"]


# Acceptance


async def test_an_activation_turns_a_device_active_and_its_step_counts_as_used(stage: Stage) -> None:
    await activate(stage)
    now = await device(stage)
    assert (now.status, now.last_step, now.last_auth_id) == (DeviceStatus.ACTIVE, STEP, "a0")
    assert now.last_used_ms == stage.clock.now_ms()
    with pytest.raises(NotAccepted):
        await accept(stage, STEP)


async def test_an_active_device_outlives_the_time_it_had_as_a_pending_one(stage: Stage) -> None:
    await activate(stage)
    await stage.advance(TTL_S + 1)
    assert (await device(stage)).status is DeviceStatus.ACTIVE
    assert await stage.registry.devices.sweep(limit=10) == 0


async def test_a_pending_device_takes_no_login_code(stage: Stage) -> None:
    await register(stage, new())
    with pytest.raises(NotAccepted):
        await accept(stage, STEP)
    assert (await device(stage)).last_step == -1


async def test_an_active_device_takes_no_other_activation_code(stage: Stage) -> None:
    await activate(stage)
    await accept(stage, STEP, "a0", purpose=Purpose.ACTIVATION)
    for step, auth_id in ((STEP, "a1"), (STEP + 1, "a0"), (STEP + 1, "a1")):
        with pytest.raises(NotAccepted):
            await accept(stage, step, auth_id, purpose=Purpose.ACTIVATION)


async def test_a_step_is_accepted_once_and_earlier_steps_die_with_it(stage: Stage) -> None:
    await activate(stage)
    await accept(stage, STEP + 2, "a1")
    await accept(stage, STEP + 2, "a1")
    for step, auth_id in ((STEP + 2, "a2"), (STEP + 1, "a1"), (STEP + 1, "a2")):
        with pytest.raises(NotAccepted):
            await accept(stage, step, auth_id)
    now = await device(stage)
    assert (now.last_step, now.last_auth_id) == (STEP + 2, "a1")


async def test_of_parallel_challenges_with_one_code_a_single_one_is_accepted(stage: Stage) -> None:
    await activate(stage)
    counted = await outcomes(accept(stage, STEP + 1, f"a{number}") for number in range(1, 51))
    assert counted == {"done": 1, "NotAccepted": 49}


async def test_parallel_acceptances_of_many_devices_each_get_their_own_answer(stage: Stage) -> None:
    for number in range(20):
        await activate(stage, new("phone", f"d{number:02}", Owner("shop", f"user {number}")))
    counted = await outcomes(
        accept(stage, STEP + number % 2, f"b{number}", device_id=f"d{number:02}") for number in range(40)
    )
    assert counted == {"done": 10, "NotAccepted": 30}
    for number in range(20):
        assert (await device(stage, f"d{number:02}")).last_step == STEP + number % 2


@pytest.mark.parametrize("sign", [-1, 1])
async def test_a_clock_beyond_the_tolerance_accepts_nothing(stage: Stage, sign: int) -> None:
    await activate(stage)
    with pytest.raises(NotAccepted):
        await accept(stage, STEP + 1, off_ms=sign * (TOLERANCE_MS + 1))
    assert (await device(stage)).last_step == STEP
    await accept(stage, STEP + 1, off_ms=sign * TOLERANCE_MS)


async def test_a_removed_device_takes_no_code(stage: Stage) -> None:
    await activate(stage)
    await stage.registry.devices.remove(ALICE, "phone")
    with pytest.raises(NotAccepted):
        await accept(stage, STEP + 1)
    with pytest.raises(NotCharged):
        await stage.registry.devices.charge("d1")


# Wrong codes


async def block(stage: Stage, device_id: str = "d1") -> None:
    for failures in range(1, LIMITS.disable_after + 1):
        await stage.registry.devices.charge(device_id)
        await stage.advance(LIMITS.waits_ms[failures] / 1000)


async def test_each_wrong_code_counts_and_the_waits_are_those_of_the_list(stage: Stage) -> None:
    await activate(stage)
    for failures in range(1, LIMITS.disable_after + 1):
        await stage.registry.devices.charge("d1")
        now = await device(stage)
        assert now.failures == failures
        assert now.locked_until_ms - now.read_at_ms == LIMITS.waits_ms[failures]
        assert now.status is (DeviceStatus.BLOCKED if failures == LIMITS.disable_after else DeviceStatus.ACTIVE)
        await stage.advance(LIMITS.waits_ms[failures] / 1000)
    with pytest.raises(NotCharged):
        await stage.registry.devices.charge("d1")
    with pytest.raises(NotAccepted):
        await accept(stage, STEP + 1)


async def test_a_waiting_device_takes_no_code_right_or_wrong_until_the_wait_ends(stage: Stage) -> None:
    await activate(stage)
    for _ in range(3):
        await stage.registry.devices.charge("d1")
    await stage.advance(29.999)
    with pytest.raises(NotCharged):
        await stage.registry.devices.charge("d1")
    with pytest.raises(NotAccepted):
        await accept(stage, STEP + 1)
    await stage.advance(0.001)
    await accept(stage, STEP + 1)


async def test_a_right_code_clears_the_wrong_ones(stage: Stage) -> None:
    await activate(stage)
    await stage.registry.devices.charge("d1")
    await accept(stage, STEP + 1)
    now = await device(stage)
    assert (now.failures, now.locked_until_ms) == (0, 0)


async def test_parallel_wrong_codes_are_counted_exactly_until_the_device_waits(stage: Stage) -> None:
    await activate(stage)
    assert await outcomes(stage.registry.devices.charge("d1") for _ in range(100)) == {"done": 3, "NotCharged": 97}
    assert (await device(stage)).failures == 3


async def test_a_pending_device_counts_wrong_codes_too(stage: Stage) -> None:
    await register(stage, new())
    await stage.registry.devices.charge("d1")
    assert (await device(stage)).failures == 1


async def test_an_unlocked_device_is_active_again_with_no_wrong_codes(stage: Stage) -> None:
    await activate(stage)
    await block(stage)
    await stage.registry.devices.unlock(ALICE, "phone")
    now = await device(stage)
    assert (now.status, now.failures, now.locked_until_ms, now.last_step) == (DeviceStatus.ACTIVE, 0, 0, STEP)
    await accept(stage, STEP + 1)


async def test_a_device_blocked_before_it_was_activated_is_not_activated_by_unlocking(stage: Stage) -> None:
    await register(stage, new())
    await block(stage)
    assert (await device(stage)).status is DeviceStatus.BLOCKED
    await stage.registry.devices.unlock(ALICE, "phone")
    assert (await device(stage)).status is DeviceStatus.PENDING


# The slow counter of wrong codes

MONTH_S = 30 * 86_400


async def charge_and_clear(stage: Stage, times: int, *, step: int = STEP + 1) -> list[Charged]:
    """Charge wrong codes one after another, each followed by a right one."""
    charged = []
    for number in range(times):
        charged.append(await stage.registry.devices.charge("d1"))
        await accept(stage, step + number, f"b{step + number}")
    return charged


async def test_each_charge_tells_both_counts_and_a_right_code_clears_one_of_them(stage: Stage) -> None:
    await activate(stage)
    assert await charge_and_clear(stage, 3) == [Charged(1, 1), Charged(1, 2), Charged(1, 3)]
    now = await device(stage)
    assert (now.failures, now.slow_failures, now.slow_since_ms) == (0, 3, stage.clock.now_ms())
    assert await stage.registry.devices.charge("d1") == Charged(1, 4)
    assert await stage.registry.devices.charge("d1") == Charged(2, 5)


async def test_the_slow_counter_begins_anew_thirty_days_after_its_first_wrong_code(stage: Stage) -> None:
    await activate(stage)
    began_ms = stage.clock.now_ms()
    await charge_and_clear(stage, 2)
    await stage.advance(MONTH_S - 0.001)
    assert await charge_and_clear(stage, 1, step=STEP + 10) == [Charged(1, 3)]
    assert guessing.slow_failures(await device(stage)) == 3
    assert (await device(stage)).slow_since_ms == began_ms
    await stage.advance(0.001)
    assert guessing.slow_failures(await device(stage)) == 0
    assert await charge_and_clear(stage, 2, step=STEP + 20) == [Charged(1, 1), Charged(1, 2)]
    assert (await device(stage)).slow_since_ms == stage.clock.now_ms()


async def test_an_operators_unlocking_leaves_the_slow_counter(stage: Stage) -> None:
    await activate(stage)
    await block(stage)
    await stage.registry.devices.unlock(ALICE, "phone")
    assert (await device(stage)).slow_failures == LIMITS.disable_after


async def test_a_wrong_code_that_is_not_charged_raises_no_counter(stage: Stage) -> None:
    await activate(stage)
    await outcomes(stage.registry.devices.charge("d1") for _ in range(10))
    now = await device(stage)
    assert (now.failures, now.slow_failures) == (3, 3)


async def test_a_device_that_is_registered_anew_has_no_wrong_codes(stage: Stage) -> None:
    await register(stage, new())
    await stage.registry.devices.charge("d1")
    await register(stage, new(device_id="d2"))
    assert (await device(stage, "d2")).slow_failures == 0


async def test_of_wrong_codes_given_to_many_workers_each_gets_a_count_of_its_own(
    stage: Stage, workers: list[Registry]
) -> None:
    await activate(stage)
    charged = await asyncio.gather(*(worker.devices.charge("d1") for worker in workers))
    assert sorted(one.slow_failures for one in charged) == [1, 2, 3]


async def test_a_code_accepted_once_more_takes_no_wrong_one_back_that_came_after_it(stage: Stage) -> None:
    await activate(stage)
    await stage.registry.devices.charge("d1")
    await accept(stage, STEP + 1)
    await stage.registry.devices.charge("d1")
    await accept(stage, STEP + 1)
    assert (await device(stage)).failures == 1


async def test_of_codes_that_travel_together_each_is_told_its_own_outcome(stage: Stage) -> None:
    for number in range(1, 6):
        await activate(stage, new(f"n{number}", f"d{number}"))
    await accept(stage, STEP + 2, "used", device_id="d2")
    await stage.registry.devices.charge("d4")
    given = [accept(stage, STEP + 1, f"a{number}", device_id=f"d{number}") for number in range(7)]
    told = await asyncio.gather(*given, return_exceptions=True)
    assert {number for number, answer in enumerate(told) if isinstance(answer, NotAccepted)} == {0, 2, 6}
    for number in (1, 3, 5):
        assert (await device(stage, f"d{number}")).has_accepted(STEP + 1, f"a{number}")
    assert not (await device(stage, "d2")).has_accepted(STEP + 1, "a2")


# Many workers on one database


async def test_of_one_code_given_to_many_workers_a_single_one_is_accepted(
    stage: Stage, workers: list[Registry]
) -> None:
    await activate(stage)
    now_ms = stage.clock.now_ms()
    counted = await outcomes(
        worker.devices.accept(
            Acceptance("d1", STEP + 1, f"a{number}-{place}", now_ms, Purpose.AUTHENTICATION, TOLERANCE_MS)
        )
        for number in range(10)
        for place, worker in enumerate(workers)
    )
    assert counted == {"done": 1, "NotAccepted": 29}


async def test_wrong_codes_given_to_many_workers_are_counted_exactly(stage: Stage, workers: list[Registry]) -> None:
    await activate(stage)
    counted = await outcomes(worker.devices.charge("d1") for _ in range(20) for worker in workers)
    assert counted == {"done": 3, "NotCharged": 57}
    assert (await device(stage)).failures == 3


async def test_batches_of_the_same_devices_in_any_order_do_not_get_in_each_others_way(
    stage: Stage, workers: list[Registry]
) -> None:
    ids = [f"d{number:02}" for number in range(30)]
    for device_id in ids:
        await activate(stage, new("phone", device_id, Owner("shop", device_id)))
    orders = (ids, ids[::-1], ids[15:] + ids[:15])
    counted = await outcomes(
        worker.devices.charge(device_id) for worker, order in zip(workers, orders, strict=True) for device_id in order
    )
    assert counted == {"done": 90}
    assert {(await device(stage, device_id)).failures for device_id in ids} == {3}


async def test_registrations_over_many_workers_never_exceed_the_most_allowed(
    stage: Stage, workers: list[Registry]
) -> None:
    counted = await outcomes(
        worker.devices.register(new(f"n{number}-{place}", f"d{number}-{place}"), pending_ttl_s=TTL_S, max_per_user=5)
        for number in range(5)
        for place, worker in enumerate(workers)
    )
    assert counted["done"] == 5
    assert counted["done"] + counted["TooManyDevices"] == 15
    assert len(await stage.registry.devices.all_of(ALICE)) == 5


# Removal


async def test_removing_is_by_name_and_once(stage: Stage) -> None:
    await activate(stage, new("a", "d1"))
    await activate(stage, new("b", "d2"))
    await stage.registry.devices.remove(ALICE, "a")
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.remove(ALICE, "a")
    assert [one.name for one in await stage.registry.devices.all_of(ALICE)] == ["b"]


async def test_removing_all_leaves_other_users_alone(stage: Stage) -> None:
    bob = Owner("shop", "bob")
    for number, owner in enumerate((ALICE, ALICE, bob)):
        await activate(stage, new(f"n{number}", f"d{number}", owner))
    await stage.registry.devices.remove_all(ALICE)
    with pytest.raises(NoDevice):
        await stage.registry.devices.remove_all(ALICE)
    assert len(await stage.registry.devices.all_of(bob)) == 1


async def test_unknown_devices_are_not_found(stage: Stage) -> None:
    await activate(stage)
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.get("none")
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.credential("none")
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.standing(ALICE, "none")
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.find(ALICE, "none")
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.unlock(ALICE, "none")


# Durability


async def test_what_was_acknowledged_is_there_after_reopening(stage: Stage) -> None:
    await activate(stage)
    await accept(stage, STEP + 1, "a1")
    await stage.registry.devices.charge("d1")
    before = await device(stage)
    async with stage.reopened() as again:
        assert await again.devices.get("d1") == before


# What waits in line


async def test_a_right_code_does_not_overtake_the_wrong_ones_before_it(stage: Stage) -> None:
    await activate(stage)
    wrong = (stage.registry.devices.charge("d1") for _ in range(20))
    counted = await outcomes((*wrong, accept(stage, STEP + 1)))
    assert counted == {"done": 3, "NotCharged": 17, "NotAccepted": 1}


async def test_a_row_that_somebody_holds_refuses_its_own_calls_alone(stage: Stage) -> None:
    if not stage.is_postgresql:
        return  # one writer at a time: there are no locks on rows
    for number in range(6):
        await activate(stage, new(f"n{number}", f"d{number}", Owner("shop", f"user {number}")))
    async with stage.registry.database.transaction() as connection:
        await connection.execute(sa.text("SELECT 1 FROM devices WHERE id = 'd3' FOR UPDATE"))
        counted = await outcomes(stage.registry.devices.charge(f"d{number}") for number in range(6))
    assert counted == {"done": 5, "RowLocked": 1}


async def test_a_device_blocked_before_its_activation_is_removed_and_replaced_as_a_pending_one(stage: Stage) -> None:
    await register(stage, new())
    for _ in range(LIMITS.disable_after):
        await stage.registry.devices.charge("d1")
        await stage.advance(100)
    assert (await device(stage)).status is DeviceStatus.BLOCKED
    await register(stage, new(device_id="d2"))
    assert [found.id for found in await stage.registry.devices.all_of(ALICE)] == ["d2"]


async def test_a_device_remembers_the_acceptances_before_its_last_one_and_none_twice(stage: Stage) -> None:
    await activate(stage)
    for number in range(1, 40):
        await accept(stage, STEP + number, f"a{number}")
        await accept(stage, STEP + number, f"a{number}")
    now = await device(stage)
    assert all(now.has_accepted(STEP + number, f"a{number}") for number in range(10, 40))
    assert not now.has_accepted(STEP + 38, "a39")
    assert not now.has_accepted(STEP, "a39")
    assert now.earlier_acceptances.split().count(f"{STEP + 38}:a38") == 1
    assert len(now.earlier_acceptances) <= 32 * 46


async def test_a_device_remembers_no_acceptance_that_no_challenge_can_ask_for_any_more(stage: Stage) -> None:
    await activate(stage)
    await accept(stage, STEP + 1, "a1")
    hours_later, longest_challenge = STEP + 1_000, 3_600 // 30
    await accept(stage, hours_later, "b1")
    assert (await device(stage)).earlier_acceptances == ""
    await accept(stage, hours_later + longest_challenge, "b2")
    await accept(stage, hours_later + longest_challenge, "b2")
    assert (await device(stage)).earlier_acceptances.split() == [f"{hours_later}:b1"]
