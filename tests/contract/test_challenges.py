"""The contract of `Challenges`, held by every store: process memory, Redis as fakeredis plays it, and real Valkey."""

import asyncio
import contextlib
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import fakeredis
import pytest

from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.ports import Challenges
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.redis import RedisChallenges, open_challenges
from mfa_service.stores.redis.client import Client, Standalone
from mfa_service.stores.redis.link import connect
from mfa_service.stores.redis.node import Node
from tests.clocks import ManualClock

if TYPE_CHECKING:
    from tests.servers.valkey import Deployment

REDIS_LIKE = ("fakeredis", "valkey", "sentinel", "cluster")
DEPLOYMENTS = {"valkey": "valkey", "sentinel": "valkey_sentinel", "cluster": "valkey_cluster"}  # to fixtures
DEADLINE_S = 0.8
DEVICE_ID = "0b" * 16


class Subject:
    """A store under test.

    Args:
        challenges: the store.
        pass_time: lets so many seconds pass for it.
        another: opens what a second worker would have: its own view of the same challenges.
    """

    def __init__(
        self,
        challenges: MemoryChallenges | RedisChallenges,
        pass_time: Callable[[float], Awaitable[None]],
        another: Callable[[], Awaitable[Challenges]],
    ) -> None:
        self.challenges: Challenges = challenges
        self.close = challenges.close
        self.pass_time = pass_time
        self.another = another

    async def opened(self, *, ttl_s: int = 60) -> str:
        """Open a challenge and return its id."""
        challenge = a_challenge()
        await self.challenges.open(challenge, ttl_s=ttl_s)
        return challenge.auth_id

    async def peek(self, auth_id: str) -> Challenge:
        return await self.challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)

    async def wrong(self, auth_id: str, max_attempts: int = 5) -> Settlement:
        return await self.challenges.settle(auth_id, Verdict.WRONG, step=None, max_attempts=max_attempts)

    async def used(self, auth_id: str, step: int, max_attempts: int = 5) -> Settlement:
        return await self.challenges.settle(auth_id, Verdict.USED, step=step, max_attempts=max_attempts)

    async def match(self, auth_id: str, step: int, max_attempts: int = 5) -> Settlement:
        return await self.challenges.settle(auth_id, Verdict.MATCH, step=step, max_attempts=max_attempts)


def a_challenge(
    auth_id: str = "",
    application_id: str = "application",
    device_id: str = DEVICE_ID,
    purpose: Purpose = Purpose.AUTHENTICATION,
) -> Challenge:
    return Challenge(auth_id or str(uuid.uuid4()), application_id, device_id, purpose)


def fake_challenges(server: fakeredis.FakeServer) -> RedisChallenges:
    """Return the store over fakeredis, without the checks at start-up, for it has no INFO."""
    opens = partial(connect, fakeredis.FakeAsyncRedisConnection, ("fake", 1), {"server": server})
    node = Node(("fake", 1), opens, deadline_s=DEADLINE_S)
    return RedisChallenges(Client(Standalone(node), deadline_s=DEADLINE_S), prefix="mfa:")


@pytest.fixture(params=("memory", *REDIS_LIKE))
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with contextlib.AsyncExitStack() as stack:

        async def keep(challenges: RedisChallenges) -> RedisChallenges:
            stack.push_async_callback(challenges.close)
            return challenges

        match request.param:
            case "memory":
                clock = ManualClock()
                memory = MemoryChallenges(clock)

                async def advance(seconds: float) -> None:
                    clock.advance(seconds)

                async def same() -> MemoryChallenges:
                    return memory

                yield Subject(memory, advance, same)
            case "fakeredis":
                server = fakeredis.FakeServer(server_type="redis")

                async def another_fake() -> RedisChallenges:
                    return await keep(fake_challenges(server))

                yield Subject(await another_fake(), asyncio.sleep, another_fake)
            case kind:
                elsewhere = os.environ.get("MFA_TEST_REDIS_URL") if kind == "valkey" else None
                url = elsewhere or request.getfixturevalue(DEPLOYMENTS[kind]).url

                async def another() -> RedisChallenges:
                    return await keep(await open_challenges(url, deadline_s=DEADLINE_S))

                yield Subject(await another(), asyncio.sleep, another)


