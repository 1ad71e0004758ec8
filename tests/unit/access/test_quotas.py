"""`LeasedQuotas`: what a worker lets pass on leases, without waiting for the store."""

import asyncio
import math

import pytest
from structlog.testing import capture_logs

from mfa_service.access.quotas import LeasedQuotas
from mfa_service.errors import QuotaExceeded, StoreUnavailable
from mfa_service.model import Lease, QuotaLimits
from mfa_service.ports import Clock
from mfa_service.stores.memory_leases import MemoryQuotaLeases
from tests.clocks import ManualClock

LIMITS = QuotaLimits(requests_per_s=100, burst=50)
BLOCK = 10  # what 100 ms are worth


class Store:
    """Leases in memory that can be put away or made slow.

    Attributes:
        trips: how many leases were asked for.
    """

    def __init__(self, clock: Clock) -> None:
        self._leases = MemoryQuotaLeases(clock)
        self._there = asyncio.Event()
        self._there.set()
        self.out_of_reach = False
        self.trips = 0

    def stop_answering(self) -> None:
        self._there.clear()

    def answer(self) -> None:
        self._there.set()

    async def lease(self, application_id: str, wanted: int, limits: QuotaLimits) -> Lease:
        self.trips += 1
        await self._there.wait()
        if self.out_of_reach:
            raise StoreUnavailable
        return await self._leases.lease(application_id, wanted, limits)


class Worker:
    """One worker's quotas and what comes of requests to it.

    Attributes:
        unwatched: requests that passed and were counted as unwatched.
    """

    def __init__(self, store: Store, clock: Clock, limits: QuotaLimits = LIMITS) -> None:
        self.unwatched = 0
        self.quotas = LeasedQuotas(store, clock=clock, limits=limits, count_unwatched=self._count)

    def _count(self) -> None:
        self.unwatched += 1

    def at_once(self, requests: int, application_id: str = "shop") -> int:
        """Make requests before the store can answer; return how many pass."""
        return sum(self._passes(application_id) for _ in range(requests))

    async def in_turn(self, requests: int, application_id: str = "shop") -> int:
        """Make requests one by one, each when the leases under way are there; return how many pass."""
        passed = 0
        for _ in range(requests):
            passed += self._passes(application_id)
            await settle()
        return passed

    def _passes(self, application_id: str) -> bool:
        try:
            self.quotas.spend(application_id)
        except QuotaExceeded:
            return False
        return True


