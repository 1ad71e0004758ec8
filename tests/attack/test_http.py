"""Attacks below the service's own rules: what is no HTTP, too much of it, or too slow."""

import asyncio
import contextlib
import gzip
import itertools
import re
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from mfa_service.model import SCOPE_AUTHENTICATE
from tests.api.conftest import Serve
from tests.api.service import BASE, Caller, serving
from tests.attack.cases import attack
from tests.attack.outcomes import OPENED, OTHER_MEDIA
from tests.attack.scale import seconds, times
from tests.attack.setups import TwoNodes
from tests.attack.wires import CHUNKED, HOST, JSON, authorization, chunks, connected, fields, head, raw, with_body
from tests.clocks import ManualClock
from tests.servers.haproxy import Backend, balancing
from tests.unit.web.stand_ins import Response, Wire

LISTING = "/users/alice/mfadevices"
CHALLENGES = "/deviceAuthentications"
BODY = b'{"userName":"alice","deviceName":"Phone","deviceType":"TOTP"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
LIMIT = 16_384
FULL = BODY[:-1] + b" " * (LIMIT - len(BODY)) + b"}"


@pytest_asyncio.fixture(loop_scope="module")
async def known(caller: Caller) -> bytes:
    """The header line of a caller whose user alice has one active device."""
    await caller.enrolled()
    return await authorization(caller)


def refuse_other(response: Response, *statuses: int) -> None:
    """Fail on an answer of another status, or without the contract's one body of errors."""
    assert response.status in statuses
    assert response.json["status"] == "FAILURE"
    assert re.fullmatch(r"[0-9a-f]{32}", str(response.json["traceId"]))
    assert response.json["traceId"] == response.header("X-Trace-Id")


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


@attack("H-03")
@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "HEAD", "OPTIONS", "PROPFIND", "PATCH", "PUT", "FOO", "post", "GET\t", "PO ST"]
)
async def test_no_other_method_reaches_a_handler(caller: Caller, known: bytes, method: str) -> None:
    for path, allow in ((CHALLENGES, "POST"), (LISTING, "GET, POST"), (f"{LISTING}/TOTP/Phone", "DELETE")):
        request = head(method, path, HOST, known, b"X-Note: a\r\n") + b"\r\n"
        response, _ = await raw(caller.service, request, head_only=method == "HEAD")
        assert response.status in (400, 404, 405)
        if response.status == 405:
            assert response.header("Allow") == allow
        if method != "HEAD":
            refuse_other(response, response.status)
            assert method.encode() not in response.body
    assert len((await caller.devices()).json) == 1


REMOVAL = f"DELETE {BASE}{LISTING}/TOTP/all HTTP/1.1\r\n".encode() + HOST
"""The head of a second request that must never be executed, without who calls."""

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


def resident_bytes(pid: int) -> int:
    """How much memory a process occupies."""
    [line] = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line) * 1024


@attack("H-09")
async def test_a_thousand_slow_heads_are_ended_and_keep_nobody_waiting(serve: Serve) -> None:
    timeout_s = seconds(10)
    shop = await (await serve({"http.header_timeout_s": int(timeout_s)})).onboard()
    await shop.enrolled()
    begun = head("GET", LISTING, HOST)
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(shop.service)) for _ in range(times(1_000))]
        began_s = time.monotonic()
        slow = [asyncio.create_task(trickle(wire, begun, pause_s=timeout_s / 2)) for wire in wires]
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


TARGETS = {
    "absolute": f"http://mfa.example{BASE}{LISTING}",
    "absolute, elsewhere": f"http://other.example{BASE}{LISTING}",
    "two slashes": f"/{BASE}{LISTING}",
    "slashes everywhere": f"{BASE}{LISTING}".replace("/", "//"),
    "parameter": f"{BASE}{LISTING};x=1",
    "parameter amid": f"{BASE};x=1{LISTING}",
    "fragment": f"{BASE}{LISTING}#f",
    "fragment of a name": f"{BASE}/users/alice#/mfadevices",
    "no query": f"{BASE}{LISTING}?",
    "unknown query": f"{BASE}{LISTING}?x=1",
    "slash at the end": f"{BASE}{LISTING}/",
    "upper case": f"{BASE.upper()}{LISTING}",
    "star": "*",
    "authority": "mfa.example:443",
}