# Opening and peeking


@pytest.mark.parametrize("purpose", Purpose)
async def test_a_challenge_is_peeked_at_as_it_was_opened(subject: Subject, purpose: Purpose) -> None:
    challenge = a_challenge(purpose=purpose, application_id="an application: ü", device_id=uuid.uuid4().hex)
    await subject.challenges.open(challenge, ttl_s=60)
    peeked = await subject.challenges.peek(challenge.auth_id, application_id="an application: ü", purpose=purpose)
    assert peeked == challenge


async def test_peeking_changes_nothing(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.wrong(auth_id)
    assert [(await subject.peek(auth_id)).attempts for _ in range(10)] == [1] * 10


async def test_an_unknown_challenge_is_not_found(subject: Subject) -> None:
    auth_id = str(uuid.uuid4())
    with pytest.raises(ChallengeNotFound):
        await subject.peek(auth_id)
    for settle in (subject.wrong(auth_id), subject.used(auth_id, 7), subject.match(auth_id, 7)):
        with pytest.raises(ChallengeNotFound):
            await settle


async def test_a_challenge_of_another_application_or_purpose_is_not_found(subject: Subject) -> None:
    auth_id = await subject.opened()
    with pytest.raises(ChallengeNotFound):
        await subject.challenges.peek(auth_id, application_id="another", purpose=Purpose.AUTHENTICATION)
    with pytest.raises(ChallengeNotFound):
        await subject.challenges.peek(auth_id, application_id="application", purpose=Purpose.ACTIVATION)
    assert (await subject.peek(auth_id)).attempts == 0


async def test_no_challenge_is_opened_over_another_one(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.wrong(auth_id)
    with pytest.raises(StoreUnavailable):
        await subject.challenges.open(a_challenge(auth_id=auth_id), ttl_s=60)
    assert (await subject.peek(auth_id)).attempts == 1


async def test_nothing_moves_the_deadline_of_a_challenge(subject: Subject) -> None:
    taken, counted = await subject.opened(ttl_s=1), await subject.opened(ttl_s=1)
    await subject.pass_time(0.7)
    await subject.match(taken, 7)
    await subject.match(taken, 7)
    await subject.wrong(counted)
    await subject.peek(counted)
    await subject.pass_time(0.4)
    for auth_id in (taken, counted):
        with pytest.raises(ChallengeNotFound):
            await subject.peek(auth_id)
        with pytest.raises(ChallengeNotFound):
            await subject.match(auth_id, 7)


# Settling


async def test_wrong_codes_count_up_to_the_last_one(subject: Subject) -> None:
    auth_id = await subject.opened()
    assert [await subject.wrong(auth_id, 3) for _ in range(3)] == [
        Settlement.WRONG,
        Settlement.WRONG,
        Settlement.LAST_WRONG,
    ]
    assert (await subject.peek(auth_id)).attempts == 3


async def test_the_only_wrong_code_of_a_challenge_is_its_last(subject: Subject) -> None:
    assert await subject.wrong(await subject.opened(), 1) is Settlement.LAST_WRONG


async def test_a_spent_challenge_refuses_every_verdict_and_counts_no_more(subject: Subject) -> None:
    auth_id = await subject.opened()
    for _ in range(2):
        await subject.wrong(auth_id, 2)
    for settle in (subject.wrong(auth_id, 2), subject.used(auth_id, 7, 2), subject.match(auth_id, 7, 2)):
        with pytest.raises(ChallengeSpent):
            await settle
    peeked = await subject.peek(auth_id)
    assert (peeked.attempts, peeked.taken_step) == (2, None)


async def test_a_used_code_is_not_counted(subject: Subject) -> None:
    auth_id = await subject.opened()
    assert [await subject.used(auth_id, 7, 2) for _ in range(5)] == [Settlement.USED] * 5
    peeked = await subject.peek(auth_id)
    assert (peeked.attempts, peeked.taken_step) == (0, None)


async def test_a_match_takes_the_challenge_and_notes_its_step(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.wrong(auth_id)
    assert await subject.match(auth_id, 59_461_234) is Settlement.TAKEN
    peeked = await subject.peek(auth_id)
    assert (peeked.attempts, peeked.taken_step) == (1, 59_461_234)


async def test_step_zero_is_a_step(subject: Subject) -> None:
    auth_id = await subject.opened()
    assert await subject.match(auth_id, 0) is Settlement.TAKEN
    assert (await subject.peek(auth_id)).taken_step == 0
    assert await subject.match(auth_id, 0) is Settlement.REPEAT


async def test_the_noted_step_is_repeated_without_being_counted(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.match(auth_id, 7)
    assert [await subject.match(auth_id, 7, 1) for _ in range(3)] == [Settlement.REPEAT] * 3
    assert [await subject.used(auth_id, 7, 1) for _ in range(3)] == [Settlement.REPEAT] * 3
    assert (await subject.peek(auth_id)).attempts == 0


async def test_a_taken_challenge_counts_anything_else_as_a_mismatch_until_it_is_spent(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.match(auth_id, 7)
    assert await subject.wrong(auth_id, 3) is Settlement.MISMATCH
    assert await subject.match(auth_id, 8, 3) is Settlement.MISMATCH
    assert await subject.wrong(auth_id, 3) is Settlement.MISMATCH
    peeked = await subject.peek(auth_id)
    assert (peeked.attempts, peeked.taken_step) == (3, 7)
    for settle in (subject.match(auth_id, 7, 3), subject.used(auth_id, 7, 3), subject.wrong(auth_id, 3)):
        with pytest.raises(ChallengeSpent):
            await settle


async def test_a_used_code_of_another_step_is_told_and_not_counted_on_a_taken_challenge_as_on_an_open_one(
    subject: Subject,
) -> None:
    auth_id = await subject.opened()
    await subject.match(auth_id, 7)
    assert [await subject.used(auth_id, 6, 2) for _ in range(5)] == [Settlement.USED] * 5
    assert (await subject.peek(auth_id)).attempts == 0
    assert await subject.match(auth_id, 7, 2) is Settlement.REPEAT


async def test_wrong_codes_before_the_match_count_towards_the_mismatches(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.wrong(auth_id, 2)
    await subject.match(auth_id, 7, 2)
    assert await subject.wrong(auth_id, 2) is Settlement.MISMATCH
    with pytest.raises(ChallengeSpent):
        await subject.match(auth_id, 7, 2)


# In parallel, over two workers


async def in_parallel(subject: Subject, settle: Callable[[Challenges, int], Awaitable[Settlement]]) -> Counter[object]:
    """Settle a hundred times at once, by two workers in turn, and count what came out."""
    workers = (subject.challenges, await subject.another())
    outcomes = await asyncio.gather(
        *(settle(workers[number % 2], number) for number in range(100)), return_exceptions=True
    )
    return Counter(type(outcome) if isinstance(outcome, BaseException) else outcome for outcome in outcomes)


async def test_parallel_wrong_codes_are_counted_exactly(subject: Subject) -> None:
    auth_id = await subject.opened()
    outcomes = await in_parallel(
        subject, lambda worker, _: worker.settle(auth_id, Verdict.WRONG, step=None, max_attempts=5)
    )
    assert outcomes == {Settlement.WRONG: 4, Settlement.LAST_WRONG: 1, ChallengeSpent: 95}
    assert (await subject.peek(auth_id)).attempts == 5


async def test_of_parallel_matches_of_one_step_one_takes_and_the_rest_repeat(subject: Subject) -> None:
    auth_id = await subject.opened()
    outcomes = await in_parallel(
        subject, lambda worker, _: worker.settle(auth_id, Verdict.MATCH, step=7, max_attempts=5)
    )
    assert outcomes == {Settlement.TAKEN: 1, Settlement.REPEAT: 99}


async def test_of_parallel_matches_of_different_steps_one_takes_and_the_rest_mismatch(subject: Subject) -> None:
    auth_id = await subject.opened()
    outcomes = await in_parallel(
        subject, lambda worker, number: worker.settle(auth_id, Verdict.MATCH, step=number, max_attempts=5)
    )
    assert outcomes == {Settlement.TAKEN: 1, Settlement.MISMATCH: 5, ChallengeSpent: 94}
    assert (await subject.peek(auth_id)).attempts == 5


async def test_of_parallel_openings_of_one_challenge_one_succeeds(subject: Subject) -> None:
    challenge = a_challenge()
    workers = (subject.challenges, await subject.another())
    outcomes = await asyncio.gather(
        *(workers[number % 2].open(challenge, ttl_s=60) for number in range(20)), return_exceptions=True
    )
    assert Counter(map(type, outcomes)) == {type(None): 1, StoreUnavailable: 19}


# Broken on purpose


async def every_method(subject: Subject, auth_id: str) -> list[type]:
    """Call every method at once on one challenge and return the kind of what each came to."""
    outcomes = await asyncio.gather(
        subject.challenges.open(a_challenge(auth_id), ttl_s=60),
        subject.peek(auth_id),
        subject.wrong(auth_id),
        subject.used(auth_id, 7),
        subject.match(auth_id, 7),
        return_exceptions=True,
    )
    return [type(outcome) for outcome in outcomes]


async def answers_again(subject: Subject, auth_id: str) -> None:
    """Wait until a challenge that was open before can be peeked at."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(StoreUnavailable):
                assert (await subject.peek(auth_id)).auth_id == auth_id
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("subject", REDIS_LIKE, indirect=True)
async def test_a_closed_store_is_unavailable_to_every_method(subject: Subject) -> None:
    auth_id = await subject.opened()
    await subject.close()
    assert await every_method(subject, auth_id) == [StoreUnavailable] * 5


async def test_a_server_that_goes_away_makes_every_method_unavailable_until_it_is_back() -> None:
    server = fakeredis.FakeServer(server_type="redis")
    challenges = fake_challenges(server)

    async def another() -> RedisChallenges:
        return challenges

    subject = Subject(challenges, asyncio.sleep, another)
    auth_id = await subject.opened()
    server.connected = False
    assert await every_method(subject, auth_id) == [StoreUnavailable] * 5
    server.connected = True
    await answers_again(subject, auth_id)
    await challenges.close()


@pytest.mark.parametrize("fixture", DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
async def test_a_store_that_does_not_answer_is_unavailable_within_the_deadline_and_comes_back(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    deployment: Deployment = request.getfixturevalue(fixture)
    challenges = await open_challenges(deployment.url, deadline_s=DEADLINE_S)
    subject = Subject(challenges, asyncio.sleep, partial(open_challenges, deployment.url))
    auth_id = await subject.opened()
    now_s = asyncio.get_running_loop().time
    with contextlib.ExitStack() as stack:
        for server in deployment.servers:
            server.pause()
            stack.callback(server.resume)
        started_s = now_s()
        assert await every_method(subject, auth_id) == [StoreUnavailable] * 5
        overdue_s = now_s()
        assert await every_method(subject, auth_id) == [StoreUnavailable] * 5
        refused_s = now_s()
    assert overdue_s - started_s < DEADLINE_S + 0.3
    assert refused_s - overdue_s < DEADLINE_S / 4  # the breaker is open, nothing is waited for
    await answers_again(subject, auth_id)
    await challenges.close()
