"""Attacks by what is no HTTP, or too much of it."""

import asyncio
import contextlib
import gzip
import itertools
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.api.service import Caller, serving
from tests.attack.cases import attack
from tests.attack.memory import resident_bytes
from tests.attack.outcomes import OPENED, OTHER_MEDIA
from tests.attack.setups import TwoNodes
from tests.attack.wires import (
    BODY,
    CHALLENGES,
    CHUNKED,
    HOST,
    JSON,
    LENGTH,
    LISTING,
    REMOVAL,
    authorization,
    chunks,
    connected,
    head,
    raw,
    refuse_other,
)
from tests.clocks import ManualClock
from tests.servers.haproxy import Backend, balancing

LIMIT = 16_384
FULL = BODY[:-1] + b" " * (LIMIT - len(BODY)) + b"}"


@attack("H-01")
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + FULL + b" ",
        CHUNKED + b"\r\n" + chunks(FULL, b" "),
        b"Content-Length: 1073741824\r\n\r\n" + b" " * 1_000,
        CHUNKED + b"\r\n40000000\r\n" + b" " * 80_000,
    ],
    ids=["length", "chunked", "announced", "unfinished chunk"],
)
async def test_a_body_over_the_limit_is_not_taken_in(caller: Caller, known: bytes, rest: bytes) -> None:
    response, closed = await raw(caller.service, head("POST", CHALLENGES, HOST, JSON, known) + rest)
    refuse_other(response, 413)
    assert closed
    assert (await caller.initiate()).outcome == OPENED


@attack("H-01")
async def test_a_body_of_the_limit_is_taken_in(caller: Caller, known: bytes) -> None:
    for rest in (b"Content-Length: %d\r\n\r\n" % LIMIT + FULL, CHUNKED + b"\r\n" + chunks(FULL)):
        response, _ = await raw(caller.service, head("POST", CHALLENGES, HOST, JSON, known) + rest)
        assert response.status == 201


@attack("H-02")
@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"Content-Type: \r\n", b"Content-Type: text/plain\r\n", b"Content-Type: text/json\r\n"),
        *(b"Content-Type: application/json; charset=utf-16\r\n", b"Content-Type: application/jsonx\r\n"),
        *(b"Content-Type: application/x-www-form-urlencoded\r\n", b"Content-Type: application/xml\r\n"),
        *(b"Content-Type: multipart/form-data; boundary=x\r\n", b"Content-Type: application/json, text/plain\r\n"),
    ],
    ids=lambda line: line.decode().strip(),
)
async def test_a_body_of_another_type_is_not_read(shop: Caller, line: bytes) -> None:
    await shop.enrolled()
    known = await authorization(shop)
    response, _ = await raw(shop.service, head("POST", CHALLENGES, HOST, line, known) + LENGTH + b"\r\n" + BODY)
    refuse_other(response, 415)


AMBIGUOUS = {
    "length and chunked": LENGTH + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked and length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\n" + LENGTH + b"\r\n",
    "two equal lengths": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "length with a sign": b"Content-Length: +5\r\n\r\n12345",
    "list of lengths": b"Content-Length: 0, 0\r\n\r\n",
    "negative length": b"Content-Length: -5\r\n\r\n",
    "length in other digits": "Content-Length: \u0665\r\n\r\n12345".encode(),
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding with a tab": b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "blank before a length's colon": b"Content-Length : 0\r\n\r\n",
    "bare LF": b"X-A: a\nContent-Length: 0\n\n",
    "bare CR": b"X-A: a\rContent-Length: 0\r\n\r\n",
    "NUL in a value": b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": b"X\0A: a\r\nContent-Length: 0\r\n\r\n",
    "header without a colon": b"X-A\r\nContent-Length: 0\r\n\r\n",
    "header that begins with a blank": b" X-A: a\r\nContent-Length: 0\r\n\r\n",
    "chunk size with a prefix": CHUNKED + b"\r\n0x0\r\n\r\n",
    "chunk size with a sign": CHUNKED + b"\r\n+0\r\n\r\n",
    "chunk size with a blank": CHUNKED + b"\r\n 0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"\r\n1\n \n0\n\n",
    "chunk longer than it says": CHUNKED + b"\r\n1\r\n  \r\n0\r\n\r\n",
    "LF in a chunk extension": CHUNKED + b"\r\n1;a\nb\r\n \r\n0\r\n\r\n",
    "chunk size beyond counting": CHUNKED + b"\r\n1" + b"0" * 40 + b"\r\n \r\n0\r\n\r\n",
}


@attack("H-04")
@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_framing_that_can_be_read_in_two_ways_is_refused_with_all_that_follows(
    caller: Caller, known: bytes, rest: bytes
) -> None:
    request = head("POST", CHALLENGES, HOST, JSON, known) + rest + REMOVAL + known + b"\r\n"
    response, closed = await raw(caller.service, request)
    refuse_other(response, 400)
    assert closed
    assert len((await caller.devices()).json) == 1


