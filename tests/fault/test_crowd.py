"""One application with 1,500 connections that never pauses: another one is answered, and the node stays ready."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.api.service import BASE, Caller
from tests.attack.wires import authorization, with_body
from tests.fault.resources import most_open_files, open_files
from tests.fault.test_slow_clients import calling
from tests.fault.worker_node import Node, started
from tests.unit.web.stand_ins import Wire

CONNECTIONS = 1_500
LASTING_S = 4.0
_FILES = 4_096
_PAUSE_S = 0.05
_USERS = itertools.count(1)
_HOST = b"Host: mfa.example\r\n"


def listing(authorized: bytes) -> bytes:
    """Ask for the devices of a user who has none."""
    return f"GET {BASE}/users/crowd{next(_USERS)}/mfadevices HTTP/1.1\r\n".encode() + _HOST + authorized + b"\r\n"


def pairing(authorized: bytes) -> bytes:
    """Register a device of a new user."""
    head = f"POST {BASE}/users/crowd{next(_USERS)}/mfadevices HTTP/1.1\r\n".encode() + _HOST + authorized
    return with_body(head + b"Content-Type: application/json\r\n", {"deviceType": "TOTP", "deviceName": "Phone"})


async def press(wire: Wire, until_s: float, request: Callable[[], bytes]) -> Counter[int]:
    """Ask again as soon as there is an answer, whatever it is."""
    statuses: Counter[int] = Counter()
    while time.monotonic() < until_s:
        await wire.send(request())
        async with asyncio.timeout(10):
            head = await wire.reader.readuntil(b"\r\n\r\n")
            [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            await wire.reader.readexactly(length)
        statuses[int(head[9:12])] += 1
    return statuses


async def visit(caller: Caller, until_s: float) -> Counter[tuple[int, str | None]]:
    """Be an application with a user at a time."""
    outcomes: Counter[tuple[int, str | None]] = Counter()
    while time.monotonic() < until_s:
        user = f"user{next(_USERS)}"
        outcomes[(await caller.pair(user=user)).outcome] += 1
        outcomes[(await caller.initiate(user=user)).outcome] += 1
        outcomes[(await caller.devices(user=user)).outcome] += 1
        await asyncio.sleep(_PAUSE_S)
    return outcomes


async def ask(node: Node, until_s: float) -> Counter[int]:
    """Be a load balancer."""
    statuses: Counter[int] = Counter()
    while time.monotonic() < until_s:
        status, _ = await asyncio.to_thread(node.ask, "/readyz")
        statuses[status] += 1
        await asyncio.sleep(_PAUSE_S)
    return statuses


@pytest.mark.alone
@pytest.mark.parametrize(("request_of", "answered"), [(listing, 404), (pairing, 201)])
async def test_a_crowd_of_one_application_keeps_no_other_from_being_answered(
    tmp_path: Path, request_of: Callable[[bytes], bytes], answered: int
) -> None:
    if most_open_files() < _FILES:
        pytest.skip(f"a process may not have {_FILES} open files here")
    with started(tmp_path, {}) as node, open_files(_FILES):
        await asyncio.to_thread(node.await_workers, 1, besides=frozenset())
        async with calling(node, tmp_path) as other, AsyncExitStack() as stack:
            crowd = await other.service.onboard("crowd")
            await asyncio.sleep(0.6)  # until the worker has looked for new applications
            authorized = await authorization(crowd)
            await other.bearer()
            wires = []
            for _ in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
                stack.callback(writer.close)
                wires.append(Wire(reader, writer))
            until_s = time.monotonic() + LASTING_S

            def request() -> bytes:
                return request_of(authorized)

            visiting, asking, *pressing = await gathered(
                visit(other, until_s), ask(node, until_s), *(press(wire, until_s, request) for wire in wires)
            )
        failures = [line for line in node.lines if '"upkeep_failed"' in line or '"level":"error"' in line]
    pressed: Counter[int] = sum(pressing, Counter())
    assert set(pressed) == {answered, 503}
    assert set(visiting) == {(201, None), (404, "10006"), (200, None)}
    assert visiting[(200, None)] > LASTING_S
    assert set(asking) == {200}
    assert not failures


async def gathered(*acts: Coroutine[Any, Any, Counter[Any]]) -> list[Counter[Any]]:
    """Do all of this at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(act) for act in acts]
    return [task.result() for task in tasks]
