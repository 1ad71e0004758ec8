"""One node of several workers: they share every challenge, and its callers notice nothing of their coming and going."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mfa_service import app, opening
from mfa_service import settings as settings_module
from mfa_service.access.applications import new_application
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from tests.api.authenticator import Authenticator
from tests.api.service import BASE
from tests.fault.worker_load import calling
from tests.fault.worker_node import Node, is_alive, started, wait_until
from tests.servers.valkey import Deployment, standalone

CLOCK = app.SystemClock()
WORKERS = 2
REPLACED_WITHIN_S = 2.0
SHUTDOWN_S = 5
OPEN = {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with standalone(tmp_path_factory.mktemp("workers-valkey")) as deployment:
        yield deployment


@contextmanager
def serving(folder: Path, redis: Deployment, workers: int = WORKERS, **settings: object) -> Iterator[Node]:
    """A node whose workers all serve."""
    given = {"redis.url": redis.url, "http.workers": workers, "http.shutdown_timeout_s": SHUTDOWN_S, **settings}
    with started(folder, given) as node:
        node.await_workers(workers, besides=frozenset())
        yield node


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, redis: Deployment) -> Iterator[tuple[Node, Path]]:
    folder = tmp_path_factory.mktemp("node")
    with serving(folder, redis) as node:
        yield node, folder


class Caller:
    """An application with a token, and a user's device; each call on a connection of its own."""

    def __init__(self, node: Node, session: aiohttp.ClientSession, token: str) -> None:
        self._node = node
        self._session = session
        self.token = token

    async def post(self, path: str, **content: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self._node.url + BASE + path
        async with self._session.post(url, json=content, headers=headers) as answer:
            return answer.status, await answer.json()

    async def devices(self, user: str) -> int:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._session.get(f"{self._node.url}{BASE}/users/{user}/mfadevices", headers=headers) as answer:
            return answer.status

    async def pair(self, user: str) -> tuple[str, Authenticator]:
        """Begin to pair a telephone; return what its activation needs."""
        status, paired = await self.post(f"/users/{user}/mfadevices", deviceType="TOTP", deviceName="Phone")
        assert status == 201
        return paired["authId"], Authenticator(paired["registrationUri"], CLOCK)

    async def activate(self, user: str, auth_id: str, otp: str) -> None:
        status, _ = await self.post(f"/users/{user}/mfadevices/{auth_id}", deviceType="TOTP", otp=otp)
        assert status == 200


@asynccontextmanager
async def caller_of(node: Node, folder: Path) -> AsyncIterator[Caller]:
    """An application onboarded beside the running node."""
    flags = {"data_dir": str(folder / "data")}
    settings = settings_module.load(config_path=None, environment={}, flags=flags).settings
    registry = await opening.open_registry_of(settings, clock=CLOCK)
    application, client_secret = new_application(
        os.urandom(4).hex(), frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE}), clock=CLOCK, random_bytes=os.urandom
    )
    await registry.applications.add(application)
    await registry.close()
    form = {"grant_type": "client_credentials", "client_id": application.client_id, "client_secret": client_secret}
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        async with session.post(f"{node.url}{BASE}/oauth2/token", data=form) as answer:
            assert answer.status == 200
            token = (await answer.json())["access_token"]
        await asyncio.sleep(0.6)  # until every worker has looked for new applications
        yield Caller(node, session, token)


