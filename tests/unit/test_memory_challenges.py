"""Challenges in process memory stay within bounds, and small, whatever their ids are."""

import gc
import os
import tracemalloc

import pytest

from mfa_service import identifiers
from mfa_service.errors import ChallengeNotFound, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.stores.memory import MemoryChallenges
from tests.clocks import ManualClock


def challenge(number: int) -> Challenge:
    return Challenge(f"challenge-{number}", "application", "device", Purpose.AUTHENTICATION)


async def peek(challenges: MemoryChallenges, number: int) -> Challenge:
    return await challenges.peek(f"challenge-{number}", application_id="application", purpose=Purpose.AUTHENTICATION)


async def test_no_more_challenges_are_open_than_fit() -> None:
    challenges = MemoryChallenges(ManualClock(), capacity=3)
    for number in range(3):
        await challenges.open(challenge(number), ttl_s=60)
    with pytest.raises(StoreUnavailable):
        await challenges.open(challenge(3), ttl_s=60)
    assert [(await peek(challenges, number)).auth_id for number in range(3)] == [f"challenge-{n}" for n in range(3)]


async def test_an_expired_challenge_makes_room_whatever_was_opened_before_it() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock, capacity=2)
    await challenges.open(challenge(0), ttl_s=900)
    await challenges.open(challenge(1), ttl_s=300)
    clock.advance(300)
    await challenges.open(challenge(2), ttl_s=300)
    assert (await peek(challenges, 0)).auth_id == "challenge-0"
    with pytest.raises(ChallengeNotFound):
        await peek(challenges, 1)


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
        kept.append(len(challenges._kept))
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
    assert (await peek(challenges, 19)).auth_id == "challenge-19"


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
    assert [(await peek(challenges, number)).auth_id for number in range(3, 6)] == [f"challenge-{n}" for n in (3, 4, 5)]


async def test_an_expired_id_can_be_opened_again_whatever_expired_before_it() -> None:
    clock = ManualClock()
    challenges = MemoryChallenges(clock)
    for number in range(100):
        await challenges.open(challenge(number), ttl_s=10)
    clock.advance(10)
    await challenges.open(challenge(99), ttl_s=10)
    with pytest.raises(StoreUnavailable):
        await challenges.open(challenge(99), ttl_s=10)
    assert (await peek(challenges, 99)).auth_id == "challenge-99"


@pytest.mark.parametrize(
    "auth_id",
    [
        "",
        "a1",
        "ü",
        "0123456789abcdef" * 20,
        "b8f935762e884b1d98ae450c6c11bc97",
        "b8f93576-2e88-4b1d-98ae-450c6c11bc97",
        "B8F93576-2E88-4B1D-98AE-450C6C11BC97",
        "{b8f93576-2e88-4b1d-98ae-450c6c11bc97}",
    ],
)
@pytest.mark.parametrize("device_id", ["", "d1", "Gerät 7\0", "0123456789abcdef" * 20])
async def test_any_text_is_an_id(auth_id: str, device_id: str) -> None:
    challenges = MemoryChallenges(ManualClock())
    opened = Challenge(auth_id, "application", device_id, Purpose.ACTIVATION, attempts=3, taken_step=59_461_234)
    await challenges.open(opened, ttl_s=60)
    assert await challenges.peek(auth_id, application_id="application", purpose=Purpose.ACTIVATION) == opened
    assert await challenges.settle(auth_id, Verdict.WRONG, step=None, max_attempts=5) is Settlement.MISMATCH
    peeked = await challenges.peek(auth_id, application_id="application", purpose=Purpose.ACTIVATION)
    assert (peeked.device_id, peeked.attempts, peeked.taken_step) == (device_id, 4, 59_461_234)


async def test_ids_are_told_apart_by_every_character() -> None:
    ids = [
        "b8f93576-2e88-4b1d-98ae-450c6c11bc97",
        "B8F93576-2E88-4B1D-98AE-450C6C11BC97",
        "b8f935762e884b1d98ae450c6c11bc97",
        "b8f93576-2e88-4b1d-98ae-450c6c11bc97 ",
    ]
    challenges = MemoryChallenges(ManualClock())
    for number, auth_id in enumerate(ids):
        for unopened in ids[number:]:
            with pytest.raises(ChallengeNotFound):
                await challenges.peek(unopened, application_id="application", purpose=Purpose.AUTHENTICATION)
        await challenges.open(Challenge(auth_id, "application", f"d{number}", Purpose.AUTHENTICATION), ttl_s=60)
    for number, auth_id in enumerate(ids):
        peeked = await challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)
        assert (peeked.auth_id, peeked.device_id) == (auth_id, f"d{number}")


async def test_each_challenge_is_found_by_its_own_application_alone() -> None:
    challenges = MemoryChallenges(ManualClock())
    applications = [f"application-{number}" for number in range(300)]
    for application_id in applications:
        await challenges.open(Challenge(application_id, application_id, "d1", Purpose.AUTHENTICATION), ttl_s=60)
    for application_id, another in zip(applications, reversed(applications), strict=True):
        peeked = await challenges.peek(application_id, application_id=application_id, purpose=Purpose.AUTHENTICATION)
        assert peeked.application_id == application_id
        with pytest.raises(ChallengeNotFound):
            await challenges.peek(application_id, application_id=another, purpose=Purpose.AUTHENTICATION)


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
    assert used / count < 250
    assert len(gc.get_objects()) - tracked < count / 10


async def test_a_closed_store_has_forgotten_everything() -> None:
    challenges = MemoryChallenges(ManualClock())
    await challenges.open(challenge(0), ttl_s=300)
    await challenges.ping()
    await challenges.close()
    with pytest.raises(ChallengeNotFound):
        await peek(challenges, 0)