@attack("H-04")
async def test_behind_a_balancer_no_node_gets_a_request_that_the_balancer_has_not_seen(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    caller = await nodes.onboard()
    await caller.enrolled()
    known = await authorization(caller)
    backends = [Backend(node.name, node.port, node.operations_port) for node in nodes.site.nodes]
    with balancing(tmp_path, backends) as balancer:
        before = handled(nodes)
        behind = replace(nodes, turns=itertools.repeat(balancer.url))
        for rest in AMBIGUOUS.values():
            async with connected(behind) as wire:
                await wire.send(head("POST", CHALLENGES, HOST, JSON, known) + rest + REMOVAL + b"\r\n")
                answered = b""
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        while piece := await wire.reader.read(65_536):
                            answered += piece
            assert b"HTTP/1.1 5" not in answered
        seen = sum(balancer.answered().values())
        assert 0 < handled(nodes) - before <= seen
    assert len((await caller.devices()).json) == 1


def handled(nodes: TwoNodes) -> int:
    """How many requests the nodes have answered."""
    return sum(len(node._events("request")) for node in nodes.site.nodes)


@attack("H-05")
async def test_countless_chunks_and_trailers_cost_little(shop: Caller) -> None:
    await shop.enrolled()
    begun = head("POST", CHALLENGES, HOST, JSON, await authorization(shop), CHUNKED) + b"\r\n"
    padded = BODY[:-1] + b" " * (10_000 - len(BODY)) + b"}"
    for rest, statuses in (
        (chunks(*(bytes([octet]) for octet in padded)), (201,)),
        (b"1;" + b"a" * 9_000 + b"\r\n \r\n0\r\n\r\n", (400, 413, 431)),
        (b"0\r\n" + b"X-T: a\r\n" * 10_000 + b"\r\n", (400, 413, 431)),
    ):
        taken_s = []
        for _ in range(3):
            began_s = time.process_time()
            response, _ = await raw(shop.service, begun + rest)
            taken_s.append(time.process_time() - began_s)
            assert response.status in statuses
        assert min(taken_s) < 0.05


@attack("H-06")
async def test_a_long_head_or_one_of_nonsense_is_refused_or_ignored_with_one_line(
    tmp_path: Path, clock: ManualClock
) -> None:
    log = Lines()
    async with serving(tmp_path, clock, log=log) as service:
        shop = await service.onboard()
        await shop.enrolled()
        known = await authorization(shop)
        for lines, statuses in (
            (b"X-A: " + b"a" * LIMIT + b"\r\n", (431,)),
            (b"a" * LIMIT + b": a\r\n", (431,)),
            (b"".join(b"X-%d: a\r\n" % number for number in range(200)), (431,)),
            (b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1_000) for number in range(40)), (200, 431)),
            (b"Cookie: " + b"=;,[" * 2_000 + b"\r\n", (200,)),
            (b"Accept: " + b"*/*," * 2_000 + b"\r\n", (200,)),
            (b"Traceparent: " + b"0" * 8_000 + b"\r\n", (200,)),
        ):
            log.written = 0
            response, _ = await raw(service, head("GET", LISTING, HOST, known, lines) + b"\r\n")
            assert (response.status in statuses, log.written, len(response.body) < 1_000) == (True, 1, True)


class Lines:
    """Counts the lines of the request log."""

    written = 0

    def request(self, **_: object) -> None:
        """Count one."""
        self.written += 1


@attack("H-07")
@pytest.mark.parametrize(
    "line",
    [
        *(b"", HOST + HOST, HOST + b"Host: other.example\r\n", b"Host: mfa.example/x\r\n", b"Host: a@mfa.example\r\n"),
        *(b"Host: mfa example\r\n", b"Host: mfa.example:x\r\n", b"Host: mfa.example, other\r\n", b"Host: [::1\r\n"),
    ],
    ids=lambda line: line.decode().replace("\r\n", " ").strip() or "none",
)
async def test_a_request_needs_one_host(caller: Caller, known: bytes, line: bytes) -> None:
    response, closed = await raw(caller.service, head("GET", LISTING, line, known) + b"\r\n")
    refuse_other(response, 400)
    assert closed


@attack("H-08")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip"])
async def test_no_body_is_inflated(nodes: TwoNodes, coding: str) -> None:
    caller = await nodes.onboard()
    await caller.enrolled()
    assert len(bomb()) < LIMIT
    workers = [pid for node in nodes.site.nodes for pid in node.workers]
    before = [resident_bytes(pid) for pid in workers]
    for _ in range(4):
        answer = await caller.call("POST", CHALLENGES, bomb(), {"Content-Encoding": coding})
        assert answer.outcome == OTHER_MEDIA
    after = [resident_bytes(pid) for pid in workers]
    assert all(now - then < 16 * 2**20 for then, now in zip(before, after, strict=True))


@cache
def bomb() -> bytes:
    """A hundred megabytes, compressed twice."""
    return gzip.compress(gzip.compress(b" " * 100_000_000, 1), 9)
