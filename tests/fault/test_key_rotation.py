"""Keys take over from one another on two nodes of several workers, and no request fails.

The nodes share a PostgreSQL server, or an SQLite file beside a Redis.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.contract.sql_stores import sqlite_url
from tests.fault.client import Caller, calling
from tests.fault.enrolment import enrolled, spendable_steps
from tests.fault.load import visited
from tests.fault.nodes import Node, Site, site
from tests.fault.outcomes import OK, OPENED
from tests.servers import postgres

LEAD_S = 3
VISITS_PER_S = 8
"""Beside commands, each of which costs as much as many requests to start."""
NOTICED_WITHIN_S = 1.2
"""A second for a worker to read the keys again, and what it takes to do so."""


@pytest.fixture(params=["postgresql", "sqlite"])
def either(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Site]:
    """Two nodes on either database."""
    if request.param == "postgresql":
        yield cast("Site", request.getfixturevalue("two_nodes"))
        return
    with site(tmp_path, database_url=sqlite_url(tmp_path / "registry.sqlite3"), redis_url=redis_url) as running:
        yield running


async def command(node: Node, *arguments: str) -> str:
    """Run a command beside the nodes, and return what it prints."""
    return await asyncio.to_thread(node.run, *arguments)


async def keys(node: Node, purpose: str) -> Sequence[Any]:
    """What the command tells of the keys of a purpose."""
    return [one for one in json.loads(await command(node, "keys", "list", "--json")) if one["purpose"] == purpose]


async def kids(node: Node) -> set[str]:
    """The ids of the keys that a node publishes, asked for until every worker of it is likely to have answered."""
    published: set[str] = set()
    for _ in range(8):
        async with aiohttp.ClientSession() as session, session.get(f"{node.url}/.well-known/jwks.json") as answer:
            published |= {key["kid"] for key in (await answer.json())["keys"]}
    return published


async def kid_of_a_new_token(caller: Caller, node: Node) -> str:
    """The id of the key that signs on a node now."""
    assert (await caller.token(node)).status == 200
    encoded = caller.bearer["Authorization"].split()[1].partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))["kid"]
    return kid


@asynccontextmanager
async def tokens_renewed(callers: Sequence[Caller], nodes: Sequence[Node]) -> AsyncIterator[list[tuple[float, str]]]:
    """Let the applications get new tokens all the time, which the visits then come with; gives when, and whose key."""
    seen: list[tuple[float, str]] = []

    async def renew() -> None:
        while True:
            for caller in callers:
                for node in nodes:
                    seen.append((time.time(), await kid_of_a_new_token(caller, node)))
                    await asyncio.sleep(0.1)

    renewing = asyncio.create_task(renew())
    try:
        yield seen
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})
        assert renewing.cancelled()


async def rows(site: Site, statement: str) -> Sequence[sa.Row[Any]]:
    """What a query finds in the registry."""
    engine = create_async_engine(site.database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        return (await connection.execute(sa.text(statement))).all()


async def age_keys(site: Site, *, seconds: int) -> None:
    """Let every key have been there for so much longer, in place of waiting for it."""
    aged = f"created_at_ms = created_at_ms - {seconds * 1000}, active_from_ms = active_from_ms - {seconds * 1000}"
    await asyncio.to_thread(postgres.execute, site.database_url, f"UPDATE keys SET {aged}")  # noqa: S608  numbers


async def test_signing_keys_take_over_under_load_and_no_token_is_refused(two_nodes: Site) -> None:
    one, two = two_nodes.nodes
    async with calling(two_nodes) as callers:
        old_token = callers[0].bearer
        [*_, old] = await keys(one, "signing")
        async with (
            visited(callers, two_nodes.nodes, visits_per_s=VISITS_PER_S) as load,
            tokens_renewed(callers, two_nodes.nodes) as seen,
        ):
            await command(one, "keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", str(LEAD_S))
            await asyncio.sleep(NOTICED_WITHIN_S)
            [*_, new] = await keys(two, "signing")
            assert {old["id"], new["id"]} <= await kids(one) & await kids(two)
            await asyncio.sleep(LEAD_S + NOTICED_WITHIN_S)
        assert load.diverted() == []
        assert {kid for _, kid in seen} == {old["id"], new["id"]}
        changed = [at for at, kid in seen if kid == new["id"]]
        assert all(kid == new["id"] for at, kid in seen if at > changed[0] + NOTICED_WITHIN_S)
        await load.look_back(two_nodes.nodes)
        callers[0].bearer = old_token
        for node in two_nodes.nodes:
            await enrolled(callers[0], [node])


async def test_sealing_keys_take_over_and_the_old_one_is_retired_under_load(either: Site) -> None:
    one, two = either.nodes
    async with calling(either) as callers:
        device, _ = await enrolled(callers[0], either.nodes)
        [*_, old] = await keys(one, "sealing")
        earlier = len(either.history.records)
        async with visited(callers, either.nodes, visits_per_s=VISITS_PER_S) as load:
            await asyncio.sleep(1)
            await command(one, "keys", "rotate", "sealing")
            await asyncio.sleep(NOTICED_WITHIN_S)
            [[since_ms]] = await rows(either, "SELECT max(created_at_ms) FROM devices")
            await asyncio.sleep(1)
            [*_, new] = await keys(two, "sealing")
            resealing = asyncio.create_task(command(two, "keys", "reseal"))
            sealed = await rows(either, f"SELECT DISTINCT key_id FROM devices WHERE created_at_ms > {since_ms}")  # noqa: S608  a number
            assert [row.key_id for row in sealed] == [new["id"]]
            assert "sealed with the current key" in await resealing
            await age_keys(either, seconds=61)
            await command(one, "keys", "retire", old["id"])
            await asyncio.sleep(NOTICED_WITHIN_S)
        assert load.diverted() == []
        assert [one for one in either.history.records[earlier:] if one.is_unknown] == []
        assert [key["id"] for key in await keys(one, "sealing")] == [new["id"]]
        assert [row.key_id for row in await rows(either, "SELECT DISTINCT key_id FROM devices")] == [new["id"]]
        opened = await callers[0].initiate(one, device)
        assert opened.outcome == OPENED
        step = spendable_steps()[-1]
        assert (await callers[0].validate(two, opened.auth_id, device, step)).outcome == OK
        await load.look_back(either.nodes)
