"""What becomes of keys while the service that holds the root key is away, or refuses to open them."""

import asyncio
import os

import pytest

from mfa_service.access.keysets import SigningKeys, establish_signing_key, new_signing_key
from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.sealing import Keyring, establish, new_sealing_key, rotate
from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryKeys, root_key


class KeyService:
    """A root key held elsewhere, which can be out of reach or silent, or refuse; it counts how often it was in vain."""

    def __init__(self) -> None:
        self._root_key = root_key()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.out_of_reach = False
        self.refuses = False
        self.asked_in_vain = 0

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        return await self._root_key.wrap(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        self.asked.set()
        await self.answers.wait()
        if self.out_of_reach:
            self.asked_in_vain += 1
            raise StoreUnavailable
        if self.refuses:
            self.asked_in_vain += 1
            raise UnsealFailed
        return await self._root_key.unwrap(wrapped, context=context)


@pytest.fixture
def service() -> KeyService:
    return KeyService()


@pytest.fixture
async def keyring(keys: MemoryKeys, service: KeyService, clock: ManualClock) -> Keyring:
    """The keyring of the node that the key service is out of reach for."""
    made = await establish(keys, service, clock=clock, random_bytes=os.urandom)
    await establish_signing_key(made, "ES256")
    return made


@pytest.fixture
async def operator(keyring: Keyring, keys: MemoryKeys, clock: ManualClock) -> Keyring:  # noqa: ARG001  it comes second
    """The keyring of an operator elsewhere, who reaches the key service."""
    return await establish(keys, root_key(), clock=clock, random_bytes=os.urandom)


async def rotated_signing(operator: Keyring) -> KeyRecord:
    return await rotate(operator, KeyPurpose.SIGNING, new_signing_key("ES256"), active_from_ms=0)


async def rotated_sealing(operator: Keyring, *, active_from_ms: int) -> KeyRecord:
    return await rotate(operator, KeyPurpose.SEALING, new_sealing_key(os.urandom), active_from_ms=active_from_ms)


async def test_a_leaked_key_that_was_removed_is_out_although_its_successor_cannot_be_opened(
    keyring: Keyring, operator: Keyring, keys: MemoryKeys, service: KeyService, clock: ManualClock
) -> None:
    signing = SigningKeys(keyring, clock=clock)
    leaked = signing.signing_key().verification.kid
    service.out_of_reach = True
    new = await rotated_signing(operator)
    keys.remove(leaked)
    clock.advance(1)
    with pytest.raises(StoreUnavailable):
        await keyring.refresh()
    assert signing.get(leaked) is None
    assert signing.jwks() == {"keys": []}
    with pytest.raises(StoreUnavailable):
        signing.signing_key()
    service.out_of_reach = False
    await keyring.refresh()
    assert signing.signing_key().verification.kid == new.id


async def test_a_leaked_key_that_was_removed_is_out_before_the_key_service_has_answered(
    keyring: Keyring, operator: Keyring, keys: MemoryKeys, service: KeyService, clock: ManualClock
) -> None:
    signing = SigningKeys(keyring, clock=clock)
    leaked = signing.signing_key().verification.kid
    new = await rotated_signing(operator)
    keys.remove(leaked)
    service.answers.clear()
    service.asked.clear()
    reading = asyncio.create_task(keyring.refresh())
    await service.asked.wait()
    assert signing.get(leaked) is None
    service.answers.set()
    await reading
    assert signing.signing_key().verification.kid == new.id


async def test_a_new_key_that_cannot_be_opened_keeps_no_other_from_use(
    keyring: Keyring, operator: Keyring, service: KeyService, clock: ManualClock
) -> None:
    signing = SigningKeys(keyring, clock=clock)
    old = signing.signing_key().verification.kid
    service.out_of_reach = True
    await rotated_signing(operator)
    await rotated_sealing(operator, active_from_ms=clock.now_ms() + 60_000)
    for _ in range(10):
        clock.advance(2)
        sealed = await keyring.seal(b"secret", context=b"context")
        assert await keyring.unseal(sealed, context=b"context") == b"secret"
        assert signing.signing_key().verification.kid == old
    assert service.asked_in_vain == 10  # of two new keys one is asked for in each reading


async def test_what_needs_a_key_that_cannot_be_opened_now_is_told_so_and_works_later(
    keyring: Keyring, operator: Keyring, service: KeyService, clock: ManualClock
) -> None:
    service.out_of_reach = True
    new = await rotated_sealing(operator, active_from_ms=0)
    await operator.refresh()
    sealed = await operator.seal(b"secret", context=b"context")
    assert sealed.key_id == new.id
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await keyring.unseal(sealed, context=b"context")
    clock.advance(2)
    with pytest.raises(StoreUnavailable):
        await keyring.seal(b"another", context=b"context")
    service.out_of_reach = False
    clock.advance(2)
    assert await keyring.unseal(sealed, context=b"context") == b"secret"
    assert (await keyring.seal(b"another", context=b"context")).key_id == new.id


async def test_without_the_registry_nothing_is_sealed_with_keys_older_than_a_second(
    keyring: Keyring, operator: Keyring, keys: MemoryKeys, service: KeyService, clock: ManualClock
) -> None:
    service.out_of_reach = True
    await rotated_signing(operator)
    clock.advance(2)
    await keyring.seal(b"secret", context=b"context")
    keys.out_of_reach = True
    clock.advance(2)
    with pytest.raises(StoreUnavailable):
        await keyring.seal(b"secret", context=b"context")


async def test_a_key_that_was_refused_opens_within_a_minute_of_the_services_being_mended(
    keyring: Keyring, operator: Keyring, service: KeyService, clock: ManualClock
) -> None:
    service.refuses = True
    new = await rotated_sealing(operator, active_from_ms=0)
    await operator.refresh()
    sealed = await operator.seal(b"secret", context=b"context")
    for _ in range(180):  # three minutes, with requests all the time
        clock.advance(1)
        await keyring.refresh()
        for _ in range(3):
            with pytest.raises(UnsealFailed, match=f"the damaged key {new.id}"):
                await keyring.unseal(sealed, context=b"context")
            with pytest.raises(UnsealFailed, match=f"the current sealing key {new.id} is damaged"):
                await keyring.seal(b"another", context=b"context")
    assert service.asked_in_vain in (3, 4)
    service.refuses = False
    for _ in range(60):
        clock.advance(1)
        await keyring.refresh()
    assert keyring.damaged == frozenset()
    assert await keyring.unseal(sealed, context=b"context") == b"secret"
    assert (await keyring.seal(b"another", context=b"context")).key_id == new.id


async def test_a_refused_key_that_is_asked_for_again_while_the_service_is_away_stays_refused(
    keyring: Keyring, operator: Keyring, service: KeyService, clock: ManualClock
) -> None:
    service.refuses = True
    for _ in range(2):
        await rotated_signing(operator)
        await operator.refresh()
    await keyring.refresh()
    refused = keyring.damaged
    assert len(refused) == 2
    service.refuses, service.out_of_reach, service.asked_in_vain = False, True, 0
    for _ in range(60):
        clock.advance(1)
        await keyring.refresh()
    assert (keyring.damaged, keyring.awaited) == (refused, frozenset())
    assert service.asked_in_vain == 1
    new = await rotated_signing(operator)
    with pytest.raises(StoreUnavailable):
        await keyring.refresh()
    assert (keyring.damaged, keyring.awaited) == (refused, frozenset({new.id}))
