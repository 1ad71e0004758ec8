"""Challenges in process memory stay within bounds, and small."""

import dataclasses
import gc
import os
import tracemalloc
import uuid

import pytest

from mfa_service import identifiers
from mfa_service.errors import ChallengeNotFound, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Verdict
from mfa_service.stores.memory import MemoryChallenges
from tests.clocks import ManualClock

DEVICE_ID = "0b" * 16


def auth_id_of(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def challenge(number: int) -> Challenge:
    return Challenge(auth_id_of(number), "application", DEVICE_ID, Purpose.AUTHENTICATION)


async def peek(challenges: MemoryChallenges, number: int) -> Challenge:
    return await challenges.peek(auth_id_of(number), application_id="application", purpose=Purpose.AUTHENTICATION)


async def is_there(challenges: MemoryChallenges, number: int) -> bool:
    try:
        return (await peek(challenges, number)) == challenge(number)
    except ChallengeNotFound:
        return False


async def test_no_more_challenges_are_open_than_fit() -> None:
    challenges = MemoryChallenges(ManualClock(), capacity=3)
    for number in range(3):
        await challenges.open(challenge(number), ttl_s=60)
    with pytest.raises(StoreUnavailable):
        await challenges.open(challenge(3), ttl_s=60)
    assert [await is_there(challenges, number) for number in range(4)] == [True, True, True, False]


async def test_an_expired_challenge_makes_room_whatever_was_opened_before_it() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock, capacity=2)
    await challenges.open(challenge(0), ttl_s=900)
    await challenges.open(challenge(1), ttl_s=300)
    clock.advance(300)
    await challenges.open(challenge(2), ttl_s=300)
    assert [await is_there(challenges, number) for number in range(3)] == [True, False, True]


async def test_a_challenge_lives_to_its_deadline_and_not_a_moment_longer() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock)
    await challenges.open(challenge(0), ttl_s=300)
    clock.advance(299.999)
    await peek(challenges, 0)
    clock.advance(0.001)
    with pytest.raises(ChallengeNotFound):
        await peek(challenges, 0)


async def test_expired_challenges_are_cleared_away_a_few_at_each_opening() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock)
    for number in range(100):
        await challenges.open(challenge(number), ttl_s=300)
    clock.advance(301)
    kept = []
    for number in range(100, 140):
        await challenges.open(challenge(number), ttl_s=300)
        kept.append(challenges._count)
    assert kept[0] > 90  # no opening pays for all of them
    assert kept[-1] == 40


async def test_an_expired_id_that_is_opened_again_keeps_its_new_deadline() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock)
    for number in range(20):
        await challenges.open(challenge(number), ttl_s=1)
    clock.advance(1)
    await challenges.open(challenge(19), ttl_s=300)
    for number in range(100, 120):
        await challenges.open(challenge(number), ttl_s=300)
    assert await is_there(challenges, 19)


async def test_an_expired_id_that_is_opened_again_is_one_challenge_that_expires_once() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock, capacity=3)
    for number in range(3):
        await challenges.open(challenge(number), ttl_s=10)
    clock.advance(10)
    for number in range(3):
        await challenges.open(challenge(number), ttl_s=20)
    with pytest.raises(StoreUnavailable):
        await challenges.open(challenge(3), ttl_s=10)
    clock.advance(20)
    for number in range(3, 6):
        await challenges.open(challenge(number), ttl_s=10)
    assert [await is_there(challenges, number) for number in range(6)] == [False] * 3 + [True] * 3


async def test_an_expired_id_can_be_opened_again_whatever_expired_before_it() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock)
    for number in range(100):
        await challenges.open(challenge(number), ttl_s=10)
    clock.advance(10)
    await challenges.open(challenge(99), ttl_s=10)
    with pytest.raises(StoreUnavailable):
        await challenges.open(challenge(99), ttl_s=10)
    assert await is_there(challenges, 99)


async def test_a_challenge_is_kept_whole_and_settled_beside_others_that_begin_alike() -> None:
    challenges = MemoryChallenges(ManualClock())
    opened = [
        Challenge(f"b8f93576-2e88-4b1d-98ae-450c6c11bc{number:02x}", "application", f"{number:032x}", purpose, 3, step)
        for number in range(64)
        for purpose, step in [(list(Purpose)[number % 2], (None, 0, 59_461_234)[number % 3])]
    ]
    for one in opened:
        await challenges.open(one, ttl_s=(300, 900)[one.purpose is Purpose.ACTIVATION])
    for one in opened[::5]:
        await challenges.settle(one.auth_id, Verdict.WRONG, step=None, max_attempts=5)
    for number, one in enumerate(opened):
        peeked = await challenges.peek(one.auth_id, application_id="application", purpose=one.purpose)
        assert peeked == dataclasses.replace(one, attempts=3 if number % 5 else 4)


