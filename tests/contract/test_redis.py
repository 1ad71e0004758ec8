"""What is true of Redis and Valkey alone: what lies in them, what is never sent twice, and how they may change."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import cast

import hiredis
import pytest
import redis
from redis.asyncio.connection import Connection
from redis.crc import key_slot

from mfa_service.errors import ChallengeNotFound, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.stores.redis import RedisChallenges, open_challenges
from mfa_service.stores.redis.client import Client, Standalone
from mfa_service.stores.redis.link import connect
from mfa_service.stores.redis.node import Node
from tests.servers.valkey import Deployment, Server, sentinel, standalone


@contextlib.asynccontextmanager
async def opened(url: str, *, prefix: str = "mfa:", deadline_s: float = 0.8) -> AsyncIterator[RedisChallenges]:
    challenges = await open_challenges(url, prefix=prefix, deadline_s=deadline_s)
    try:
        yield challenges
    finally:
        await challenges.close()


async def open_one(challenges: RedisChallenges, auth_id: str = "") -> str:
    auth_id = auth_id or str(uuid.uuid4())
    await challenges.open(Challenge(auth_id, "application", "device", Purpose.AUTHENTICATION), ttl_s=60)
    return auth_id


async def peek(challenges: RedisChallenges, auth_id: str) -> Challenge:
    return await challenges.peek(auth_id, application_id="application", purpose=Purpose.AUTHENTICATION)


async def wrong(challenges: RedisChallenges, auth_id: str) -> Settlement:
    return await challenges.settle(auth_id, Verdict.WRONG, step=None, max_attempts=5)


async def open_one_again(challenges: RedisChallenges, limit_s: float) -> str:
    """Open a challenge, however often that is refused within the limit, and return its id."""
    async with asyncio.timeout(limit_s):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await open_one(challenges)
            await asyncio.sleep(0.05)


# What lies in it


async def test_a_challenge_is_one_key_that_has_a_ttl_and_names_nobody(valkey: Deployment) -> None:
    [server] = valkey.servers
    async with opened(valkey.url, prefix="ttl:") as challenges:
        ids = [await open_one(challenges) for _ in range(3)]
        await wrong(challenges, ids[0])
        await challenges.settle(ids[1], Verdict.MATCH, step=59_461_234, max_attempts=5)
        keys = {f"ttl:c:{auth_id}".encode() for auth_id in ids}
        assert {key for key in server.client.scan_iter("ttl:*") if b"startup" not in key} == keys
        assert all(0 < server.client.pttl(key) <= 60_000 for key in server.client.scan_iter("ttl:*"))
        assert server.client.get(f"ttl:c:{ids[0]}") == b"1::authenticate:device:application"
        assert server.client.get(f"ttl:c:{ids[1]}") == b"0:59461234:authenticate:device:application"


async def test_deployments_of_different_prefixes_do_not_see_one_another(valkey: Deployment) -> None:
    async with opened(valkey.url, prefix="one:") as one, opened(valkey.url, prefix="two:") as two:
        auth_id = await open_one(one)
        await open_one(two, auth_id)
        await wrong(one, auth_id)
        assert [(await peek(store, auth_id)).attempts for store in (one, two)] == [1, 0]


async def test_few_commands_are_used_and_none_that_looks_at_other_keys(valkey: Deployment) -> None:
    [server] = valkey.servers
    server.command("CONFIG", "RESETSTAT")
    async with opened(valkey.url) as challenges:
        auth_id = await open_one(challenges)
        await wrong(challenges, auth_id)
        await peek(challenges, auth_id)
        await challenges.ping()
    used = {name.removeprefix("cmdstat_") for name in server.facts("commandstats")}
    assert used <= {"set", "get", "evalsha", "eval", "ping", "info", "client|setinfo", "config|resetstat"}


async def test_a_flushed_script_is_sent_again_and_cached_once(valkey: Deployment) -> None:
    [server] = valkey.servers
    async with opened(valkey.url) as challenges:
        auth_id = await open_one(challenges)
        for _ in range(3):
            server.command("SCRIPT", "FLUSH")
            await wrong(challenges, auth_id)
        assert (await peek(challenges, auth_id)).attempts == 3
        assert server.facts("memory")["number_of_cached_scripts"] == 1


# Connections and servers that go away


async def test_a_connection_closed_between_two_calls_is_replaced_without_a_word(valkey: Deployment) -> None:
    [server] = valkey.servers
    async with opened(valkey.url) as challenges:
        auth_id = await open_one(challenges)
        for _ in range(3):
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.05)
            await wrong(challenges, auth_id)
        assert (await peek(challenges, auth_id)).attempts == 3


async def test_a_server_that_comes_back_empty_is_used_again_and_its_challenges_are_gone(tmp_path: Path) -> None:
    with standalone(tmp_path) as deployment:
        async with opened(deployment.url) as challenges:
            auth_id = await open_one(challenges)
            deployment.servers[0].kill()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await wrong(challenges, auth_id)
            with pytest.raises(StoreUnavailable):
                await challenges.ping()
            deployment.servers[0].start()
            another = await open_one_again(challenges, 3)
            assert await wrong(challenges, another) is Settlement.WRONG
            with pytest.raises(ChallengeNotFound):
                await wrong(challenges, auth_id)


async def test_after_a_failover_the_new_master_is_used(tmp_path: Path) -> None:
    with sentinel(tmp_path) as deployment:
        async with opened(deployment.url) as challenges:
            await open_one(challenges)
            deployment.servers[0].kill()
            with pytest.raises(StoreUnavailable):
                await open_one(challenges)
            auth_id = await open_one_again(challenges, 15)
            assert await wrong(challenges, auth_id) is Settlement.WRONG
            assert deployment.servers[1].client.exists(f"mfa:c:{auth_id}") == 1


# Commands that may have run


@contextlib.asynccontextmanager
async def scripted(answer: Callable[[list[bytes]], bytes | None]) -> AsyncIterator[RedisChallenges]:
    """Challenges in a server that answers as it is told, or closes the connection on None."""
    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        parser = hiredis.Reader()
        reply: bytes | None = b""
        while reply is not None and (data := await reader.read(65_536)):
            parser.feed(data)
            while reply is not None and (words := parser.gets()):
                reply = b"+OK\r\n" if words[0] == b"CLIENT" else answer(words)
                writer.write(reply or b"")
        writer.close()
        await writer.wait_closed()
        end.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = listener.sockets[0].getsockname()[:2]
    node = Node(address, partial(connect, Connection, address, {}), deadline_s=0.5)
    challenges = RedisChallenges(Client(Standalone(node), deadline_s=0.5), prefix="mfa:")
    try:
        yield challenges
    finally:
        await challenges.close()
        listener.close()
        for end in ended:
            await end.wait()


async def test_a_command_whose_reply_was_lost_is_not_sent_again() -> None:
    received: list[bytes] = []

    def lose(words: list[bytes]) -> None:
        received.append(words[0])

    async with scripted(lose) as challenges:
        for call in (open_one(challenges), wrong(challenges, "a"), peek(challenges, "a")):
            with pytest.raises(StoreUnavailable):
                await call
    assert received == [b"SET", b"EVALSHA", b"GET"]


@pytest.mark.parametrize("refusal", [b"-LOADING in progress\r\n", b"-TRYAGAIN later\r\n", b"-NOSCRIPT unknown\r\n"])
async def test_a_command_that_did_not_run_is_sent_once_more(refusal: bytes) -> None:
    replies = [refusal, b"+wrong\r\n"]
    async with scripted(lambda _words: replies.pop(0)) as challenges:
        assert await wrong(challenges, "a") is Settlement.WRONG
    assert not replies


async def test_a_command_that_did_not_run_twice_is_given_up() -> None:
    replies = [b"-LOADING in progress\r\n"] * 3
    async with scripted(lambda _words: replies.pop(0)) as challenges:
        with pytest.raises(StoreUnavailable):
            await wrong(challenges, "a")
    assert len(replies) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        b"-OOM no memory\r\n",
        b"-READONLY a replica\r\n",
        b"-BUSY a script\r\n",
        b"-MOVED 7 127.0.0.1:7\r\n",
        b"-CLUSTERDOWN a slot is nobody's\r\n",
        b"-MASTERDOWN no link\r\n",
        b"-NOREPLICAS too few\r\n",
        b"-NOAUTH no more\r\n",
    ],
)
async def test_any_other_refusal_is_not_sent_again(refusal: bytes) -> None:
    received: list[bytes] = []

    def refuse(words: list[bytes]) -> bytes:
        received.append(words[0])
        return refusal

    async with scripted(refuse) as challenges:
        with pytest.raises(StoreUnavailable):
            await wrong(challenges, "a")
    assert received == [b"EVALSHA"]


@pytest.mark.parametrize("refusal", [b"-CLUSTERDOWN a slot is nobody's\r\n", b"-LOADING in progress\r\n"])
async def test_a_server_that_answers_and_serves_nothing_is_out_of_reach(refusal: bytes) -> None:
    async with scripted(lambda _words: refusal) as challenges:
        with pytest.raises(StoreUnavailable):
            await challenges.ping()


async def test_one_refused_command_of_a_batch_is_refused_alone() -> None:
    def refuse_b(words: list[bytes]) -> bytes:
        return b"-OOM no memory\r\n" if words[1] == b"mfa:c:b" else b"+0::authenticate:device:application\r\n"

    async with scripted(refuse_b) as challenges:
        outcomes = await asyncio.gather(*(peek(challenges, name) for name in "abc"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Challenge, StoreUnavailable, Challenge]


async def test_a_late_reply_is_nobody_elses(valkey: Deployment) -> None:
    [server] = valkey.servers
    async with opened(valkey.url, deadline_s=0.2) as challenges:
        slow, quick = await open_one(challenges), await open_one(challenges)
        await wrong(challenges, slow)
        server.pause()
        with pytest.raises(StoreUnavailable):
            await peek(challenges, slow)
        server.resume()
        await open_one_again(challenges, 3)
        assert [(await peek(challenges, auth_id)).attempts for auth_id in (quick, slow, quick)] == [0, 1, 0]


async def test_a_full_server_opens_and_settles_nothing_until_it_has_room_again(tmp_path: Path) -> None:
    with standalone(tmp_path) as deployment:
        [server] = deployment.servers
        async with opened(deployment.url) as challenges:
            auth_id = await open_one(challenges)
            server.command("CONFIG", "SET", "maxmemory", 1)
            for verdict, step in ((Verdict.MATCH, 7), (Verdict.WRONG, None)):
                with pytest.raises(StoreUnavailable):
                    await challenges.settle(auth_id, verdict, step=step, max_attempts=5)
            with pytest.raises(StoreUnavailable):
                await open_one(challenges)
            peeked = await peek(challenges, auth_id)
            assert (peeked.attempts, peeked.taken_step) == (0, None)
            server.command("CONFIG", "SET", "maxmemory", 0)
            assert await wrong(challenges, auth_id) is Settlement.WRONG
            await open_one(challenges)


@pytest.mark.alone
async def test_a_server_busy_with_somebodys_script_is_out_of_reach_until_that_has_ended(tmp_path: Path) -> None:
    with standalone(tmp_path, "--busy-reply-threshold", "50") as deployment:
        [server] = deployment.servers
        async with opened(deployment.url, deadline_s=0.3) as challenges:
            auth_id = await open_one(challenges)
            busy = asyncio.create_task(asyncio.to_thread(server.client.eval, "while true do end", 0))
            await asyncio.sleep(0.2)
            began_s = asyncio.get_running_loop().time()
            with pytest.raises(StoreUnavailable):
                await wrong(challenges, auth_id)
            assert asyncio.get_running_loop().time() - began_s < 0.5
            await asyncio.to_thread(redis.Redis(port=server.port).script_kill)
            with pytest.raises(redis.ResponseError):
                await busy
            await open_one_again(challenges, 3)
            assert (await peek(challenges, auth_id)).attempts == 0


async def test_the_scripts_that_a_server_keeps_do_not_grow_with_the_calls(valkey: Deployment) -> None:
    [server] = valkey.servers
    server.command("SCRIPT", "FLUSH")
    async with opened(valkey.url) as challenges:
        ids = [await open_one(challenges) for _ in range(10)]
        for _ in range(100):
            await asyncio.gather(*(challenges.settle(one, Verdict.USED, step=7, max_attempts=5) for one in ids))
        assert server.facts("memory")["number_of_cached_scripts"] == 1


# A Cluster that changes


def owner_of(deployment: Deployment, auth_id: str) -> tuple[Server, int]:
    """Return the master that has a challenge's slot, and the slot."""
    slot = key_slot(f"mfa:c:{auth_id}".encode())
    ranges: list[list[object]] = deployment.servers[0].command("CLUSTER", "SLOTS")  # type: ignore[assignment]
    for first, last, master, *_ in ranges:
        if int(str(first)) <= slot <= int(str(last)):
            port = master[1]  # type: ignore[index]
            return next(server for server in deployment.servers if server.port == port), slot
    raise AssertionError("every slot has an owner")


