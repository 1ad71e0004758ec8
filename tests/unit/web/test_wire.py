"""The server on raw sockets: what is no HTTP, what is too much of it, and what comes too slowly."""

import asyncio
from typing import cast

import pytest

from mfa_service.model import Owner, Principal
from mfa_service.web.answers import Answer
from mfa_service.web.routes import Call, Route
from mfa_service.web.service import Limits
from tests.unit.web.stand_ins import AUTH_ID, BASE, Api, Serve, Wire, device

HOST = b"Host: mfa.example\r\n"
TOKEN = b"Authorization: Bearer both\r\n"
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"userName":"alice","deviceName":"Phone","deviceType":"TOTP"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
INITIATE = f"POST {BASE}/deviceAuthentications HTTP/1.1\r\n".encode()
LISTING = f"GET {BASE}/users/alice/mfadevices HTTP/1.1\r\n".encode()
COMMON = INITIATE + HOST + TOKEN + JSON
GOOD = COMMON + LENGTH + b"\r\n" + BODY
SECOND = LISTING + HOST + TOKEN + b"\r\n"


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


NO_HTTP = {
    "length and chunked": COMMON + LENGTH + CHUNKED + b"\r\n" + chunks(BODY) + SECOND,
    "chunked and length": COMMON + CHUNKED + LENGTH + b"\r\n" + chunks(BODY) + SECOND,
    "two lengths": COMMON + LENGTH + b"Content-Length: 0\r\n\r\n" + BODY,
    "two equal lengths": COMMON + LENGTH + LENGTH + b"\r\n" + BODY,
    "length with a sign": COMMON + b"Content-Length: +5\r\n\r\n12345",
    "negative length": COMMON + b"Content-Length: -1\r\n\r\n",
    "list of lengths": COMMON + b"Content-Length: 5, 5\r\n\r\n12345",
    "hexadecimal length": COMMON + b"Content-Length: 0x5\r\n\r\n12345",
    "length beyond counting": COMMON + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "unknown coding": COMMON + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not the last coding": COMMON + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "compressed and chunked": COMMON + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(BODY),
    "two codings": COMMON + CHUNKED + CHUNKED + b"\r\n" + chunks(BODY),
    "chunked in HTTP/1.0": COMMON.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + chunks(BODY),
    "folded header": COMMON + b"X-A: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY,
    "blank before the colon": COMMON + b"Content-Length : 5\r\n\r\n12345",
    "header without a colon": COMMON + b"X-A\r\n\r\n",
    "bare LF": GOOD.replace(b"\r\n", b"\n"),
    "bare CR": COMMON + b"X-A: a\rX-B: b\r\n" + LENGTH + b"\r\n" + BODY,
    "NUL in a header's value": COMMON + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "NUL in a header's name": COMMON + b"X\0A: a\r\n" + LENGTH + b"\r\n" + BODY,
    "no Host": LISTING + TOKEN + b"\r\n",
    "two Hosts": LISTING + HOST + HOST + TOKEN + b"\r\n",
    "Host with a path": LISTING + b"Host: mfa.example/x\r\n" + TOKEN + b"\r\n",
    "Host with a user": LISTING + b"Host: a@mfa.example\r\n" + TOKEN + b"\r\n",
    "Host with a blank": LISTING + b"Host: mfa example\r\n" + TOKEN + b"\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw bytes in the target": LISTING.replace(b"alice", b"\xc3\xa9") + HOST + TOKEN + b"\r\n",
    "target without a slash": b"GET users HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"post / HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": LISTING.replace(b"1.1", b"1.2") + HOST + TOKEN + b"\r\n",
    "HTTP/2.0": LISTING.replace(b"1.1", b"2.0") + HOST + TOKEN + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303"),
    "chunk size is no number": COMMON + CHUNKED + b"\r\nzz\r\n12345\r\n0\r\n\r\n",
    "LF in a chunk extension": COMMON + CHUNKED + b"\r\n5;a\nb\r\n12345\r\n0\r\n\r\n",
    "chunk longer than it says": COMMON + CHUNKED + b"\r\n1\r\n12345\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("octets", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_is_told_so_and_the_connection_ends(api: Api, octets: bytes) -> None:
    response, closed = await api.raw(octets)
    assert (response.status, response.json["code"], closed) == (400, "10034", True)
    assert set(response.json) == {"status", "code", "message", "traceId", "timestamp"}
    assert response.json["traceId"] == response.header("X-Trace-Id")
    assert [line["status"] for line in api.behind.requests] == [400]
    assert [call for call in api.behind.calls if call != ("verify",)] == []
    assert api.behind.faults == []


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET /" + b"a" * 8190 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"a" * 100_000, 414),
        (LISTING + HOST + b"X-A: " + b"a" * 16_384 + b"\r\n\r\n", 431),
        (LISTING + HOST + b"a" * 16_384 + b": a\r\n\r\n", 431),
        (LISTING + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n", 431),
        (COMMON + CHUNKED + b"\r\n0\r\n" + b"X-T: a\r\n" * 10_000 + b"\r\n", 431),
    ],
    ids=["target", "endless target", "header value", "header name", "headers", "trailers"],
)
async def test_too_long_a_head_is_refused_and_the_connection_ends(api: Api, octets: bytes, status: int) -> None:
    response, closed = await api.raw(octets)
    assert (response.status, response.json["code"], closed) == (status, "10034", True)
    assert len(api.behind.requests) == 1


