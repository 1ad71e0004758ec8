"""Redis fails under two nodes: 503 while it lasts, nothing accepted twice, and back without a restart."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from mfa_service.stores.redis import urls
from tests.fault.client import calling
from tests.fault.endurance import endured
from tests.fault.history import Call
from tests.fault.nodes import Site, site
from tests.fault.outcomes import UNAVAILABLE
from tests.fault.witness import Witness
from tests.servers import postgres, valkey
from tests.servers.valkey import Deployment, Server, free_port, wait_until

NEED_NO_REDIS = (Call.TOKEN, Call.LIST, Call.REMOVE)
CLUSTER_SETTINGS = {
    "cluster-node-timeout": "1500",
    "cluster-require-full-coverage": "no",
    "repl-diskless-sync-delay": "0",
}


@contextmanager
def nodes_on(deployment: Deployment, folder: Path, postgres_url: str) -> Iterator[Site]:
    """Two nodes on this Redis."""
    with (
        postgres.database(postgres_url) as database_url,
        site(folder, database_url=database_url, redis_url=deployment.url) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with valkey.standalone(tmp_path_factory.mktemp("redis") / "servers") as deployment:
        yield deployment


@pytest.fixture(scope="module")
def on_one(alone: Deployment, tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Site]:
    """Two nodes on a Redis that stands alone."""
    with nodes_on(alone, tmp_path_factory.mktemp("nodes"), postgres_url) as running:
        yield running


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Deployment]:
    """A master and its replica behind three sentinels."""
    with valkey.sentinel(tmp_path / "servers") as deployment:
        yield deployment


@pytest.fixture
def on_watched(watched: Deployment, tmp_path: Path, postgres_url: str) -> Iterator[Site]:
    with nodes_on(watched, tmp_path, postgres_url) as running:
        yield running


@pytest.fixture
def clustered(tmp_path: Path) -> Iterator[Deployment]:
    """Three masters, of which the first has a replica, the last of the servers."""
    with valkey.cluster(tmp_path / "servers") as deployment:
        first = deployment.servers[0]
        bus_port = free_port()
        options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
        replica = Server(tmp_path / "replica", *options)
        try:
            servers = (*deployment.servers, replica)
            for server in servers:
                for name, value in CLUSTER_SETTINGS.items():
                    server.command("CONFIG", "SET", name, value)
            first.command("CLUSTER", "MEET", "127.0.0.1", replica.port, bus_port)
            first_id = first.text("CLUSTER", "MYID")
            wait_until(lambda: first_id in replica.text("CLUSTER", "NODES"), "a replica that knows its master")
            replica.command("CLUSTER", "REPLICATE", first_id)
            wait_until(lambda: replica.facts("replication").get("master_link_status") == "up", "a replica in step")
            known = replica.text("CLUSTER", "MYID")
            wait_until(
                lambda: all(f"{known} " in one.text("CLUSTER", "NODES") for one in servers), "a replica that all know"
            )
            yield Deployment(deployment.url, servers)
        finally:
            replica.kill()


@pytest.fixture
def on_clustered(clustered: Deployment, tmp_path: Path, postgres_url: str) -> Iterator[Site]:
    with nodes_on(clustered, tmp_path, postgres_url) as running:
        yield running


async def test_a_redis_that_comes_back_empty_costs_the_open_challenges_and_nothing_else(
    alone: Deployment, on_one: Site
) -> None:
    [server] = alone.servers
    async with calling(on_one) as callers:
        witness = Witness(callers[0], on_one)
        await witness.come()

        async def meanwhile() -> None:
            assert (await callers[0].initiate(on_one.nodes[0], witness.device)).outcome == UNAVAILABLE
            await witness.leave()
            await asyncio.sleep(0.5)

        await endured(callers, on_one, breaks=server.kill, meanwhile=meanwhile, mends=server.start)
        await witness.testify(challenge_is_kept=False)


@pytest.mark.alone
async def test_a_redis_that_does_not_answer_costs_a_503_within_a_second(alone: Deployment, on_one: Site) -> None:
    [server] = alone.servers
    async with calling(on_one) as callers:
        witness = Witness(callers[0], on_one)
        await witness.come()

        async def meanwhile() -> None:
            stalled = (callers[0].initiate(node, witness.device) for node in on_one.nodes)
            assert {one.outcome for one in await asyncio.gather(*stalled)} == {UNAVAILABLE}
            await witness.leave()
            await asyncio.sleep(0.5)

        fault = await endured(callers, on_one, breaks=server.pause, meanwhile=meanwhile, mends=server.resume)
        await witness.testify(challenge_is_kept=True)
    touched = on_one.history.during(fault)
    assert max(one.answered_s - one.sent_s for one in touched) <= 1
    assert not any(one.is_unknown for one in touched if one.call in NEED_NO_REDIS)


async def test_the_master_that_the_sentinels_name_instead_of_a_dead_one_is_used(
    watched: Deployment, on_watched: Site
) -> None:
    master, replica = watched.servers
    address = [b"127.0.0.1", str(replica.port).encode()]
    sentinels = [redis.Redis(host, port) for host, port in urls.parse(watched.url).addresses]

    def name_the_replica() -> bool:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", valkey.SERVICE)
        named = [one.execute_command(*question) for one in sentinels]  # type: ignore[no-untyped-call] # redis-py's
        return named == [address] * len(sentinels) and replica.facts("replication")["role"] == "master"

    async with calling(on_watched) as callers:
        witness = Witness(callers[0], on_watched)
        await witness.come()
        await endured(
            callers,
            on_watched,
            breaks=master.kill,
            meanwhile=witness.leave,
            mends=lambda: wait_until(name_the_replica, "a new master"),
        )
        await witness.testify(challenge_is_kept=True)
    for one in sentinels:
        one.close()


async def test_a_dead_master_of_a_cluster_costs_its_slots_until_its_replica_takes_them(
    clustered: Deployment, on_clustered: Site
) -> None:
    first, *others, replica = clustered.servers
    lost_slots = range(5461)

    def has_taken_over() -> bool:
        servers = (*others, replica)
        is_known = all(f"{replica.port}@" in line for one in servers for line in _masters_of(one, 0))
        return is_known and replica.facts("replication")["role"] == "master"

    async with calling(on_clustered) as callers:
        witness = Witness(callers[0], on_clustered)
        await witness.come()
        fault = await endured(
            callers,
            on_clustered,
            breaks=first.kill,
            meanwhile=witness.leave,
            mends=lambda: wait_until(has_taken_over, "a replica that takes over"),
        )
        await witness.testify(challenge_is_kept=True)
    touched = [one for one in on_clustered.history.during(fault) if one.call in (Call.ACTIVATE, Call.VALIDATE)]
    slots = {one: key_slot(f"{on_clustered.key_prefix}:c:{one.auth_id}".encode()) for one in touched}
    assert {slots[one] in lost_slots for one in touched if one.is_unknown} == {True}
    assert {slots[one] in lost_slots for one in touched if one.passed} >= {False}


def _masters_of(server: Server, slot: int) -> list[str]:
    """The lines of the masters that a server believes to have the slots from this one on."""
    lines = server.text("CLUSTER", "NODES").splitlines()
    return [line for line in lines if any(word.startswith(f"{slot}-") for word in line.split()[8:])]