async def test_a_slot_on_the_move_is_followed_to_its_new_master(valkey_cluster: Deployment) -> None:
    tag = f"{{{uuid.uuid4()}}}"  # what stands in braces is all that is hashed, so both are in one slot
    auth_id, late_id = f"{tag}first", f"{tag}late"
    source, slot = owner_of(valkey_cluster, auth_id)
    target = next(server for server in valkey_cluster.servers if server is not source)
    ids = {server: server.text("CLUSTER", "MYID") for server in (source, target)}
    async with opened(valkey_cluster.url) as challenges:
        await open_one(challenges, auth_id)
        target.command("SCRIPT", "FLUSH")
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        assert await wrong(challenges, auth_id) is Settlement.WRONG  # it is still at the source
        await open_one(challenges, late_id)  # new keys are made at the target: ASK
        assert await wrong(challenges, late_id) is Settlement.WRONG
        source.command("MIGRATE", "127.0.0.1", target.port, f"mfa:c:{auth_id}", 0, 1000)
        assert await wrong(challenges, auth_id) is Settlement.WRONG
        for key in cast("list[str]", source.command("CLUSTER", "GETKEYSINSLOT", slot, 1_000)):  # of other tests
            source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)
        for server in (target, source, *valkey_cluster.servers):
            server.command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        assert owner_of(valkey_cluster, auth_id)[0] is target
        assert await wrong(challenges, auth_id) is Settlement.WRONG  # MOVED
        assert (await peek(challenges, auth_id)).attempts == 3
        assert (await peek(challenges, late_id)).attempts == 1


async def test_a_silent_master_makes_only_its_own_challenges_unavailable(valkey_cluster: Deployment) -> None:
    async with opened(valkey_cluster.url, deadline_s=0.4) as challenges:
        ids = [await open_one(challenges) for _ in range(30)]
        silent, _ = owner_of(valkey_cluster, ids[0])
        theirs = [owner_of(valkey_cluster, auth_id)[0] is silent for auth_id in ids]
        silent.pause()
        try:
            outcomes = await asyncio.gather(*(wrong(challenges, auth_id) for auth_id in ids), return_exceptions=True)
            await challenges.ping()  # or every node would take itself out for the one master
        finally:
            silent.resume()
        assert [isinstance(outcome, StoreUnavailable) for outcome in outcomes] == theirs
        assert len(set(theirs)) == 2