async def with_alices_phone(caller: Caller) -> None:
    auth_id, phone = await caller.pair("alice")
    await caller.activate("alice", auth_id, phone.code())


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process do nothing, so that another one must do the work."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_what_one_worker_began_another_one_ends(shared: tuple[Node, Path]) -> None:
    node, folder = shared
    first, second = node.workers
    async with caller_of(node, folder) as caller:
        with stopped(first):
            auth_id, phone = await caller.pair("bob")
        with stopped(second):
            await caller.activate("bob", auth_id, phone.code())
            status, opened = await caller.post("/deviceAuthentications", **OPEN | {"userName": "bob"})
            assert status == 201
        path, otp = f"/deviceAuthentications/{opened['authId']}", phone.code(steps=1)
        with stopped(first):
            assert (await caller.post(path, deviceType="TOTP", otp=otp))[0] == 200
        with stopped(second):
            assert (await caller.post(path, deviceType="TOTP", otp=otp))[0] == 200  # the same call once more
            _, again = await caller.post("/deviceAuthentications", **OPEN | {"userName": "bob"})
            path = f"/deviceAuthentications/{again['authId']}"
            status, refused = await caller.post(path, deviceType="TOTP", otp=otp)
            assert (status, refused["code"]) == (400, "10008")


async def test_a_killed_operations_process_is_replaced(shared: tuple[Node, Path]) -> None:
    node, _ = shared
    [operations] = set(node.children) - set(node.workers)
    os.kill(operations, signal.SIGKILL)
    status, found = await asyncio.to_thread(node.ask, "/livez")  # the port is the node's: callers wait, and are let in
    assert (status, found) == (200, {"status": "alive"})

    def ready() -> bool:
        return node.ask("/readyz")[0] == 200

    await asyncio.to_thread(wait_until, ready, within_s=REPLACED_WITHIN_S, what="readiness")


async def test_a_hangup_replaces_every_worker_without_a_failed_request(shared: tuple[Node, Path]) -> None:
    node, folder = shared
    old = frozenset(node.workers)
    async with caller_of(node, folder) as caller:
        await with_alices_phone(caller)
        async with calling(node.port, caller.token) as load:
            await asyncio.sleep(0.3)
            node.send(signal.SIGHUP)
            ready = []

            def replaced() -> bool:
                ready.append(node.ask("/readyz")[0])
                return not set(node.workers) & old

            await asyncio.to_thread(wait_until, replaced, within_s=10, what="the end of the old workers")
            answered = load.tally.answered
            await asyncio.sleep(0.3)
            assert load.tally.answered > answered
        assert load.tally.failed == []
        assert load.tally.parted > 0
    assert set(ready) == {200}
    assert len(node.workers) == WORKERS


async def test_the_node_is_not_ready_while_its_challenge_store_hangs(
    shared: tuple[Node, Path], redis: Deployment
) -> None:
    node, _ = shared
    [server] = redis.servers
    server.pause()
    began_s = time.monotonic()
    try:
        status, found = await asyncio.to_thread(node.ask, "/readyz")
    finally:
        server.resume()
    assert time.monotonic() - began_s < 1.5
    checks = found["checks"]
    assert status == 503
    assert checks.pop("challenges") in {"out of reach", "no answer in time"}
    assert checks == {"workers": "ok", "database": "ok", "schema": "ok"}

    def ready() -> bool:
        return node.ask("/readyz")[0] == 200

    await asyncio.to_thread(wait_until, ready, within_s=3, what="readiness")


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_what_no_quota_counts_because_its_store_is_away_is_counted_for_the_whole_node(
    tmp_path: Path, workers: int
) -> None:
    counted = "mfa_quota_unwatched_requests_total"
    with (
        standalone(tmp_path / "valkey") as redis,
        serving(tmp_path, redis, workers, **{"quota.requests_per_s": 1, "quota.burst": 1_000}) as node,
    ):
        async with caller_of(node, tmp_path) as caller:
            assert await caller.devices("nobody") == 404
            assert node.metrics() == {counted: 0}
            redis.servers[0].kill()
            assert [await caller.devices("nobody") for _ in range(100)] == [404] * 100
        seen = node.metrics()
    assert seen.keys() == {counted}
    assert 50 < seen[counted] <= 100


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_a_told_end_drains_the_node_without_a_failed_request(
    tmp_path: Path, redis: Deployment, workers: int
) -> None:
    with serving(tmp_path, redis, workers, **{"http.drain_s": 1}) as node:
        async with caller_of(node, tmp_path) as caller:
            await with_alices_phone(caller)
            async with calling(node.port, caller.token) as load:
                await asyncio.sleep(0.3)
                began_s = time.monotonic()
                load.leaving.set()
                node.send(signal.SIGTERM)

                def draining() -> bool:
                    return node.ask("/readyz")[0] == 503

                await asyncio.to_thread(wait_until, draining, within_s=0.5, what="an end of readiness")
                assert node.ask("/readyz")[1]["checks"]["workers"] == "draining"
                assert node.ask("/livez")[0] == 200
                status, _ = await caller.post("/deviceAuthentications", **OPEN)  # whoever has not heard of it yet
                assert status == 201
                assert await asyncio.to_thread(node.ended) == 0
                assert 1 <= time.monotonic() - began_s < 1 + SHUTDOWN_S
                assert (load.tally.ended, load.tally.parted) == (8, 8)
        assert load.tally.failed == []
        assert load.tally.answered > 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", node.port)


