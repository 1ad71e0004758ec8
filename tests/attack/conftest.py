"""The service as attackers meet it, in both set-ups; each module of tests has one of each, and a test its application.

Tests and fixtures of a module share one event loop, in which its services run.
"""

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.conftest import Serve
from tests.api.service import Caller, Service, serving
from tests.attack.setups import TwoNodes, on_two_nodes
from tests.attack.wires import authorization
from tests.clocks import ManualClock
from tests.fault.nodes import Site, site
from tests.servers import postgres
from tests.servers.valkey import Deployment

_LONGEST_PERIOD_MS = 60_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module here in one event loop."""
    for item in items:
        if Path(__file__).parent in item.path.parents and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The time of the services here and of their authenticators."""
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedded(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One worker with embedded stores and the settings as they come."""
    async with serving(tmp_path_factory.mktemp("embedded"), clock) as running:
        yield running


@pytest.fixture(scope="session")
def attacked_site(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, valkey: Deployment) -> Iterator[Site]:
    """Two nodes on the servers that other tests use as well."""
    with (
        postgres.database(postgres_url) as database_url,
        site(tmp_path_factory.mktemp("attacked"), database_url=database_url, redis_url=valkey.url) as running,
    ):
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(attacked_site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoNodes]:
    """Two nodes as one service."""
    async with on_two_nodes(attacked_site, tmp_path_factory.mktemp("here")) as running:
        yield running


@pytest.fixture(scope="module", params=["embedded", "nodes"])
def anywhere(request: pytest.FixtureRequest) -> Service:
    """The service on one worker with embedded stores, and on two nodes with Valkey and PostgreSQL."""
    running: Service = request.getfixturevalue(request.param)
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def caller(anywhere: Service) -> Caller:
    """An application of its own on either."""
    return await onboarded(anywhere)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(embedded: Service) -> Caller:
    """An application of its own on the one worker."""
    return await onboarded(embedded)


@pytest_asyncio.fixture(loop_scope="module")
async def known(caller: Caller) -> bytes:
    """The header line of a caller whose user alice has one active device."""
    await caller.enrolled()
    return await authorization(caller)


async def onboarded(service: Service) -> Caller:
    """Onboard an application; a clock that can be moved goes to where a time step of any device begins."""
    if not isinstance(service, TwoNodes):
        await service.advance((_LONGEST_PERIOD_MS - service.clock.now_ms() % _LONGEST_PERIOD_MS) / 1000)
    return await service.onboard(f"shop {service.entropy(8).hex()}")


@pytest_asyncio.fixture(loop_scope="module")
async def serve(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Serve]:
    """Starts services of other settings that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(flags: Mapping[str, object]) -> Service:
            return await stack.enter_async_context(serving(tmp_path, clock, flags))

        yield start
