"""Two thousand slow clients, five hundred of which never read, keep nobody else from being answered."""

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mfa_service import opening
from mfa_service import settings as settings_module
from tests.api.service import Duties, Entropy, Service
from tests.attack.outcomes import INVALID, PASS, REMOVED
from tests.attack.setups import NodesCaller, RealTime
from tests.attack.wires import authorization
from tests.fault.resources import most_open_files, open_files, resident_mib
from tests.fault.slow_clients import Slow, all_at_once
from tests.fault.worker_node import Node, started

SENDING = 750
"""Clients that send a head slowly, and as many that send a body slowly."""
NOT_READING = 500
DEADLINE_S = 20.0  # ten as it comes, and as many on a machine that others use too
GROWTH_MIB = 64

_FILES = 4_096
_SHELL_FILES = 1_024  # what a shell gives by default: the service asks for more by itself
_HEALTHY = 4
_PAUSE_S = 0.05
_log = logging.getLogger(__name__)


@asynccontextmanager
async def calling(node: Node, folder: Path) -> AsyncIterator[NodesCaller]:
    """An application of a node with embedded stores."""
    flags = {"data_dir": str(folder / "data")}
    settings = settings_module.load(config_path=None, environment={}, flags=flags).settings
    clock = RealTime()
    registry = await opening.open_registry_of(settings, clock=clock)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            service = Service(settings, clock, registry, Entropy(), Duties(), session, node.url)
            caller = await service.onboard()
            yield NodesCaller(service, caller.application, caller.client_secret)
    finally:
        await registry.close()


@asynccontextmanager
async def visiting(caller: NodesCaller) -> AsyncIterator[list[float]]:
    """Users who log in with new devices, one after another, until the block ends; every answer is the right one.

    Yields:
        How long each validation took, in seconds.
    """
    taken_s: list[float] = []
    is_over = asyncio.Event()

    async def visit(user: str) -> None:
        authenticator = await caller.enrolled(user=user)
        code = authenticator.code()
        for outcome in (PASS, INVALID):
            auth_id = await caller.challenge(user=user)
            began_s = time.monotonic()
            assert (await caller.validate(auth_id, code)).outcome == outcome
            taken_s.append(time.monotonic() - began_s)
        assert [device["status"] for device in (await caller.devices(user=user)).json] == ["ACTIVE"]
        assert (await caller.unpair(user=user)).outcome == REMOVED

    async def visits(number: int) -> None:
        count = 0
        while not is_over.is_set():
            count += 1
            await visit(f"user {number} {count}")
            await asyncio.sleep(_PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(_HEALTHY):
            group.create_task(visits(number))
        try:
            yield taken_s
        finally:
            is_over.set()


async def peak_mib(pid: int, until: asyncio.Future[Any]) -> float:
    """The most memory that a process had until something was done."""
    most = 0.0
    while not until.done():
        most = max(most, resident_mib(pid))
        await asyncio.sleep(0.1)
    return most


@pytest.mark.alone
async def test_slow_clients_are_ended_and_all_others_answered_meanwhile(tmp_path: Path) -> None:
    if most_open_files() < _FILES:
        pytest.skip(f"a process may not have {_FILES} open files here")
    with open_files(_SHELL_FILES), started(tmp_path, {}) as node:
        [pid] = await asyncio.to_thread(node.await_workers, 1, besides=frozenset())
        async with calling(node, tmp_path) as caller:
            slow = Slow(("127.0.0.1", node.port), await authorization(caller))
            async with visiting(caller) as before_s:
                await asyncio.sleep(1)
            before_mib = resident_mib(pid)
            with open_files(_FILES):
                async with visiting(caller) as meanwhile_s:
                    under_way = asyncio.gather(
                        all_at_once(SENDING, slow.send_head),
                        all_at_once(SENDING, slow.send_body),
                        all_at_once(NOT_READING, slow.never_read),
                    )
                    grown_mib = await peak_mib(pid, under_way) - before_mib
                    heads, slow_bodies, unread = await under_way
            faults = [line for line in node.lines if '"level":"error"' in line]
    for ends in (heads, slow_bodies):  # one whose byte crosses the answer may miss it
        assert {end.status for end in ends} <= {408, None}
        assert sum(end.status == 408 for end in ends) > SENDING * 0.9
    assert max(end.after_s for end in (*heads, *slow_bodies, *unread)) < DEADLINE_S
    assert len(meanwhile_s) > _HEALTHY
    assert grown_mib < GROWTH_MIB
    assert not faults
    medians_ms = [round(statistics.median(taken_s) * 1000, 1) for taken_s in (before_s, meanwhile_s)]
    _log.info("ms before and beside slow clients: %s; MiB more: %.1f", medians_ms, grown_mib)
