"""The traceparent header, by the rules of W3C Trace Context."""

import pytest

from mfa_service.web.tracing import given_trace_id
from tests.unit.web.stand_ins import BEARER, Api

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-ff",
        f"01-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01-what-comes-later",
        f"cc-{TRACE}-{PARENT}-01-",
    ],
)
def test_the_trace_id_of_a_valid_header_is_taken(value: str) -> None:
    assert given_trace_id([value]) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        TRACE,
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"0x-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT.upper()}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"01-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-later",
        f"01-{TRACE}-{PARENT}-01later",
        f" 00-{TRACE}-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{TRACE}-{PARENT}-0\u0661",
    ],
)
def test_an_invalid_header_gives_no_trace_id(value: str) -> None:
    assert given_trace_id([value]) is None


def test_two_headers_give_no_trace_id() -> None:
    assert given_trace_id([f"00-{TRACE}-{PARENT}-01"] * 2) is None


async def test_a_valid_trace_id_stands_in_the_answer_its_header_and_the_log(api: Api) -> None:
    response = await api.get("/nowhere", {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert response.json["traceId"] == TRACE
    assert response.header("X-Trace-Id") == TRACE
    assert api.behind.requests[0]["trace_id"] == TRACE
    assert api.behind.bound == [TRACE]


async def test_two_headers_give_a_new_trace_id(api: Api) -> None:
    response = await api.call("GET", "/", None, [("traceparent", f"00-{TRACE}-{PARENT}-01")] * 2)
    assert response.header("X-Trace-Id") == f"{1:032x}"


async def test_each_request_without_one_gets_its_own_trace_id(api: Api) -> None:
    ids = [(await api.get("/users/a/mfadevices", BEARER)).header("X-Trace-Id") for _ in range(2)]
    assert ids == [f"{1:032x}", f"{2:032x}"]


async def test_what_is_no_request_is_bound_to_a_trace_id_of_its_own(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(f"GET /nowhere HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n".encode())
        first = await wire.response()
        await wire.send(b"\0")
        second = await wire.response()
    assert [first.header("X-Trace-Id"), second.header("X-Trace-Id")] == api.behind.bound == [TRACE, f"{1:032x}"]