@pytest.mark.parametrize(
    "device_id",
    ["", "d1", "0b" * 15, "0b" * 17, "0B" * 16, "g" * 32, "b8f93576-2e88-4b1d-98ae-450c6c11bc97", "0b " * 16],
)
async def test_no_challenge_is_opened_that_would_name_its_device_otherwise(device_id: str) -> None:
    challenges = MemoryChallenges(ManualClock())
    with pytest.raises(ValueError, match=r"id|hex"):
        await challenges.open(Challenge(auth_id_of(1), "application", device_id, Purpose.AUTHENTICATION), ttl_s=60)
    assert not await is_there(challenges, 1)


@pytest.mark.parametrize(
    "auth_id", ["", "unknown", "b8f93576", "b8f93576-2e88-4b1d-98ae-450c6c11bc9g", "0b" * 17, "ü" * 32]
)
async def test_what_is_no_id_is_not_found(auth_id: str) -> None:
    challenges = MemoryChallenges(ManualClock())
    with pytest.raises(ChallengeNotFound):
        await challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)
    with pytest.raises(ChallengeNotFound):
        await challenges.settle(auth_id, Verdict.WRONG, step=None, max_attempts=5)
    with pytest.raises(ValueError, match=r"id|hex"):
        await challenges.open(Challenge(auth_id, "application", DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=60)


async def test_ids_are_told_apart_by_every_character() -> None:
    challenges = MemoryChallenges(ManualClock())
    auth_id = "b8f93576-2e88-4b1d-98ae-450c6c11bc97"
    await challenges.open(Challenge(auth_id, "application", DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=60)
    for other in (
        auth_id.upper(),
        auth_id.replace("-", ""),
        auth_id + " ",
        " " + auth_id,
        "----" + auth_id.replace("-", ""),
        auth_id.replace("b8f93576-2", "b8f9357-62"),
        "{" + auth_id + "}",
    ):
        with pytest.raises(ChallengeNotFound):
            await challenges.peek(other, application_id="application", purpose=Purpose.AUTHENTICATION)
        with pytest.raises(ChallengeNotFound):
            await challenges.settle(other, Verdict.WRONG, step=None, max_attempts=5)
        with pytest.raises(ValueError, match=r"id|hex"):
            await challenges.open(Challenge(other, "application", DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=60)
    peeked = await challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)
    assert (peeked.auth_id, peeked.attempts) == (auth_id, 0)


async def test_of_challenges_that_begin_alike_each_expires_at_its_own_time() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock, capacity=10)
    ids = [f"b8f93576-2e88-4b1d-98ae-450c6c11bc{number:02x}" for number in range(30)]
    for auth_id in ids:
        await challenges.open(Challenge(auth_id, "application", DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=10)
        clock.advance(1)
    for auth_id in ids[:21]:
        with pytest.raises(ChallengeNotFound):
            await challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)
    for auth_id in ids[21:]:
        await challenges.settle(auth_id, Verdict.MATCH, step=7, max_attempts=5)


async def test_each_challenge_is_found_by_its_own_application_alone() -> None:
    challenges = MemoryChallenges(ManualClock())
    applications = [f"application-{number}" for number in range(300)]
    for number, application_id in enumerate(applications):
        opened = Challenge(auth_id_of(number), application_id, DEVICE_ID, Purpose.AUTHENTICATION)
        await challenges.open(opened, ttl_s=60)
    for number, application_id in enumerate(applications):
        purpose = Purpose.AUTHENTICATION
        peeked = await challenges.peek(auth_id_of(number), application_id=application_id, purpose=purpose)
        assert peeked.application_id == application_id
        with pytest.raises(ChallengeNotFound):
            await challenges.peek(auth_id_of(number), application_id=applications[-1 - number], purpose=purpose)


async def test_a_challenge_takes_little_memory_and_none_of_the_garbage_collectors_time() -> None:
    count = 20_000
    challenges = MemoryChallenges(ManualClock())
    tracked = len(gc.get_objects())
    tracemalloc.start()
    try:
        for _ in range(count):
            auth_id, device_id = identifiers.auth_id(os.urandom), identifiers.device_id(os.urandom)
            await challenges.open(Challenge(auth_id, "application", device_id, Purpose.AUTHENTICATION), ttl_s=300)
            await challenges.settle(auth_id, Verdict.MATCH, step=59_461_234, max_attempts=5)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / count < 125
    assert len(gc.get_objects()) - tracked < count / 10


async def test_a_closed_store_has_forgotten_everything() -> None:
    challenges = MemoryChallenges(ManualClock())
    await challenges.open(challenge(0), ttl_s=300)
    await challenges.ping()
    await challenges.close()
    with pytest.raises(ChallengeNotFound):
        await peek(challenges, 0)