async def test_a_head_in_pieces_is_bounded_as_a_whole(serve: Serve) -> None:
    api = await serve(limits=Limits(head_bytes=2_000))
    async with api.connect() as wire:
        await wire.send(LISTING + HOST)
        for number in range(40):
            await wire.send(b"X-%d: %s\r\n" % (number, b"a" * 100))
            await asyncio.sleep(0)
            if api.behind.requests:
                break
        response = await wire.response()
    assert (response.status, response.json["code"]) == (431, "10034")


async def test_a_cookie_of_nonsense_is_ignored(api: Api) -> None:
    response, _ = await api.raw(LISTING + HOST + TOKEN + b"Cookie: " + b"=;,[" * 1000 + b"\r\n\r\n")
    assert (response.status, len(api.behind.requests), api.behind.faults) == (200, 1, [])


@pytest.mark.parametrize("pieces", [(BODY,), (BODY[:5], BODY[5:]), tuple(bytes([octet]) for octet in BODY)])
async def test_a_chunked_body_is_read(api: Api, pieces: tuple[bytes, ...]) -> None:
    response, _ = await api.raw(COMMON + CHUNKED + b"\r\n" + chunks(*pieces))
    assert response.status == 201


async def test_a_body_that_comes_after_its_head_is_read(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(COMMON + LENGTH + b"\r\n")
        await asyncio.sleep(0.01)
        await wire.send(BODY[:10])
        await asyncio.sleep(0.01)
        await wire.send(BODY[10:])
        assert (await wire.response()).status == 201


async def test_a_length_with_thousands_of_leading_zeros_is_a_length(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(COMMON + b"Content-Length: " + b"0" * 4_400 + b"%d\r\n\r\n" % len(BODY))
        await asyncio.sleep(0.05)
        await wire.send(BODY)
        assert (await wire.response()).status == 201


FULL = BODY[:-1] + b" " * (16_384 - len(BODY)) + b"}"


async def test_a_body_of_exactly_the_limit_is_read(api: Api) -> None:
    response, _ = await api.raw(COMMON + b"Content-Length: 16384\r\n\r\n" + FULL)
    assert response.status == 201


@pytest.mark.parametrize(
    "octets",
    [
        COMMON + b"Content-Length: 16385\r\n\r\n" + FULL + b" ",
        COMMON + CHUNKED + b"\r\n" + chunks(FULL, b" "),
        COMMON + CHUNKED + b"\r\n" + chunks(*[b" "] * 16_385),
        COMMON + b"Content-Length: 1048576\r\n\r\n",
        COMMON + b"Content-Length: 9223372036854775807\r\n\r\n",
        COMMON + b"Content-Length: 18446744073709551615\r\n\r\n",
        COMMON + CHUNKED + b"\r\n100000\r\n" + b" " * 20_000,
    ],
    ids=[
        "length",
        "chunked",
        "many chunks",
        "announced alone",
        "announced beyond reason",
        "announced as the most there is",
        "unfinished chunk",
    ],
)
async def test_a_body_over_the_limit_is_refused_without_reading_it_all(serve: Serve, octets: bytes) -> None:
    api = await serve(limits=Limits(linger_s=0.05))
    response, closed = await api.raw(octets)
    assert (response.status, response.json["code"], closed) == (413, "10034", True)
    assert api.behind.calls == [("verify",)]


async def test_a_caller_that_is_still_sending_a_refused_body_gets_its_answer(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(COMMON + b"Content-Length: 2000000\r\n\r\n" + b" " * 500_000)
        assert (await wire.response()).status == 413
        await wire.send(b" " * 1_500_000)
        assert await wire.is_closed()


EXPECT = b"Expect: 100-continue\r\n"


async def test_a_caller_that_waits_for_it_is_asked_for_its_body(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(COMMON + EXPECT + LENGTH + b"\r\n")
        assert (await wire.response()).status == 100
        await wire.send(BODY)
        assert (await wire.response()).status == 201


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (INITIATE + HOST + JSON + EXPECT + LENGTH + b"\r\n", 401),
        (COMMON + EXPECT + b"Content-Length: 10485760\r\n\r\n", 413),
        (INITIATE + HOST + TOKEN + EXPECT + LENGTH + b"\r\n", 415),
        (b"POST /nowhere HTTP/1.1\r\n" + HOST + EXPECT + LENGTH + b"\r\n", 404),
    ],
)
async def test_a_caller_that_will_be_refused_is_not_asked_for_its_body(
    serve: Serve, octets: bytes, status: int
) -> None:
    api = await serve(limits=Limits(linger_s=0.05))
    response, closed = await api.raw(octets)
    assert (response.status, closed) == (status, True)


async def test_a_body_that_is_there_already_is_not_asked_for(api: Api) -> None:
    response, _ = await api.raw(COMMON + EXPECT + LENGTH + b"\r\n" + BODY)
    assert response.status == 201


async def test_a_slow_head_is_told_so_and_the_connection_ends(serve: Serve) -> None:
    api = await serve(limits=Limits(header_timeout_s=0.1))
    response, closed = await api.raw(LISTING + HOST)
    assert (response.status, response.json["code"], closed) == (408, "10034", True)


async def test_a_head_that_trickles_in_does_not_move_its_deadline(serve: Serve) -> None:
    api = await serve(limits=Limits(header_timeout_s=0.1))
    async with api.connect() as wire:
        await wire.send(LISTING + HOST)
        for _ in range(12):
            if api.behind.requests:
                break
            await wire.send(b"X: 1\r\n")
            await asyncio.sleep(0.02)
        assert (await wire.response()).status == 408


async def test_a_connection_that_says_nothing_ends_without_a_word(serve: Serve) -> None:
    api = await serve(limits=Limits(header_timeout_s=0.05))
    async with api.connect() as wire:
        assert await wire.is_closed()
    assert api.behind.requests == []


async def test_a_later_head_has_a_deadline_of_its_own(serve: Serve) -> None:
    api = await serve(limits=Limits(header_timeout_s=0.1))
    async with api.connect() as wire:
        await wire.send(GOOD)
        assert (await wire.response()).status == 201
        await asyncio.sleep(0.15)
        await wire.send(GOOD)
        assert (await wire.response()).status == 201
        await wire.send(LISTING)
        assert (await wire.response()).status == 408
        assert await wire.is_closed()


async def test_an_idle_connection_ends(serve: Serve) -> None:
    api = await serve(limits=Limits(keepalive_timeout_s=0.05))
    async with api.connect() as wire:
        await wire.send(GOOD)
        assert (await wire.response()).header("Connection") is None
        assert await wire.is_closed()


async def test_a_slow_body_is_told_so_and_the_connection_ends(serve: Serve) -> None:
    api = await serve(limits=Limits(body_timeout_s=0.1, linger_s=0.05))
    async with api.connect() as wire:
        await wire.send(COMMON + LENGTH + b"\r\n")
        for octet in BODY[:12]:
            if api.behind.requests:
                break
            await wire.send(bytes([octet]))
            await asyncio.sleep(0.02)
        response = await wire.response()
        assert (response.status, response.json["code"]) == (408, "10034")
        assert await wire.is_closed()
    assert api.behind.calls == [("verify",)]


async def test_a_caller_that_goes_away_amid_its_body_leaves_a_line_and_no_alarm(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(COMMON + LENGTH + b"\r\n" + BODY[:5])
        await asyncio.sleep(0.02)
    for _ in range(50):
        if api.behind.requests:
            break
        await asyncio.sleep(0.01)
    assert [line["status"] for line in api.behind.requests] == [400]
    assert api.behind.faults == []


class _Verifying:
    """Knows every token, when it is let go on."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def verify(self, _token: str) -> Principal:
        self.begun.set()
        await self.goes_on.wait()
        return Principal("app", "client-1", frozenset({"mfa:authenticate"}))


async def test_a_caller_that_goes_away_after_its_body_leaves_a_line_and_no_alarm(serve: Serve) -> None:
    verifier = _Verifying()
    api = await serve(verifier=verifier)
    async with api.connect() as wire:
        await wire.send(GOOD)
        await verifier.begun.wait()
        wire.writer.transport.abort()
        for _ in range(50):
            if all(connection.transport is None for connection in api.server.connections):
                break
            await asyncio.sleep(0.01)
    verifier.goes_on.set()
    for _ in range(50):
        if api.behind.requests:
            break
        await asyncio.sleep(0.01)
    assert [line["status"] for line in api.behind.requests] == [400]
    assert api.behind.faults == []


async def _ask_forever(wire: Wire) -> None:
    while True:
        await wire.send(SECOND * 50)
        await asyncio.sleep(0)


async def test_a_caller_that_does_not_read_is_cut_off(serve: Serve) -> None:
    api = await serve(limits=Limits(write_timeout_s=0.1))
    api.behind.devices = [device(f"Phone {number}") for number in range(500)]
    async with api.connect() as wire:
        cast("asyncio.ReadTransport", wire.writer.transport).pause_reading()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_ask_forever(wire), 10)
    assert api.behind.faults == []


async def test_requests_in_one_piece_are_answered_in_order(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(GOOD + SECOND + b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n")
        assert [(await wire.response()).status for _ in range(3)] == [201, 200, 404]


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
async def test_no_request_is_upgraded_and_what_follows_it_is_not_served(api: Api, protocol: bytes) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\nUpgrade: " + protocol + b"\r\n"
    unauthorised = LISTING.replace(b"alice", b"bob") + HOST + b"\r\n"
    response, closed = await api.raw(LISTING + HOST + TOKEN + upgrade + b"\r\n" + unauthorised)
    assert (response.status, closed) == (200, True)
    assert len(api.behind.requests) == 1


async def test_no_tunnel_is_opened(serve: Serve) -> None:
    api = await serve(limits=Limits(linger_s=0.05))
    response, closed = await api.raw(b"CONNECT mfa.example:443 HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n")
    assert (response.status, closed) == (404, True)


@pytest.mark.parametrize(
    ("version", "header", "connection"),
    [
        (b"1.1", b"", None),
        (b"1.1", b"Connection: close\r\n", "close"),
        (b"1.0", b"", "close"),
        (b"1.0", b"Connection: keep-alive\r\n", "keep-alive"),
    ],
)
async def test_a_connection_stays_open_as_its_version_has_it(
    api: Api, version: bytes, header: bytes, connection: str | None
) -> None:
    async with api.connect() as wire:
        await wire.send(LISTING.replace(b"1.1", version) + HOST + TOKEN + header + b"\r\n")
        assert (await wire.response()).header("Connection") == connection
        if connection == "close":
            assert await wire.is_closed()
        else:
            await wire.send(SECOND)
            assert (await wire.response()).status == 200


async def test_http_1_0_needs_no_host(api: Api) -> None:
    response, closed = await api.raw(LISTING.replace(b"1.1", b"1.0") + TOKEN + b"\r\n")
    assert (response.status, closed) == (200, True)


@pytest.mark.parametrize("host", [b"mfa.example", b"mfa.example:8080", b"127.0.0.1:80", b"[::1]:8080", b"[::1]", b""])
async def test_a_host_may_be_a_name_or_an_address_and_have_a_port(api: Api, host: bytes) -> None:
    response, _ = await api.raw(LISTING + b"Host: " + host + b"\r\n" + TOKEN + b"\r\n")
    assert response.status == 200


async def test_the_answer_to_head_has_no_body(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(b"HEAD /.well-known/jwks.json HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND)
        response = await wire.response(head_only=True)
        assert (response.status, response.header("Allow")) == (405, "GET")
        assert (await wire.response()).status == 200


async def test_an_unread_body_of_a_call_that_takes_none_is_not_the_next_request(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(LISTING + HOST + TOKEN + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND + SECOND)
        assert [(await wire.response()).status for _ in range(2)] == [200, 200]
        await asyncio.sleep(0.02)
    assert len(api.behind.requests) == 2


class _Waiting:
    """Rules that open a challenge when they are let go on."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def initiate(self, _owner: Owner, _device_name: str) -> str:
        self.begun.set()
        await self.goes_on.wait()
        return AUTH_ID


async def test_a_request_under_way_when_the_server_stops_is_answered_and_told_to_close(serve: Serve) -> None:
    rules = _Waiting()
    api = await serve(authentication=rules)
    async with api.connect() as wire:
        await wire.send(GOOD)
        await rules.begun.wait()
        api.server.pre_shutdown()
        rules.goes_on.set()
        response = await wire.response()
        assert (response.status, response.header("Connection")) == (201, "close")
        assert await wire.is_closed()


async def test_a_fault_before_anything_is_known_of_a_request_is_an_internal_one(serve: Serve) -> None:
    sources = iter([b""])

    def random_bytes(size: int) -> bytes:
        return next(sources, bytes(size)) or 1 // 0  # type: ignore[return-value]  # the first one breaks

    api = await serve(random_bytes=random_bytes)
    response, _ = await api.raw(SECOND)
    assert (response.status, response.json["code"]) == (500, "10015")
    assert [fields["fault"] for _, fields in api.behind.faults] == ["ZeroDivisionError"]


async def test_of_requests_sent_at_once_each_gives_others_a_turn(api: Api) -> None:
    count, turns = 500, 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with api.connect() as wire:
        others = asyncio.create_task(count_turns())
        await wire.send((b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n") * count)
        assert [(await wire.response()).status for _ in range(count)] == [404] * count
        others.cancel()
    assert turns >= count


@pytest.mark.parametrize("count", [1_024, 1_025, 1_026])
async def test_however_many_chunks_a_body_comes_in_the_next_request_is_answered_or_the_connection_ends(
    api: Api, count: int
) -> None:
    body = chunks(*(bytes([octet]) for octet in BODY.rjust(count)))
    async with api.connect() as wire:
        await wire.send(COMMON + CHUNKED + b"\r\n" + body)
        first = await wire.response()
        assert first.status == 201
        if ("Connection", "close") in first.headers:
            assert await wire.is_closed()
        else:
            await wire.send(GOOD)
            assert (await wire.response()).status == 201


async def test_an_answer_ends_well_whose_waiter_has_just_given_up(serve: Serve) -> None:
    async def slow(_: Call) -> Answer:
        for connection in api.server.connections:
            connection._handler_waiter = asyncio.get_running_loop().create_future()  # as `shutdown` does
            connection._handler_waiter.cancel()  # as its time-out does
        return Answer(204)

    api = await serve(pages=[Route("GET", "/slow", slow, public=True, query=None)])
    async with api.connect() as wire:
        await wire.send(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await wire.response()).status == 204
        await wire.send(GOOD)
        assert (await wire.response()).status == 201
