"""Attacks by connections: slow, idle, of another version or for another purpose, and given up."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.api.conftest import Serve
from tests.api.service import Caller
from tests.attack.cases import attack
from tests.attack.outcomes import OPENED
from tests.attack.scale import seconds, times
from tests.attack.setups import TwoNodes
from tests.attack.wires import (
    BODY,
    CHALLENGES,
    HOST,
    JSON,
    LENGTH,
    LISTING,
    REMOVAL,
    authorization,
    connected,
    head,
    raw,
    refuse_other,
    with_body,
)
from tests.unit.web.stand_ins import Wire


@attack("H-09")
async def test_a_thousand_slow_heads_are_ended_and_keep_nobody_waiting(serve: Serve) -> None:
    timeout_s = seconds(10)
    shop = await (await serve({"http.header_timeout_s": int(timeout_s)})).onboard()
    await shop.enrolled()
    begun = head("GET", LISTING, HOST)
    async with AsyncExitStack() as stack:
        wires = []
        for _ in range(times(1_000)):
            wires.append(await stack.enter_async_context(connected(shop.service)))
            await wires[-1].send(begun[:1])  # a connection on which nothing came is closed without a word
        began_s = time.monotonic()
        slow = [asyncio.create_task(trickle(wire, begun[1:], pause_s=timeout_s / 2)) for wire in wires]
        waited_s = []
        while not all(task.done() for task in slow):
            asked_s = time.monotonic()
            assert (await shop.devices()).status == 200
            waited_s.append(time.monotonic() - asked_s)
            await asyncio.sleep(timeout_s / 20)
        assert await asyncio.gather(*slow) == [408] * len(wires)
        assert time.monotonic() - began_s < timeout_s * 1.5 + 3
    assert sorted(waited_s)[len(waited_s) // 2] < 1


async def trickle(wire: Wire, octets: bytes, *, pause_s: float) -> int:
    """Send octets one by one until there is an answer; return its status."""
    answered = asyncio.create_task(wire.reader.readuntil(b"\r\n\r\n"))
    for octet in octets:
        wire.writer.write(bytes([octet]))
        await asyncio.wait({answered}, timeout=pause_s)
        if answered.done():
            break
    return int((await answered).split()[1])


@attack("H-10")
async def test_a_slow_body_is_ended(serve: Serve) -> None:
    timeout_s = seconds(10)
    shop = await (await serve({"http.body_timeout_s": int(timeout_s)})).onboard()
    begun = head("POST", CHALLENGES, HOST, JSON, await authorization(shop)) + LENGTH + b"\r\n"
    async with connected(shop.service) as wire:
        await wire.send(begun)
        began_s = time.monotonic()
        assert await trickle(wire, BODY, pause_s=timeout_s / 2) == 408
        assert time.monotonic() - began_s < timeout_s * 1.5 + 1


@attack("H-11")
async def test_countless_idle_connections_leave_room_for_new_ones(nodes: TwoNodes) -> None:
    caller = await nodes.onboard()
    await caller.enrolled()
    request = head("GET", LISTING, HOST, await authorization(caller)) + b"\r\n"
    async with AsyncExitStack() as stack:
        for number in range(times(10_000)):
            wire = await stack.enter_async_context(connected(nodes))
            if number % 10 == 0:  # some are idle after a request, the others before any
                await wire.send(request)
                assert (await wire.response()).status == 200
        taken_s = []
        for _ in range(21):
            began_s = time.monotonic()
            assert (await raw(nodes, request))[0].status == 200
            taken_s.append(time.monotonic() - began_s)
    assert sorted(taken_s)[10] < 0.05


@attack("H-12")
@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_no_connection_is_upgraded_and_nothing_follows_on_its_authority(
    caller: Caller, known: bytes, protocol: bytes
) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\nUpgrade: " + protocol + b"\r\n"
    first = head("GET", LISTING, HOST, known, upgrade, b"Sec-WebSocket-Key: AA==\r\nSec-WebSocket-Version: 13\r\n")
    async with connected(caller.service) as wire:
        await wire.send(first + b"\r\n" + REMOVAL + b"\r\n")
        assert (await wire.response()).status != 101
        rest = await asyncio.wait_for(wire.reader.read(), 5)
    assert rest == b"" or rest.startswith(b"HTTP/1.1 401 ")
    assert len((await caller.devices()).json) == 1


@attack("H-19")
@pytest.mark.parametrize(
    ("version", "line", "connection"),
    [
        *(("1.1", b"", None), ("1.1", b"Connection: close\r\n", "close"), ("1.0", b"", "close")),
        *(("1.0", b"Connection: keep-alive\r\n", "keep-alive"), ("1.1", b"Connection: Close, x\r\n", "close")),
    ],
)
async def test_a_connection_ends_as_its_version_has_it(
    caller: Caller, known: bytes, version: str, line: bytes, connection: str | None
) -> None:
    request = head("GET", LISTING, HOST, known, line, version=version) + b"\r\n"
    async with connected(caller.service) as wire:
        await wire.send(request)
        response = await wire.response()
        assert (response.status, response.header("Connection")) == (200, connection)
        if connection == "close":
            assert await wire.is_closed()
        else:
            await wire.send(request)
            assert (await wire.response()).status == 200


@attack("H-19")
@pytest.mark.parametrize(
    "octets",
    [
        *(b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        *(
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / http/1.1\r\nHost: a\r\n\r\n",
        ),
        *(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", b"GET / HTTP/1.1.1\r\nHost: a\r\n\r\n"),
    ],
    ids=ascii,
)
async def test_what_is_no_http_1_is_told_so(caller: Caller, octets: bytes) -> None:
    response, closed = await raw(caller.service, octets)
    refuse_other(response, 400)
    assert closed


@attack("H-20")
async def test_a_caller_that_closes_its_half_gets_its_answer_or_a_clean_end(caller: Caller, known: bytes) -> None:
    for request in (
        head("GET", LISTING, HOST, known) + b"\r\n",
        with_body(head("POST", CHALLENGES, HOST, JSON, known), BODY),
        head("POST", CHALLENGES, HOST, JSON, known) + LENGTH + b"\r\n" + BODY[:10],
        head("GET", LISTING, HOST),
    ):
        async with connected(caller.service) as wire:
            await wire.send(request)
            wire.writer.write_eof()
            answered = await asyncio.wait_for(wire.reader.read(), 5)
        assert answered == b"" or answered.startswith((b"HTTP/1.1 20", b"HTTP/1.1 400"))
        assert (await caller.devices()).status == 200


@attack("H-20")
async def test_a_caller_that_goes_away_costs_nobody_anything(caller: Caller, known: bytes) -> None:
    request = with_body(head("POST", CHALLENGES, HOST, JSON, known), BODY)
    for length in (1, 20, len(request) - 5, len(request)):
        for _ in range(10):
            async with connected(caller.service) as wire:
                await wire.send(request[:length])
                wire.writer.transport.abort()
    assert (await caller.initiate()).outcome == OPENED
