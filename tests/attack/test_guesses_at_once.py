"""Attacks that hope for more comparisons than charges: guesses of which a wait refuses all but one an answer."""

import asyncio
from contextlib import AsyncExitStack
from typing import cast

from tests.attack.cases import attack
from tests.attack.guessing import FREE_FAILURES
from tests.attack.outcomes import INVALID, WAITS
from tests.attack.setups import TwoNodes
from tests.attack.wires import HOST, JSON, authorization, connected, head, with_body
from tests.servers.valkey import Deployment

GUESSES = 200


@attack("R-09", "R-10")
async def test_of_guesses_at_once_each_worker_compares_one_before_the_device_waits(
    nodes: TwoNodes, valkey: Deployment
) -> None:
    caller = await nodes.onboard()
    phone = await caller.enrolled()
    opened = [await caller.challenge() for _ in range(GUESSES)]
    for code in phone.wrong_codes(FREE_FAILURES - 1):
        assert (await caller.validate(await caller.challenge(), code)).outcome == INVALID
    known, content = await authorization(caller), {"deviceType": "TOTP", "otp": phone.wrong_code()}
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(nodes)) for _ in opened]
        for wire, auth_id in zip(wires, opened, strict=True):
            request = with_body(head("POST", f"/deviceAuthentications/{auth_id}", HOST, JSON, known), content)
            await wire.send(request[:-1])
        await asyncio.sleep(0.2)
        for wire in wires:
            wire.writer.write(b"}")
        answers = [await wire.response() for wire in wires]
    outcomes = [(answer.status, answer.json["code"]) for answer in answers]
    assert (outcomes.count(INVALID), outcomes.count(WAITS)) == (1, GUESSES - 1)
    keys = [f"{nodes.site.key_prefix}:c:{auth_id}" for auth_id in opened]
    values = cast("list[bytes]", valkey.servers[0].client.mget(keys))
    compared = sum(int(value.partition(b":")[0]) for value in values)
    assert 1 <= compared <= sum(len(node.workers) for node in nodes.site.nodes)
