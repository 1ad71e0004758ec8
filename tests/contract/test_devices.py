"""The registry of devices on SQLite, by the port's sentences."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mfa_service.errors import DeviceNameTaken, DeviceNotFound, TooManyDevices
from mfa_service.model import (
    Acceptance,
    DeviceStatus,
    GuessingLimits,
    NewDevice,
    Owner,
    Purpose,
    SealedSecret,
    TotpParameters,
)
from mfa_service.ports import NotAccepted, NotCharged
from mfa_service.stores.sql import Registry, open_registry, schema

ALICE = Owner("application", "alice")


class ManualClock:
    def __init__(self) -> None:
        self.unix_ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.unix_ms

    def monotonic_s(self) -> float:
        return self.unix_ms / 1000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def registry(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Registry]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'registry.sqlite3'}"
    await schema.upgrade(url)
    limits = GuessingLimits(waits_ms=(0, 0, 0, 30_000, 60_000), disable_after=4)
    opened = open_registry(url, clock=clock, limits=limits)
    yield opened
    await opened.close()


def new(name: str = "phone", device_id: str = "d1") -> NewDevice:
    return NewDevice(device_id, ALICE, name, TotpParameters(), SealedSecret("k", b"sealed"), 1)


def given(clock: ManualClock, step: int, auth_id: str = "a1", *, off_ms: int = 0) -> Acceptance:
    return Acceptance("d1", step, auth_id, clock.unix_ms + off_ms, Purpose.AUTHENTICATION)


async def activate(registry: Registry, clock: ManualClock) -> None:
    await registry.devices.register(new(), pending_ttl_s=900, max_per_user=5)
    acceptance = Acceptance("d1", 10, "a0", clock.unix_ms, Purpose.ACTIVATION)
    await registry.devices.accept(acceptance, clock_tolerance_ms=3000)


async def test_the_schema_that_was_made_fits(registry: Registry) -> None:
    await registry.check_schema()


async def test_a_pending_device_takes_no_login_code(registry: Registry, clock: ManualClock) -> None:
    await registry.devices.register(new(), pending_ttl_s=900, max_per_user=5)
    with pytest.raises(NotAccepted):
        await registry.devices.accept(given(clock, 10), clock_tolerance_ms=3000)


async def test_an_activation_turns_a_device_active_and_its_step_counts_as_used(
    registry: Registry, clock: ManualClock
) -> None:
    await activate(registry, clock)
    device = await registry.devices.find(ALICE, "phone")
    assert (device.status, device.last_step, device.last_auth_id) == (DeviceStatus.ACTIVE, 10, "a0")
    with pytest.raises(NotAccepted):
        await registry.devices.accept(given(clock, 10), clock_tolerance_ms=3000)


async def test_of_parallel_challenges_with_one_code_a_single_one_is_accepted(
    registry: Registry, clock: ManualClock
) -> None:
    await activate(registry, clock)
    calls = (
        registry.devices.accept(given(clock, 11, f"a{number}"), clock_tolerance_ms=3000) for number in range(1, 51)
    )
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, NotAccepted) for outcome in outcomes) == 49


@pytest.mark.parametrize("off_ms", [-3001, 3001])
async def test_a_clock_beyond_the_tolerance_accepts_nothing(
    registry: Registry, clock: ManualClock, off_ms: int
) -> None:
    await activate(registry, clock)
    with pytest.raises(NotAccepted):
        await registry.devices.accept(given(clock, 11, off_ms=off_ms), clock_tolerance_ms=3000)


async def test_parallel_wrong_codes_are_counted_until_the_device_waits(registry: Registry, clock: ManualClock) -> None:
    await activate(registry, clock)
    outcomes = await asyncio.gather(*(registry.devices.charge("d1") for _ in range(20)), return_exceptions=True)
    assert outcomes.count(None) == 3
    assert sum(isinstance(outcome, NotCharged) for outcome in outcomes) == 17
    device = await registry.devices.get("d1")
    assert (device.failures, device.locked_until_ms) == (3, clock.unix_ms + 30_000)


async def test_a_device_is_blocked_at_the_limit_until_it_is_unlocked(registry: Registry, clock: ManualClock) -> None:
    await activate(registry, clock)
    for _ in range(4):
        await registry.devices.charge("d1")
        clock.unix_ms += 60_000
    assert (await registry.devices.get("d1")).status is DeviceStatus.BLOCKED
    await registry.devices.unlock(ALICE, "phone")
    device = await registry.devices.get("d1")
    assert (device.status, device.failures) == (DeviceStatus.ACTIVE, 0)


async def test_a_pending_device_vanishes_when_its_time_is_up(registry: Registry, clock: ManualClock) -> None:
    await registry.devices.register(new(), pending_ttl_s=900, max_per_user=5)
    clock.unix_ms += 900_000
    with pytest.raises(DeviceNotFound):
        await registry.devices.get("d1")
    assert await registry.devices.sweep(limit=10) == 1


async def test_a_name_in_use_is_refused_and_a_pending_one_replaced(registry: Registry, clock: ManualClock) -> None:
    await registry.devices.register(new(device_id="d0"), pending_ttl_s=900, max_per_user=5)
    await activate(registry, clock)
    with pytest.raises(DeviceNameTaken):
        await registry.devices.register(new(device_id="d2"), pending_ttl_s=900, max_per_user=5)


async def test_parallel_registrations_never_exceed_the_most_allowed(registry: Registry) -> None:
    calls = (
        registry.devices.register(new(f"n{number}", f"d{number}"), pending_ttl_s=900, max_per_user=5)
        for number in range(12)
    )
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes.count(None) == 5
    assert sum(isinstance(outcome, TooManyDevices) for outcome in outcomes) == 7
