"""How keys take over from one another, and how what the old ones sealed is sealed anew."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from mfa_service.errors import KeyRetired, KeyRotated, RowLocked, StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose, KeyRecord, Owner, Resealed, SealedDevice, SealedSecret, TotpParameters
from mfa_service.sealing import Keyring, device_context, establish, new_sealing_key, reseal, retirement_ms, rotate
from mfa_service.settings.catalogue import CATALOGUE
from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryKeys, root_key

PARAMETERS = TotpParameters()


class MemorySealedDevices:
    """`SealedDevices` in memory, with a row or two that somebody else holds or changes at a bad moment.

    Attributes:
        retire: is called once before each of the next transactions, whose key has gone when it returns.
    """

    def __init__(self) -> None:
        self.rows: dict[str, SealedDevice] = {}
        self.held_for = 0
        self.transactions: list[int] = []
        self.before_replacing: dict[str, SealedSecret] = {}
        self.retire: list[Callable[[str], Awaitable[None]]] = []
        self.pages: list[str] = []

    async def add(self, keyring: Keyring, device_id: str) -> None:
        owner = Owner("shop", f"user {device_id}")
        sealed = await keyring.seal(device_id.encode(), context=device_context(device_id, owner, PARAMETERS))
        self.rows[device_id] = SealedDevice(device_id, owner, PARAMETERS, sealed)

    async def after(self, device_id: str, *, limit: int) -> Sequence[SealedDevice]:
        self.pages.append(device_id)
        return [self.rows[one] for one in sorted(self.rows) if one > device_id][:limit]

    async def replace(self, changes: Sequence[Resealed]) -> None:
        if self.held_for:
            self.held_for -= 1
            raise RowLocked
        if changes and self.retire:
            await self.retire.pop()(changes[0].becomes.key_id)
            raise KeyRetired
        for device_id, secret in self.before_replacing.items():
            self.rows[device_id] = replace(self.rows[device_id], secret=secret)
        self.transactions.append(len(changes))
        for change in changes:
            row = self.rows[change.device_id]
            if row.secret == change.was:
                self.rows[change.device_id] = replace(row, secret=change.becomes)

    async def per_key(self) -> Mapping[str, int]:
        raise NotImplementedError

    async def needing(self, key_id: str, *, limit: int) -> Sequence[str]:
        raise NotImplementedError


@pytest.fixture
async def keyring(keys: MemoryKeys, clock: ManualClock) -> Keyring:
    return await another(keys, clock)


@pytest.fixture
def devices() -> MemorySealedDevices:
    return MemorySealedDevices()


async def another(keys: MemoryKeys, clock: ManualClock) -> Keyring:
    """The keyring of another worker."""
    return await establish(keys, root_key(), clock=clock, random_bytes=os.urandom)


async def rotated(keyring: Keyring, *, active_from_ms: int = 0) -> KeyRecord:
    material = new_sealing_key(os.urandom)
    record = await rotate(keyring, KeyPurpose.SEALING, material, active_from_ms=active_from_ms)
    await keyring.refresh()
    return record


async def walked(devices: MemorySealedDevices, keyring: Keyring) -> list[str]:
    """Walk over all devices and return the ids of those that do not open."""
    return [one async for page in reseal(devices, keyring) for one in page.damaged]


async def test_each_rotation_is_one_generation_more(keyring: Keyring) -> None:
    made = [await rotated(keyring) for _ in range(3)]
    assert [record.generation for record in made] == [2, 3, 4]
    assert keyring.sealing_key_id == made[-1].id


async def test_of_two_rotations_at_once_one_is_refused(keys: MemoryKeys, keyring: Keyring, clock: ManualClock) -> None:
    other = await another(keys, clock)
    made = await rotated(other)
    with pytest.raises(KeyRotated):
        await rotated(keyring)
    assert keys.records["sealing", 2] == made


async def test_a_worker_opens_at_once_what_another_has_sealed_with_a_key_that_it_does_not_know(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock
) -> None:
    other = await another(keys, clock)
    with pytest.raises(UnsealFailed):  # it has just looked for another key
        await keyring.unseal(SealedSecret("ff" * 16, bytes(64)), context=b"")
    await keyring.look_again()  # and for what a token named
    made = await rotated(other)
    sealed = await other.seal(b"secret", context=b"context")
    assert sealed.key_id == made.id
    reads = keys.reads
    opened = await asyncio.gather(*(keyring.unseal(sealed, context=b"context") for _ in range(50)))
    assert set(opened) == {b"secret"}
    assert keys.reads == reads + 1


async def test_a_reading_that_began_before_a_key_came_does_not_hide_it(clock: ManualClock) -> None:
    class SlowKeys(MemoryKeys):
        answered: asyncio.Event | None = None

        def __init__(self) -> None:
            super().__init__()
            self.begun = asyncio.Event()

        async def all(self) -> Sequence[KeyRecord]:
            found = await super().all()
            if self.answered is not None:
                self.begun.set()
                await self.answered.wait()
            return found

    keys = SlowKeys()
    keyring, other = await another(keys, clock), await another(keys, clock)
    keys.answered = asyncio.Event()
    reading = asyncio.create_task(keyring.refresh())
    await keys.begun.wait()
    slow, keys.answered = keys.answered, None
    await rotated(other)
    sealed = await other.seal(b"secret", context=b"context")
    opening = asyncio.create_task(keyring.unseal(sealed, context=b"context"))
    await asyncio.sleep(0)
    slow.set()
    assert await opening == b"secret"
    await reading


async def test_every_secret_is_sealed_anew_and_opens_as_before(keyring: Keyring, devices: MemorySealedDevices) -> None:
    for number in range(450):
        await devices.add(keyring, f"{number:03}")
    made = await rotated(keyring)
    await devices.add(keyring, "450")
    assert await walked(devices, keyring) == []
    assert devices.transactions == [200, 200, 50]
    assert max(devices.transactions) <= 500
    for one in devices.rows.values():
        assert one.secret.key_id == made.id
        context = device_context(one.id, one.owner, one.parameters)
        assert await keyring.unseal(one.secret, context=context) == one.id.encode()


async def test_stopped_on_the_way_it_goes_on_with_what_is_left(keyring: Keyring, devices: MemorySealedDevices) -> None:
    for number in range(450):
        await devices.add(keyring, f"{number:03}")
    await rotated(keyring)
    async for _ in reseal(devices, keyring):
        break
    assert devices.transactions == [200]
    await walked(devices, keyring)
    assert devices.transactions == [200, 200, 50]
    await walked(devices, keyring)
    assert devices.transactions == [200, 200, 50]


async def test_a_damaged_secret_is_told_of_and_left_as_it_is(keyring: Keyring, devices: MemorySealedDevices) -> None:
    for one in ("a", "b", "c"):
        await devices.add(keyring, one)
    damaged = SealedSecret(devices.rows["b"].secret.key_id, b"\x01damaged")
    unknown = SealedSecret("ff" * 16, devices.rows["c"].secret.blob)
    devices.rows["b"] = replace(devices.rows["b"], secret=damaged)
    devices.rows["c"] = replace(devices.rows["c"], secret=unknown)
    made = await rotated(keyring)
    assert await walked(devices, keyring) == ["b", "c"]
    assert devices.rows["a"].secret.key_id == made.id
    assert [devices.rows[one].secret for one in ("b", "c")] == [damaged, unknown]


async def test_a_secret_that_was_replaced_meanwhile_stays(keyring: Keyring, devices: MemorySealedDevices) -> None:
    await devices.add(keyring, "a")
    await rotated(keyring)
    fresh = SealedSecret(devices.rows["a"].secret.key_id, b"\x01another secret")
    devices.before_replacing = {"a": fresh}
    await walked(devices, keyring)
    assert devices.rows["a"].secret == fresh


async def test_a_row_that_is_held_is_waited_for_but_not_for_ever(
    keyring: Keyring, devices: MemorySealedDevices
) -> None:
    await devices.add(keyring, "a")
    made = await rotated(keyring)
    devices.held_for = 100
    with pytest.raises(StoreUnavailable):
        await walked(devices, keyring)
    assert devices.held_for == 80
    devices.held_for = 19
    await walked(devices, keyring)
    assert devices.rows["a"].secret.key_id == made.id


async def test_a_rotation_on_the_way_holds_for_what_follows(
    keys: MemoryKeys, keyring: Keyring, devices: MemorySealedDevices, clock: ManualClock
) -> None:
    for number in range(201):
        await devices.add(keyring, f"{number:03}")
    first = await rotated(keyring)
    other, second = await another(keys, clock), ""
    async for _ in reseal(devices, keyring):
        if not second:
            second = (await rotated(other)).id
            clock.advance(1.001)
    assert devices.rows["000"].secret.key_id == first.id
    assert devices.rows["200"].secret.key_id == second


@pytest.mark.parametrize("times", [1, 3])
async def test_a_page_whose_new_key_is_retired_before_it_is_written_is_sealed_once_more(
    keys: MemoryKeys, keyring: Keyring, devices: MemorySealedDevices, clock: ManualClock, times: int
) -> None:
    for number in range(450):
        await devices.add(keyring, f"{number:03}")
    await rotated(keyring)
    other = await another(keys, clock)

    async def retire(key_id: str) -> None:
        await rotated(other)
        keys.remove(key_id)

    async for _ in reseal(devices, keyring):
        if devices.transactions == [200]:
            devices.retire = [retire] * times
    assert devices.transactions == [200, 200, 50]
    assert devices.pages == ["", *["199"] * (times + 1), "399", "449"]
    assert {devices.rows[f"{number:03}"].secret.key_id for number in range(200, 450)} == {other.sealing_key_id}


async def test_a_page_whose_keys_go_again_and_again_is_given_up(keyring: Keyring, devices: MemorySealedDevices) -> None:
    async def retire(_: str) -> None:
        """The keys that are read afterwards are the same ones."""

    await devices.add(keyring, "a")
    before = devices.rows["a"]
    await rotated(keyring)
    devices.retire = [retire] * 100
    with pytest.raises(KeyRetired):
        await walked(devices, keyring)
    assert len(devices.retire) == 96
    assert devices.rows["a"] == before


def test_a_signing_key_goes_when_no_token_of_its_is_left_whatever_the_settings_were() -> None:
    most_s = sum(
        int(CATALOGUE[key].kind.bounds.rpartition(" ")[2].replace(",", ""))
        for key in ("tokens.life_s", "tokens.leeway_s")
    )
    assert retirement_ms(KeyPurpose.SIGNING) >= most_s * 1000 + retirement_ms(KeyPurpose.SEALING)
    assert retirement_ms(KeyPurpose.SEALING) == retirement_ms(KeyPurpose.SEALING, revoke_tokens=True) == 60_000
    assert retirement_ms(KeyPurpose.SIGNING, revoke_tokens=True) == 5_000
