"""Two nodes are one service: what one opens the other finishes, and no pair of them accepts a code twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fault.client import Authenticator, Caller, calling
from tests.fault.endurance import duels
from tests.fault.enrolment import enrolled
from tests.fault.history import Lost, Record
from tests.fault.load import visited
from tests.fault.nodes import FREE_FAILURES, MAX_ATTEMPTS, Node, Site, site
from tests.fault.outcomes import OK, OPENED, SPENT, USED, WAITS, WRONG
from tests.servers import postgres

PARALLEL = 100
ROUNDS = 50
DUELS = 40
REPLACED_WITHIN_S = 2.0
NOTICED_WITHIN_S = 0.2
"""After which no caller has a connection to a dead process any more."""


@pytest.fixture
def mortal_nodes(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Site]:
    """Two nodes of which one may die."""
    with (
        postgres.database(postgres_url) as database_url,
        site(tmp_path, database_url=database_url, redis_url=redis_url) as running,
    ):
        yield running


async def opened(caller: Caller, nodes: Sequence[Node], device: Authenticator, count: int) -> list[str]:
    """The ids of so many challenges, opened on all nodes at once."""
    answers = await asyncio.gather(*(caller.initiate(nodes[number % len(nodes)], device) for number in range(count)))
    assert {one.outcome for one in answers} == {OPENED}
    return [one.auth_id for one in answers]


async def validated(
    caller: Caller, nodes: Sequence[Node], auth_ids: Sequence[str], device: Authenticator, step: int | None
) -> list[Record]:
    """What a hundred validations at once were answered, spread over challenges and nodes."""
    every = [(nodes[number % len(nodes)], auth_ids[number % len(auth_ids)]) for number in range(PARALLEL)]
    return await asyncio.gather(*(caller.validate(node, auth_id, device, step) for node, auth_id in every))


async def test_a_challenge_opened_on_one_node_is_validated_on_the_other(two_nodes: Site) -> None:
    async with calling(two_nodes) as (caller, _):
        one, two = two_nodes.nodes
        for first, second in ((one, two), (two, one)):
            device, [step, *_] = await enrolled(caller, (first, second))
            [auth_id] = await opened(caller, [first], device, 1)
            assert (await caller.validate(second, auth_id, device, step)).outcome == OK


async def test_of_a_hundred_right_codes_on_one_challenge_one_is_accepted_and_the_others_repeat_it(
    two_nodes: Site,
) -> None:
    async with calling(two_nodes) as (caller, _):
        accepted: dict[str, int] = {}
        for _ in range(ROUNDS):
            device, [step, *_] = await enrolled(caller, two_nodes.nodes)
            auth_ids = await opened(caller, two_nodes.nodes, device, 1)
            answers = await validated(caller, two_nodes.nodes, auth_ids, device, step)
            assert Counter(one.outcome for one in answers) == {OK: PARALLEL}
            accepted |= {auth_ids[0]: step}
    entries = [(one.auth_id, one.step) for one in two_nodes.history.accepted() if one.auth_id in accepted]
    assert sorted(entries) == sorted(accepted.items())


async def test_of_a_hundred_challenges_of_one_device_one_takes_the_code(two_nodes: Site) -> None:
    async with calling(two_nodes) as (caller, _):
        for _ in range(ROUNDS):
            device, [step, *_] = await enrolled(caller, two_nodes.nodes)
            auth_ids = await opened(caller, two_nodes.nodes, device, PARALLEL)
            answers = await validated(caller, two_nodes.nodes, auth_ids, device, step)
            assert Counter(one.outcome for one in answers) == {OK: 1, USED: PARALLEL - 1}
            assert all(one.used for one in answers if one.outcome == USED)


async def test_of_a_hundred_wrong_codes_on_one_challenge_as_many_are_weighed_as_it_takes(two_nodes: Site) -> None:
    async with calling(two_nodes) as (caller, _):
        for _ in range(10):
            device, [step, *_] = await enrolled(caller, two_nodes.nodes)
            auth_ids = await opened(caller, two_nodes.nodes, device, 2)
            answers = await validated(caller, two_nodes.nodes, auth_ids[:1], device, None)
            assert Counter(one.outcome for one in answers) == {WRONG: MAX_ATTEMPTS, SPENT: PARALLEL - MAX_ATTEMPTS}
            assert (await caller.validate(two_nodes.nodes[0], auth_ids[0], device, step)).outcome == SPENT
            assert (await caller.validate(two_nodes.nodes[0], auth_ids[1], device, step)).outcome == OK


async def test_of_a_hundred_wrong_codes_on_a_hundred_challenges_as_many_are_weighed_as_the_device_takes(
    two_nodes: Site,
) -> None:
    async with calling(two_nodes) as (caller, _):
        for _ in range(5):
            device, [step, *_] = await enrolled(caller, two_nodes.nodes)
            auth_ids = await opened(caller, two_nodes.nodes, device, PARALLEL)
            answers = await validated(caller, two_nodes.nodes, auth_ids, device, None)
            assert Counter(one.outcome for one in answers) == {WRONG: FREE_FAILURES, WAITS: PARALLEL - FREE_FAILURES}
            assert (await caller.validate(two_nodes.nodes[1], auth_ids[0], device, step)).outcome == WAITS


async def test_a_killed_worker_costs_the_requests_that_it_had_and_is_replaced(two_nodes: Site) -> None:
    hit, _ = two_nodes.nodes
    async with calling(two_nodes) as callers:
        pairs = await duels(callers[0], two_nodes, DUELS)
        async with visited(callers, two_nodes.nodes) as load:
            await asyncio.sleep(1)
            workers = hit.workers
            fault = two_nodes.history.begin_fault(hit.name)
            under_way = [asyncio.create_task(one.fight()) for one in pairs]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            hit.kill_worker(workers[0])
            fault.ended_s = time.monotonic() + NOTICED_WITHIN_S
            await asyncio.to_thread(hit.wait, within_s=REPLACED_WITHIN_S)
            await asyncio.gather(*under_way)
            await asyncio.sleep(1)
        assert load.diverted() == []
        for one in pairs:
            assert {again.outcome for again in await one.fight()} == {OK, USED}
        await load.look_back(two_nodes.nodes)
    assert hit.workers[0] == workers[1]
    unknown = [one for one in two_nodes.history.during(fault) if one.is_unknown]
    assert {(one.node, one.status, one.code) for one in unknown} == {(hit.name, None, Lost.CONNECTION)}
    assert any(one.node == hit.name and one.sent_s > fault.ended_s for one in two_nodes.history.records)


async def test_a_killed_node_takes_nothing_with_it(mortal_nodes: Site) -> None:
    async with calling(mortal_nodes) as callers:
        doomed, other = mortal_nodes.nodes
        device, [step, *_] = await enrolled(callers[0], mortal_nodes.nodes)
        [auth_id] = await opened(callers[0], [doomed], device, 1)
        async with visited(callers, mortal_nodes.nodes) as load:
            await asyncio.sleep(1.2)
            fault = mortal_nodes.history.begin_fault(doomed.name)
            doomed.kill()
            await asyncio.sleep(1.2)
        assert (await callers[0].validate(other, auth_id, device, step)).outcome == OK
        assert load.diverted() == []
        await load.look_back([other])
    unknown = [one for one in mortal_nodes.history.records if one.is_unknown]
    assert {(one.node, one.status, one.code) for one in unknown} == {(doomed.name, None, Lost.CONNECTION)}
    assert all(fault.covers(one) for one in unknown)
