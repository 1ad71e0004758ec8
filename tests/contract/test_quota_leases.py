"""The contract of `QuotaLeases`, held by every store: process memory, Redis as fakeredis plays it, and real Valkey."""

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import fakeredis
import pytest

from mfa_service.errors import StoreUnavailable
from mfa_service.model import QuotaLimits
from mfa_service.ports import QuotaLeases
from mfa_service.stores.memory_leases import MemoryQuotaLeases
from mfa_service.stores.redis import RedisQuotaLeases, open_client
from mfa_service.stores.redis.client import Client, Standalone
from mfa_service.stores.redis.link import connect
from mfa_service.stores.redis.node import Node
from tests.clocks import ManualClock

if TYPE_CHECKING:
    from tests.servers.valkey import Deployment

DEPLOYMENTS = {"valkey": "valkey", "sentinel": "valkey_sentinel", "cluster": "valkey_cluster"}  # to fixtures
DEADLINE_S = 0.8
SLOW = QuotaLimits(requests_per_s=1, burst=10)  # so slow that a test sees none flow in unless it waits


@dataclass(frozen=True)
class Subject:
    """A store under test, how time passes for it, and what a second worker would have."""

    leases: QuotaLeases
    pass_time: Callable[[float], Awaitable[None]]
    another: Callable[[], Awaitable[QuotaLeases]]

    async def take(self, application_id: str, wanted: int, limits: QuotaLimits = SLOW) -> int:
        return (await self.leases.lease(application_id, wanted, limits)).granted


def an_application() -> str:
    return uuid.uuid4().hex


def fake_client(server: fakeredis.FakeServer) -> Client:
    """Return a client of fakeredis, without the checks at start-up, for it has no INFO."""
    opens = partial(connect, fakeredis.FakeAsyncRedisConnection, ("fake", 1), {"server": server})
    return Client(Standalone(Node(("fake", 1), opens, deadline_s=DEADLINE_S)), deadline_s=DEADLINE_S)


@pytest.fixture(params=("memory", "fakeredis", *DEPLOYMENTS))
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with contextlib.AsyncExitStack() as stack:

        def keep(client: Client) -> RedisQuotaLeases:
            stack.push_async_callback(client.close)
            return RedisQuotaLeases(client, prefix="mfa:")

        match request.param:
            case "memory":
                clock = ManualClock()
                memory = MemoryQuotaLeases(clock)

                async def advance(seconds: float) -> None:
                    clock.advance(seconds)

                async def same() -> QuotaLeases:
                    return memory

                yield Subject(memory, advance, same)
            case "fakeredis":
                server = fakeredis.FakeServer(server_type="redis")

                async def another_fake() -> QuotaLeases:
                    return keep(fake_client(server))

                yield Subject(await another_fake(), asyncio.sleep, another_fake)
            case kind:
                elsewhere = os.environ.get("MFA_TEST_REDIS_URL") if kind == "valkey" else None
                url = elsewhere or request.getfixturevalue(DEPLOYMENTS[kind]).url

                async def another() -> QuotaLeases:
                    return keep(await open_client(url, prefix="mfa:", deadline_s=DEADLINE_S, leases=True))

                yield Subject(await another(), asyncio.sleep, another)


async def test_a_bucket_is_full_at_first_and_gives_no_more_than_it_holds(subject: Subject) -> None:
    application_id = an_application()
    first = await subject.leases.lease(application_id, 4, SLOW)
    assert (first.granted, first.left) == (4, 6.0)
    second = await subject.leases.lease(application_id, 10, SLOW)
    assert second.granted == 6
    assert 0 <= second.left < 1
    assert await subject.take(application_id, 10) == 0


async def test_each_application_has_a_bucket_of_its_own(subject: Subject) -> None:
    one, other = an_application(), an_application()
    assert await subject.take(one, 10) == 10
    assert [await subject.take(one, 1), await subject.take(other, 10)] == [0, 10]


async def test_it_fills_at_its_rate_and_not_beyond_its_burst(subject: Subject) -> None:
    application_id, limits = an_application(), QuotaLimits(requests_per_s=20, burst=10)
    assert await subject.take(application_id, 10, limits) == 10
    await subject.pass_time(0.2)
    assert 4 <= await subject.take(application_id, 10, limits) <= 6
    await subject.pass_time(0.6)
    assert await subject.take(application_id, 50, limits) == 10


async def test_what_flows_in_between_many_small_leases_is_not_lost(subject: Subject) -> None:
    application_id, limits = an_application(), QuotaLimits(requests_per_s=20, burst=10)
    await subject.take(application_id, 10, limits)
    taken = 0
    for _ in range(40):
        await subject.pass_time(0.01)
        taken += await subject.take(application_id, 1, limits)
    assert 7 <= taken <= 12  # 8 in the 0.4 s, and in what the trips took besides


async def test_parallel_leases_of_two_workers_take_each_request_once(subject: Subject) -> None:
    application_id = an_application()
    workers = (subject.leases, await subject.another())
    leases = await asyncio.gather(*(workers[number % 2].lease(application_id, 1, SLOW) for number in range(50)))
    assert sum(lease.granted for lease in leases) == 10


async def test_a_large_quota_is_counted_exactly(subject: Subject) -> None:
    application_id, limits = an_application(), QuotaLimits(requests_per_s=1, burst=1_000_000)
    lease = await subject.leases.lease(application_id, 999_999, limits)
    assert (lease.granted, lease.left) == (999_999, 1.0)


# What is true of Redis and Valkey alone


async def test_a_bucket_is_one_key_that_is_gone_when_it_would_be_full(valkey: "Deployment") -> None:
    [server] = valkey.servers
    client = await open_client(valkey.url, prefix="quota:", leases=True)
    await RedisQuotaLeases(client, prefix="quota:").lease("shop", 3, QuotaLimits(10, 100))
    await client.close()
    assert [key for key in server.client.scan_iter("quota:q:*") if b"startup" not in key] == [b"quota:q:shop"]
    level, at_ms = cast("bytes", server.client.get("quota:q:shop")).split(b":")
    seconds, micros = server.client.time()
    assert level == b"97000"
    assert 0 <= seconds * 1000 + micros // 1000 - int(at_ms) < 5_000
    assert 0 < server.client.pttl("quota:q:shop") <= 301


async def test_a_clock_set_back_neither_fills_nor_empties_a_bucket(valkey: "Deployment") -> None:
    [server] = valkey.servers
    application_id = an_application()
    seconds, _ = server.client.time()
    server.client.set(f"mfa:q:{application_id}", f"2500:{(seconds + 3_600) * 1000}", px=60_000)
    client = await open_client(valkey.url, prefix="mfa:", leases=True)
    lease = await RedisQuotaLeases(client, prefix="mfa:").lease(application_id, 10, SLOW)
    await client.close()
    assert (lease.granted, lease.left) == (2, 0.5)


async def test_a_server_that_goes_away_gives_no_lease_until_it_is_back() -> None:
    server = fakeredis.FakeServer(server_type="redis")
    client = fake_client(server)
    leases = RedisQuotaLeases(client, prefix="mfa:")
    assert (await leases.lease("shop", 4, SLOW)).granted == 4
    server.connected = False
    with pytest.raises(StoreUnavailable):
        await leases.lease("shop", 1, SLOW)
    server.connected = True
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(StoreUnavailable):
                assert (await leases.lease("shop", 10, SLOW)).granted >= 6
                break
            await asyncio.sleep(0.05)
    await client.close()
