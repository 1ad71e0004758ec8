"""The whole service over HTTP, with a clock that stands still until a test moves it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.api.service import Caller, Service, serving
from tests.clocks import ManualClock


class Serve(Protocol):
    """Starts a service with some settings that are not as they come."""

    async def __call__(self, flags: Mapping[str, object]) -> Service: ...


@pytest.fixture
def clock() -> ManualClock:
    """The time of the service, its database and the authenticators; it begins where a time step does."""
    return ManualClock()


@pytest.fixture
async def serve(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Serve]:
    """Starts services that end with the test."""
    async with AsyncExitStack() as stack:

        async def start(flags: Mapping[str, object]) -> Service:
            return await stack.enter_async_context(serving(tmp_path, clock, flags))

        yield start


@pytest.fixture
async def service(serve: Serve) -> Service:
    """A service with the settings as they come."""
    return await serve({})


@pytest.fixture
async def shop(service: Service) -> Caller:
    """An application onboarded to it."""
    return await service.onboard("shop")
