"""Nodes behind a load balancer are restarted one after another, and no caller notices."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.client import calling
from tests.fault.load import visited
from tests.fault.nodes import Site, site
from tests.servers import postgres
from tests.servers.haproxy import Backend, Balancer, balancing

DRAIN_S = 1
VISITS_PER_S = 20
"""Of about fifteen requests each."""


@pytest.fixture
def draining_nodes(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Site]:
    """Two nodes that stay for a moment after they have said that they are about to end."""
    with (
        postgres.database(postgres_url) as database_url,
        site(tmp_path, database_url=database_url, redis_url=redis_url, drain_s=DRAIN_S) as running,
    ):
        yield running


@pytest.fixture
def balancer(tmp_path: Path, draining_nodes: Site) -> Iterator[Balancer]:
    """What stands before them."""
    backends = [Backend(node.name, node.port, node.operations_port) for node in draining_nodes.nodes]
    with balancing(tmp_path, backends) as running:
        yield running


async def test_a_rolling_restart_and_a_replacement_of_all_workers_fail_no_request(
    draining_nodes: Site, balancer: Balancer
) -> None:
    everywhere = (balancer, balancer)
    async with calling(draining_nodes) as callers:
        async with visited(callers, everywhere, visits_per_s=VISITS_PER_S) as load:
            await asyncio.sleep(1)
            for node in draining_nodes.nodes:
                assert await asyncio.to_thread(node.stop) == 0
                assert not await asyncio.to_thread(balancer.is_up, node.name)
                node.start()
                await asyncio.to_thread(node.wait)
                await asyncio.to_thread(balancer.wait, node.name)
            await asyncio.gather(*(asyncio.to_thread(node.replace_workers) for node in draining_nodes.nodes))
            await asyncio.sleep(0.5)
        assert load.diverted() == []
        await load.look_back(everywhere)
    assert set(balancer.lost().values()) == {0}
    assert all(balancer.answered().values())
