"""`reseal` on real databases: somebody else who writes to the file, and a key that goes meanwhile."""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from mfa_service.errors import RowLocked
from mfa_service.model import KeyPurpose, NewDevice, Owner, Resealed, SealedDevice, SealedSecret, TotpParameters
from mfa_service.sealing import Keyring, device_context, establish, new_sealing_key, reseal, rotate
from mfa_service.stores.sql import Registry, open_registry
from tests.clocks import ManualClock
from tests.contract.sql_stores import LIMITS, SHOP, Stage
from tests.unit.access.fakes import root_key

IDS = [f"{number:03}" for number in range(250)]  # two pages
TRIES = 20
BUSY_TIMEOUT_MS = 5
PARAMETERS = TotpParameters()

on_a_file = pytest.mark.parametrize("empty_registry_url", ["sqlite"], indirect=True)
"""PostgreSQL locks rows, and no file."""


@dataclass
class Watched:
    """A registry's sealed devices, with something to do before and after a transaction that is refused.

    Attributes:
        before: is called with the number of each try to write.
        refused: is called with how many tries were in vain so far.
        tries: how many there were.
        in_vain: how many of them found the file held.
    """

    registry: Registry
    before: Callable[[int], Awaitable[None]] | None = None
    refused: Callable[[int], None] | None = None
    tries: int = 0
    in_vain: int = 0

    async def after(self, device_id: str, *, limit: int) -> Sequence[SealedDevice]:
        return await self.registry.sealed_devices.after(device_id, limit=limit)

    async def replace(self, changes: Sequence[Resealed]) -> None:
        self.tries += 1
        if self.before is not None:
            await self.before(self.tries)
        try:
            await self.registry.sealed_devices.replace(changes)
        except RowLocked:
            self.in_vain += 1
            if self.refused is not None:
                self.refused(self.in_vain)
            raise

    async def per_key(self) -> Mapping[str, int]:
        return await self.registry.sealed_devices.per_key()

    async def needing(self, key_id: str, *, limit: int) -> Sequence[str]:
        return await self.registry.sealed_devices.needing(key_id, limit=limit)


@pytest.fixture
async def ground(empty_registry_url: str, clock: ManualClock) -> AsyncIterator[Stage]:
    """A registry with an application and no keys."""
    registry = await open_registry(empty_registry_url, clock=clock, limits=LIMITS)
    made = Stage(empty_registry_url, registry, clock)
    await made.set_database_clock()
    await registry.applications.add(SHOP)
    yield made
    await registry.close()


async def keyring_of(ground: Stage) -> Keyring:
    return await establish(ground.registry.keys, root_key(), clock=ground.clock, random_bytes=os.urandom)


async def rotated(keyring: Keyring) -> str:
    record = await rotate(keyring, KeyPurpose.SEALING, new_sealing_key(os.urandom), active_from_ms=0)
    await keyring.refresh()
    return record.id


async def registered(ground: Stage, keyring: Keyring, ids: Sequence[str]) -> None:
    """Put devices into the registry; each one's secret is its id."""
    for one in ids:
        owner = Owner(SHOP.id, f"user {one}")
        secret = await keyring.seal(one.encode(), context=device_context(one, owner, PARAMETERS))
        device = NewDevice(one, owner, "phone", PARAMETERS, secret, ground.clock.now_ms())
        await ground.registry.devices.register(device, pending_ttl_s=900, max_per_user=5)


async def secrets(ground: Stage) -> Mapping[str, SealedSecret]:
    return {one.id: one.secret for one in await ground.registry.sealed_devices.after("", limit=1_000)}


async def refuse_soon(ground: Stage) -> None:
    """Have a busy file refuse a transaction after milliseconds, in place of half a second."""
    await ground.registry.database.write(sa.text(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"))


@contextlib.contextmanager
def busy(ground: Stage) -> Iterator[sqlite3.Connection]:
    """Hold an SQLite file by another connection, which is given; its ROLLBACK lets go of it."""
    with contextlib.closing(sqlite3.connect(ground.registry.database.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@on_a_file
async def test_a_file_that_another_process_writes_to_for_a_while_is_waited_for(ground: Stage) -> None:
    keyring = await keyring_of(ground)
    await registered(ground, keyring, IDS)
    new = await rotated(keyring)
    await refuse_soon(ground)
    with busy(ground) as other:

        def let_go(in_vain: int) -> None:
            if in_vain == TRIES - 1:
                other.execute("ROLLBACK")

        devices = Watched(ground.registry, refused=let_go)
        walked = [page async for page in reseal(devices, keyring)]
    assert [(page.looked_at, page.damaged) for page in walked] == [(200, ()), (50, ())]
    assert (devices.in_vain, devices.tries) == (TRIES - 1, TRIES + 1)
    assert {secret.key_id for secret in (await secrets(ground)).values()} == {new}


@on_a_file
async def test_a_file_that_another_process_writes_to_for_too_long_is_told_of_and_nothing_changes(ground: Stage) -> None:
    keyring = await keyring_of(ground)
    await registered(ground, keyring, IDS)
    await rotated(keyring)
    before = await secrets(ground)
    await refuse_soon(ground)
    devices = Watched(ground.registry)
    with busy(ground), pytest.raises(RowLocked, match="another process writes to it"):
        [page async for page in reseal(devices, keyring)]
    assert devices.tries == TRIES
    assert await secrets(ground) == before
    [page async for page in reseal(devices, keyring)]
    assert not set((await secrets(ground)).values()) & set(before.values())


async def test_a_key_that_is_retired_between_sealing_and_writing_costs_one_more_reading(ground: Stage) -> None:
    keyring = await keyring_of(ground)
    await registered(ground, keyring, IDS)
    second = await rotated(keyring)
    operator = await keyring_of(ground)
    third = ""

    async def retire(tried: int) -> None:
        nonlocal third
        if tried == 1:
            third = await rotated(operator)
            await ground.registry.keys.retire(second, superseded_for_ms=0)

    devices = Watched(ground.registry, before=retire)
    walked = [page async for page in reseal(devices, keyring)]
    assert [(page.looked_at, page.damaged) for page in walked] == [(200, ()), (50, ())]
    assert devices.tries == 3
    found = await ground.registry.sealed_devices.after("", limit=1_000)
    assert [one.id for one in found] == IDS
    for one in found:
        assert one.secret.key_id == third
        context = device_context(one.id, one.owner, PARAMETERS)
        assert await keyring.unseal(one.secret, context=context) == one.id.encode()