@attack("H-13", "H-14")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_no_other_form_of_a_target_gets_around_the_token(caller: Caller, known: bytes, target: str) -> None:
    for line, statuses in ((known, (200, 400, 404, 405)), (b"", (401, 400, 404, 405))):
        response, _ = await raw(caller.service, f"GET {target} HTTP/1.1\r\n".encode() + HOST + line + b"\r\n")
        assert response.status in statuses
        if response.status == 200:
            content = orjson.loads(response.body)
            assert [device["deviceName"] for device in content] == ["Phone"]


@attack("H-13", "H-14")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_no_other_form_of_a_target_gets_around_the_scope(shop: Caller, target: str) -> None:
    await shop.enrolled()
    token = await shop.token(scope=SCOPE_AUTHENTICATE)
    line = f"Authorization: Bearer {token}\r\n".encode()
    response, _ = await raw(shop.service, f"GET {target} HTTP/1.1\r\n".encode() + HOST + line + b"\r\n")
    refuse_other(response, 403, 400, 404, 405)


@attack("H-15")
@pytest.mark.parametrize(
    ("line", "status"),
    [(b"Authorization: Bearer a.b.c\r\n", 401), (b"", 401), (None, 413)],
    ids=["bad token", "no token", "good token"],
)
async def test_a_body_that_will_be_refused_is_not_asked_for(
    caller: Caller, known: bytes, line: bytes | None, status: int
) -> None:
    expecting = b"Expect: 100-continue\r\nContent-Length: 10485760\r\n\r\n"
    request = head("POST", CHALLENGES, HOST, JSON, known if line is None else line) + expecting
    async with connected(caller.service) as wire:
        began_s = time.monotonic()
        await wire.send(request)
        response = await wire.response()
        refuse_other(response, status)
        assert time.monotonic() - began_s < 1
        assert await wire.is_closed()


@attack("H-16")
async def test_every_answer_s_head_says_what_it_is_and_nothing_of_the_server(caller: Caller, known: bytes) -> None:
    service = caller.service
    secret = caller.client_secret.encode()
    answers = [
        (await raw(service, octets))[0]
        for octets in (
            head("GET", LISTING, HOST, known) + b"\r\n",
            with_body(head("POST", CHALLENGES, HOST, JSON, known), BODY),
            with_body(head("POST", CHALLENGES, HOST, JSON, known), b"{}"),
            with_body(head("POST", "/get/token", HOST, JSON), caller.grant),
            head("DELETE", f"{LISTING}/TOTP/Phone", HOST, known) + b"\r\n",
            head("GET", LISTING, HOST) + b"\r\n",
            head("GET", "/nowhere", HOST) + b"\r\n",
            head("PUT", CHALLENGES, HOST) + b"\r\n",
            b"GET /.well-known/jwks.json HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\n" + HOST + b"\r\n",
            b"nonsense\r\n\r\n",
            head("GET", f"/{'a' * 9_000}", HOST) + b"\r\n",
        )
    ]
    assert {answer.status for answer in answers} == {200, 201, 204, 400, 401, 404, 405, 414}
    for answer in answers:
        found = fields(answer)
        if answer.status != 204:
            assert found["content-type"] == "application/json; charset=utf-8"
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"
        assert not found.keys() & {"server", "x-powered-by", "via", "set-cookie", "access-control-allow-origin"}
        assert not re.search(rb"aiohttp|[Pp]ython|uvloop|gunicorn", answer.body + str(answer.headers).encode())
        assert secret not in answer.body


@attack("H-17")
async def test_no_header_overrides_the_method_or_the_path(caller: Caller, known: bytes) -> None:
    overrides = b"".join(
        b"%s: DELETE\r\n" % name for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override")
    ) + b"".join(
        b"%s: %s%s/TOTP/all\r\n" % (name, BASE.encode(), LISTING.encode())
        for name in (b"X-Original-URL", b"X-Rewrite-URL", b"X-Forwarded-Prefix", b"X-Forwarded-Path")
    )
    for method, path, status in (("GET", LISTING, 200), ("POST", f"{LISTING}/TOTP/Phone", 405), ("GET", "/", 404)):
        response, _ = await raw(caller.service, head(method, path, HOST, known, overrides) + b"\r\n")
        assert response.status == status
    response, _ = await raw(caller.service, head("GET", f"{LISTING}?_method=DELETE", HOST, known) + b"\r\n")
    assert response.status == 400
    assert len((await caller.devices()).json) == 1


@attack("H-18")
async def test_no_header_overrides_where_the_service_is(caller: Caller) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/jwks.json"):
        plain = await caller.service.send("GET", path)
        answer = await caller.service.send("GET", path, headers={**forged, "Host": "evil.example"})
        assert (answer.status, b"evil" in answer.body) == (200, False)
        assert plain.status == 200


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
