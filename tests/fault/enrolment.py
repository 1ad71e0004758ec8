"""New users with an active device, and the codes that they can spend at once."""

import asyncio
import itertools
import os
import time
from collections.abc import Sequence

from tests.fault.client import PERIOD_S, Authenticator, Caller, step_now
from tests.fault.nodes import Entrance
from tests.fault.outcomes import OK

_NUMBERS = itertools.count(1)
_MARGIN_S = 3.0


def new_user() -> str:
    """A name that no other user has, in other runs neither."""
    return f"user-{os.getpid()}-{next(_NUMBERS)}"


def spendable_steps() -> list[int]:
    """The time steps, in order, whose codes count now and for a moment to come; all but the first for a whole step."""
    step = step_now()
    left_s = PERIOD_S - time.time() % PERIOD_S
    return [step - 1, step, step + 1] if left_s > _MARGIN_S else [step, step + 1]


async def enrolled(caller: Caller, nodes: Sequence[Entrance], *, steps: int = 1) -> tuple[Authenticator, list[int]]:
    """Return a new user's active device, registered on one node and activated on another, and the steps left to it.

    Args:
        caller: its application.
        nodes: the first and the last of them are asked.
        steps: how many steps must be left; for two the end of the present step may have to be waited for.
    """
    usable = spendable_steps()
    if len(usable) <= steps:
        await asyncio.sleep(PERIOD_S - time.time() % PERIOD_S)
        usable = spendable_steps()
    user = new_user()
    record, device = await caller.register(nodes[0], user, f"{user}'s phone")
    assert device is not None, record.outcome
    first, *rest = usable
    assert (await caller.activate(nodes[-1], device, first)).outcome == OK
    return device, rest
