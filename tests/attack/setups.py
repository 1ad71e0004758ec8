"""The two set-ups that attacks are tried on: one worker with embedded stores, and two nodes on Valkey and PostgreSQL.

Both are the same `Service` and `Caller` to a test. On two nodes every request goes to the next node, time is real,
and an authenticator's time step is as long as there is.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from mfa_service import opening
from mfa_service import settings as settings_module
from mfa_service.access.applications import new_application
from tests.api.authenticator import Authenticator
from tests.api.service import BOTH_SCOPES, DEVICE, USER, Caller, Duties, Entropy, Response, Service
from tests.clocks import ManualClock
from tests.fault.nodes import MAX_ATTEMPTS, Site

_NUMBERS = itertools.count(1)
_PERIOD_S = 60
_MARGIN_S = 2.0


class RealTime(ManualClock):
    """The machine's own time, which no test moves."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()

    def advance(self, seconds: float) -> None:
        """Refuse to move."""
        raise AssertionError(f"real time cannot be moved by {seconds} s")


@dataclass(frozen=True)
class TwoNodes(Service):
    """The nodes of a site as one service, whose registry is open here as well.

    Attributes:
        turns: the nodes' URLs, each in its turn.
    """

    site: Site
    turns: Iterator[str] = field(repr=False)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def onboard(self, name: str = "shop", scopes: Iterable[str] = BOTH_SCOPES) -> "NodesCaller":
        """Onboard an application, whose name gets a number."""
        application, client_secret = new_application(
            f"{name} {next(_NUMBERS)}", frozenset(scopes), clock=self.clock, random_bytes=self.entropy
        )
        await self.registry.applications.add(application)
        return NodesCaller(self, application, client_secret)

    async def send(self, method: str, path: str, **given: Any) -> Response:  # noqa: ANN401  what aiohttp takes
        """Send one request to the next node."""
        return await Service.send(replace(self, url=next(self.turns)), method, path, **given)


class NodesCaller(Caller):
    """An application that calls the nodes."""

    async def pending(self, device: str = DEVICE, *, user: str = USER, **options: object) -> tuple[Authenticator, str]:
        """A device that waits for its first code."""
        return await super().pending(device, user=user, **{"period": _PERIOD_S, **options})

    async def enrolled(self, device: str = DEVICE, *, user: str = USER, **options: object) -> Authenticator:
        """An active device whose authenticator shows a code that has not been used: it was activated by the last."""
        left_s = _PERIOD_S - time.time() % _PERIOD_S
        if left_s < _MARGIN_S:
            await asyncio.sleep(left_s)
        authenticator, auth_id = await self.pending(device, user=user, **options)
        assert (await self.activate(auth_id, authenticator.code(steps=-1), user=user)).status == 200
        return authenticator


async def neighbour(caller: Caller) -> Caller:
    """Another application on the same service."""
    return await caller.service.onboard(f"bank {caller.service.entropy(8).hex()}")


@asynccontextmanager
async def on_two_nodes(site: Site, folder: Path) -> AsyncIterator[TwoNodes]:
    """Give the nodes of a site as one service.

    Args:
        site: running.
        folder: for what opening the registry here may write.
    """
    settings = settings_module.load(
        config_path=None,
        environment={},
        flags={
            "data_dir": str(folder),
            "database.url": site.database_url,
            "challenge.max_attempts": MAX_ATTEMPTS,
        },
    ).settings
    clock = RealTime()
    registry = await opening.open_registry_of(settings, clock=clock)
    try:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20), connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            yield TwoNodes(
                settings=settings,
                clock=clock,
                registry=registry,
                entropy=Entropy(),
                duties=Duties(),
                session=session,
                url=site.nodes[0].url,
                site=site,
                turns=itertools.cycle(node.url for node in site.nodes),
            )
    finally:
        await registry.close()