async def settle() -> None:
    """Let the leases under way end."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def store(clock: ManualClock) -> Store:
    return Store(clock)


@pytest.fixture
def worker(store: Store, clock: ManualClock) -> Worker:
    return Worker(store, clock)


@pytest.mark.parametrize("requests", [1, 5, 50])
async def test_a_burst_passes_on_first_contact_before_the_store_has_answered(worker: Worker, requests: int) -> None:
    assert worker.at_once(requests) == requests
    await settle()


async def test_no_more_than_the_burst_passes_at_once(worker: Worker) -> None:
    assert worker.at_once(200) == 50
    await settle()
    assert worker.at_once(200) == 0


async def test_one_by_one_no_more_than_the_burst_passes_either(worker: Worker) -> None:
    assert await worker.in_turn(200) == 50


async def test_a_burst_passes_again_once_it_has_flowed_in(worker: Worker, clock: ManualClock) -> None:
    worker.at_once(50)
    await settle()
    clock.advance(0.5)
    assert worker.at_once(200) == 50
    await settle()


@pytest.mark.parametrize("limits", [LIMITS, QuotaLimits(1, 1), QuotaLimits(7, 3), QuotaLimits(1_000, 1)])
async def test_in_the_long_run_the_rate_passes_and_no_more(
    store: Store, clock: ManualClock, limits: QuotaLimits
) -> None:
    worker = Worker(store, clock, limits)
    passed = await worker.in_turn(2 * limits.burst + 100)
    for _ in range(400):
        clock.advance(0.025)
        passed += await worker.in_turn(2 * max(1, limits.requests_per_s // 40))
    flowed_in = 10 * limits.requests_per_s
    assert 0.9 * flowed_in <= passed <= flowed_in + max(limits.burst, limits.requests_per_s // 10)


async def test_an_application_below_its_quota_is_never_refused(store: Store, clock: ManualClock) -> None:
    worker = Worker(store, clock, QuotaLimits(1, 1))
    for _ in range(50):
        assert worker.at_once(1) == 1
        await settle()
        clock.advance(1)


async def test_a_refusal_says_in_whole_seconds_when_to_come_again(store: Store, clock: ManualClock) -> None:
    worker = Worker(store, clock, QuotaLimits(1, 3))
    worker.at_once(3)
    await settle()
    with pytest.raises(QuotaExceeded) as refusal:
        worker.quotas.spend("shop")
    assert refusal.value.retry_after_s == 1
    clock.advance(1)
    assert worker.at_once(2) == 1


async def test_applications_do_not_share_a_quota(worker: Worker) -> None:
    assert worker.at_once(60, "shop") == 50
    await settle()
    assert worker.at_once(60, "bank") == 50


async def test_the_store_is_asked_once_a_block_and_not_with_every_request(
    store: Store, clock: ManualClock, worker: Worker
) -> None:
    for _ in range(1_000):
        clock.advance(0.01)
        assert await worker.in_turn(1) == 1
    assert store.trips <= 1_000 // (BLOCK // 2) + 1


async def test_refusals_do_not_make_the_store_be_asked_more(store: Store, clock: ManualClock, worker: Worker) -> None:
    await worker.in_turn(60)
    trips = store.trips
    for _ in range(100):
        clock.advance(0.001)
        await worker.in_turn(10)
    assert store.trips - trips <= 3


# Two workers


async def test_two_workers_together_exceed_the_quota_by_their_leases_at_most(store: Store, clock: ManualClock) -> None:
    workers = [Worker(store, clock), Worker(store, clock)]
    passed = 0
    for _ in range(100):
        for worker in workers:
            passed += await worker.in_turn(1)
    assert passed <= LIMITS.burst + 2 * BLOCK
    for _ in range(400):
        clock.advance(0.025)
        for worker in workers:
            passed += await worker.in_turn(5)
    assert 0.9 * 1_000 <= passed <= LIMITS.burst + 1_000 + 2 * BLOCK


async def test_what_two_workers_advance_at_one_moment_is_paid_back(store: Store, clock: ManualClock) -> None:
    workers = [Worker(store, clock), Worker(store, clock)]
    passed = sum(worker.at_once(100) for worker in workers)
    assert passed == 2 * LIMITS.burst
    for _ in range(20):
        await settle()
        clock.advance(0.5)
        passed += sum(worker.at_once(100) for worker in workers)
    assert 0.9 * 1_000 <= passed <= 2 * LIMITS.burst + 1_000 + 2 * BLOCK
    await settle()


# Without the store


async def test_without_the_store_requests_pass_and_are_counted(store: Store, worker: Worker) -> None:
    store.out_of_reach = True
    worker.at_once(1)
    await settle()
    assert worker.unwatched == 0
    assert worker.at_once(500) == 500
    assert worker.unwatched == 500


async def test_a_store_that_does_not_answer_counts_as_away_after_a_tenth_of_a_second(
    store: Store, worker: Worker
) -> None:
    store.stop_answering()
    assert worker.at_once(1_000) == 50
    await asyncio.sleep(0.15)
    assert worker.at_once(1_000) == 1_000
    await worker.quotas.close()


async def test_a_store_that_a_worker_has_no_time_to_hear_does_not_count_as_away(
    store: Store, clock: ManualClock, worker: Worker
) -> None:
    store.stop_answering()
    passed = 0
    for _ in range(28):  # seven seconds in which every turn of the loop takes a quarter of one
        passed += worker.at_once(1_000)
        clock.advance(0.25)
        await asyncio.sleep(0.011)
    assert passed <= LIMITS.burst + 7 * LIMITS.requests_per_s
    assert worker.unwatched == 0
    await worker.quotas.close()


async def test_a_store_that_fails_a_worker_late_does_not_count_as_away(
    store: Store, clock: ManualClock, worker: Worker
) -> None:
    store.stop_answering()
    store.out_of_reach = True
    worker.at_once(1)
    await settle()
    clock.advance(0.8)
    store.answer()
    await settle()
    assert worker.at_once(1_000) < LIMITS.burst + LIMITS.requests_per_s
    assert worker.unwatched == 0


async def test_a_store_that_is_back_is_kept_to_again(store: Store, clock: ManualClock, worker: Worker) -> None:
    store.out_of_reach = True
    await worker.in_turn(100)
    store.out_of_reach = False
    clock.advance(0.05)
    await worker.in_turn(1)
    counted = worker.unwatched
    assert await worker.in_turn(200) <= LIMITS.burst + BLOCK
    assert worker.unwatched == counted


async def test_a_store_that_is_away_is_asked_now_and_then_and_told_of_once_a_minute(
    store: Store, clock: ManualClock, worker: Worker
) -> None:
    store.out_of_reach = True
    with capture_logs() as lines:
        for _ in range(1_000):
            clock.advance(0.01)
            await worker.in_turn(1)
        assert store.trips <= 10 / 0.05 + 1
        assert [line["event"] for line in lines] == ["quota_not_kept"]
        clock.advance(60)
        await worker.in_turn(1)
        assert [line["event"] for line in lines] == ["quota_not_kept"] * 2


async def test_closing_gives_up_the_leases_under_way(store: Store, worker: Worker) -> None:
    store.stop_answering()
    worker.at_once(1)
    worker.at_once(1, "bank")
    await settle()
    async with asyncio.timeout(0.05):
        await worker.quotas.close()
    assert store.trips == 2


async def test_a_quota_that_no_lease_could_carry_is_rounded_up_to_one_block(store: Store, clock: ManualClock) -> None:
    worker = Worker(store, clock, QuotaLimits(1_000, 1))
    assert worker.at_once(1_000) == math.ceil(1_000 / 10)
    await settle()