@pytest.mark.parametrize(
    ("workers", "number"), [(WORKERS, signal.SIGTERM), (1, signal.SIGTERM), (1, signal.SIGHUP)], ids=str
)
async def test_a_request_that_came_in_halfway_is_answered_before_the_end(
    tmp_path: Path, redis: Deployment, workers: int, number: signal.Signals
) -> None:
    with serving(tmp_path, redis, workers) as node:
        async with caller_of(node, tmp_path) as caller:
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            head = f"Host: mfa.example\r\nAuthorization: Bearer {caller.token}\r\nContent-Type: application/json\r\n"
            body = b'{"userName":"nobody","deviceName":"Phone","deviceType":"TOTP"}'
            writer.write(f"POST {BASE}/deviceAuthentications HTTP/1.1\r\n{head}".encode())
            writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
            await asyncio.sleep(0.2)
            node.send(number)
            await asyncio.sleep(1.5)  # for longer than a connection may be idle
            writer.write(body[10:])
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert await asyncio.to_thread(node.ended) == 0


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_a_request_that_never_comes_in_whole_does_not_hold_up_the_end(
    tmp_path: Path, redis: Deployment, workers: int
) -> None:
    with serving(tmp_path, redis, workers, **{"http.shutdown_timeout_s": 2}) as node:
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(f"POST {BASE}/oauth2/token HTTP/1.1\r\nHost: mfa.example\r\n".encode())
        writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        node.send(signal.SIGTERM)
        assert await asyncio.to_thread(node.ended) == 0
        assert 1 <= time.monotonic() - began_s < 2
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def test_workers_whose_parent_is_gone_end(tmp_path: Path, redis: Deployment) -> None:
    with serving(tmp_path, redis) as node:
        children = node.children
        assert len(children) == WORKERS + 1
        node.process.kill()
        node.process.wait()
        wait_until(lambda: not any(map(is_alive, children)), within_s=5, what="the end of the workers")


@pytest.mark.parametrize("section", ["http", "ops"])
def test_a_taken_port_is_one_line_and_a_failure(tmp_path: Path, redis: Deployment, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = {"redis.url": redis.url, "http.workers": WORKERS, f"{section}.port": port}
        with started(tmp_path, given) as node:
            assert node.ended() == 1
    assert node.lines == [
        f"Error: {section}.host, {section}.port: cannot listen on 127.0.0.1:{port}: address already in use\n"
    ]


def test_a_store_out_of_reach_at_the_start_is_one_line_and_a_failure(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        given = {"redis.url": f"redis://127.0.0.1:{unheard.getsockname()[1]}", "http.workers": WORKERS}
        with started(tmp_path, given) as node:
            assert node.ended() == 1
    assert len(node.lines) == 1
    assert node.lines[0].startswith("Error: redis is out of reach")
