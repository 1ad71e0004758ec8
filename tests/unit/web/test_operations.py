"""The operations port: three calls, for whoever asks, and nothing else."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from mfa_service.ops.metrics import CONTENT_TYPE, Metrics
from mfa_service.web.answers import Answer
from mfa_service.web.operations import build_operations
from tests.clocks import ManualClock
from tests.metrics import samples
from tests.unit.web.stand_ins import Api, Behind, Faults


@dataclass
class State:
    """What the node says of itself."""

    ready: bool = True
    checks: Mapping[str, str] = field(default_factory=lambda: {"database": "ok"})

    async def report(self) -> "State":
        return self


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def operations(state: State) -> AsyncIterator[Api]:
    behind = Behind()
    metrics = Metrics()
    metrics.count_unwatched(7)()
    server = build_operations(
        state.report,
        lambda: Answer(200, metrics.page(), content_type=CONTENT_TYPE),
        clock=ManualClock(),
        random_bytes=os.urandom,
        fault_log=Faults(behind),
    )
    async with contextlib.AsyncExitStack() as stack:
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Api(behind, server, runner.addresses[0][1])


async def test_a_ready_node_says_so_and_names_each_check(operations: Api) -> None:
    response = await operations.call("GET", "/readyz")
    assert response.status == 200
    assert response.json == {"status": "ready", "checks": {"database": "ok"}}
    assert response.header("Cache-Control") == "no-store"


async def test_a_node_that_is_not_ready_answers_503_and_is_alive(operations: Api, state: State) -> None:
    state.ready, state.checks = False, {"database": "out of reach"}
    response = await operations.call("GET", "/readyz")
    assert response.status == 503
    assert response.json == {"status": "not ready", "checks": {"database": "out of reach"}}
    alive = await operations.call("GET", "/livez")
    assert (alive.status, alive.json) == (200, {"status": "alive"})


async def test_a_probe_may_ask_for_the_head_alone_and_send_a_query(operations: Api) -> None:
    assert (await operations.call("HEAD", "/readyz")).status == 200
    assert (await operations.call("GET", "/livez?verbose")).status == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/readyz/", "/ciam-mfa/v2/get/token", "/.well-known/jwks.json"])
async def test_nothing_else_is_there(operations: Api, path: str) -> None:
    assert (await operations.call("GET", path)).status == 404


async def test_prometheus_reads_what_was_counted(operations: Api) -> None:
    response = await operations.call("GET", "/metrics")
    assert (response.status, response.header("Content-Type")) == (200, CONTENT_TYPE)
    assert samples(response.body) == {"mfa_quota_unwatched_requests_total": 1}


async def test_no_answer_names_the_software(operations: Api) -> None:
    for octets in (
        b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        b"no HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        response, _ = await operations.raw(octets)
        told = f"{response.headers} {response.body!r}".lower()
        assert response.header("Server") is None
        assert not [word for word in ("aiohttp", "python", "gunicorn") if word in told]
