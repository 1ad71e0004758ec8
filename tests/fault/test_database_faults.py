"""PostgreSQL fails under two nodes: 503 while it lasts, and what was acknowledged is there when it is back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.client import calling
from tests.fault.endurance import endured
from tests.fault.nodes import Site, site
from tests.fault.outcomes import UNAVAILABLE
from tests.fault.witness import Witness
from tests.servers import postgres


@pytest.fixture
def mortal_server() -> Iterator[postgres.Server]:
    """A PostgreSQL as careful about its disk as it comes."""
    with postgres.server() as running:
        yield running


@pytest.fixture
def on_mortal(mortal_server: postgres.Server, tmp_path: Path, redis_url: str) -> Iterator[Site]:
    with (
        postgres.database(mortal_server.url("postgres")) as database_url,
        site(tmp_path, database_url=database_url, redis_url=redis_url) as running,
    ):
        yield running


async def test_a_killed_postgresql_costs_503s_and_nothing_that_was_acknowledged(
    mortal_server: postgres.Server, on_mortal: Site
) -> None:
    async with calling(on_mortal) as callers:
        witness = Witness(callers[0], on_mortal)
        await witness.come()

        async def meanwhile() -> None:
            listings = [callers[0].list(node, witness.device.user) for node in on_mortal.nodes]
            openings = [callers[0].initiate(node, witness.device) for node in on_mortal.nodes]
            assert {one.outcome for one in await asyncio.gather(*listings, *openings)} == {UNAVAILABLE}
            await asyncio.sleep(0.5)

        await endured(callers, on_mortal, breaks=mortal_server.crash, meanwhile=meanwhile, mends=mortal_server.start)
        await witness.testify(challenge_is_kept=True)
