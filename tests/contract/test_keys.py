"""The registry of sealed keys, by the port's sentences, on every database."""

import asyncio
from dataclasses import replace

from mfa_service.model import KeyPurpose, KeyRecord
from tests.contract.sql_stores import Stage

FIRST = KeyRecord("s1", KeyPurpose.SEALING, 1, "A256GCM", b"\x00sealed", "", 10, 11)


async def test_keys_are_read_back_by_purpose_and_generation(stage: Stage) -> None:
    later = replace(FIRST, id="s2", generation=2)
    signing = KeyRecord("j1", KeyPurpose.SIGNING, 1, "ES256", b"sealed", '{"kty":"EC"}', 10, 20)
    canary = KeyRecord("c1", KeyPurpose.CANARY, 1, "A256GCM", b"sealed", "", 10, 10)
    for record in (later, signing, canary, FIRST):
        assert await stage.registry.keys.add(record) == record
    assert await stage.registry.keys.all() == [canary, FIRST, later, signing]


async def test_the_first_key_of_a_place_stays_there(stage: Stage) -> None:
    await stage.registry.keys.add(FIRST)
    assert await stage.registry.keys.add(replace(FIRST, id="other", sealed=b"other")) == FIRST
    assert await stage.registry.keys.all() == [FIRST]


async def test_of_keys_added_at_once_everyone_learns_of_the_same_one(stage: Stage) -> None:
    records = [replace(FIRST, id=f"s{number}") for number in range(10)]
    held = await asyncio.gather(*(stage.registry.keys.add(record) for record in records))
    assert held == [*await stage.registry.keys.all()] * 10


async def test_keys_are_there_after_reopening(stage: Stage) -> None:
    await stage.registry.keys.add(FIRST)
    async with stage.reopened() as again:
        assert await again.keys.all() == [FIRST]
