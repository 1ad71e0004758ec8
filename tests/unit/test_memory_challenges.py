"""Challenges in process memory stay within bounds."""

import pytest

from mfa_service.errors import ChallengeNotFound, StoreUnavailable
from mfa_service.model import Challenge, Purpose
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


async def test_a_closed_store_has_forgotten_everything() -> None:
    challenges = MemoryChallenges(ManualClock())
    await challenges.open(challenge(0), ttl_s=300)
    await challenges.ping()
    await challenges.close()
    with pytest.raises(ChallengeNotFound):
        await peek(challenges, 0)
