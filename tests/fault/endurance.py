"""A fault under load: codes are on their way to be accepted when it comes, and the service is back soon after it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.fault.client import Authenticator, Caller
from tests.fault.enrolment import enrolled
from tests.fault.history import Fault, Record
from tests.fault.load import visited
from tests.fault.nodes import Site
from tests.fault.outcomes import GONE, OK, USED

BACK_WITHIN_S = 2.0
_BEFORE_S = 1.2
_AFTER_S = 1.0
_DUELS = 60
_BETWEEN_S = 0.005
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Duel:
    """A device with two challenges, opened on two nodes, that are given the same code at once."""

    caller: Caller
    site: Site
    device: Authenticator
    step: int
    auth_ids: Sequence[str]

    async def fight(self, after_s: float = 0) -> list[Record]:
        """Give the code to both, in a while."""
        await asyncio.sleep(after_s)
        every = zip(reversed(self.site.nodes), self.auth_ids, strict=True)
        return await asyncio.gather(
            *(self.caller.validate(node, auth_id, self.device, self.step) for node, auth_id in every)
        )


async def duels(caller: Caller, site: Site, count: int) -> list[Duel]:
    """Return duels that are ready to be fought; few at once are made ready, for nothing may be refused yet."""
    ready: list[Duel] = []
    while len(ready) < count:
        some = range(min(_AT_ONCE, count - len(ready)))
        ready += await asyncio.gather(*(_duel(caller, site) for _ in some))
    return ready


async def _duel(caller: Caller, site: Site) -> Duel:
    device, [step, *_] = await enrolled(caller, site.nodes)
    opened = [await caller.initiate(node, device) for node in site.nodes]
    return Duel(caller, site, device, step, [one.auth_id for one in opened])


async def endured(
    callers: Sequence[Caller],
    site: Site,
    *,
    breaks: Callable[[], object],
    meanwhile: Callable[[], Awaitable[object]],
    mends: Callable[[], object],
) -> Fault:
    """Break something under load and mend it, and check that the service is whole again soon after.

    Args:
        callers: the two applications.
        site: whose history takes the fault.
        breaks: makes the fault, while many codes are on their way to be accepted.
        meanwhile: what is tried while it lasts.
        mends: returns when what was broken accepts again.
    """
    pairs = await duels(callers[0], site, _DUELS)
    async with visited(callers, site.nodes) as load:
        await asyncio.sleep(_BEFORE_S)
        fault = site.history.begin_fault()
        under_way = [asyncio.create_task(one.fight(number * _BETWEEN_S)) for number, one in enumerate(pairs)]
        await asyncio.to_thread(_after, _DUELS * _BETWEEN_S / 2, breaks)
        try:
            await asyncio.gather(meanwhile(), *under_way)
        finally:
            await asyncio.to_thread(mends)
        fault.ended_s = time.monotonic() + BACK_WITHIN_S
        await asyncio.sleep(BACK_WITHIN_S + _AFTER_S)
    assert load.diverted(fault) == []
    assert any(visit.began_s > fault.ended_s for visit in load.visits)
    assert any(one.is_unknown for one in site.history.during(fault))
    for again in await asyncio.gather(*(one.fight() for one in pairs)):
        outcomes = {one.outcome for one in again}
        assert outcomes <= {OK, USED, GONE}, outcomes
    await load.look_back(site.nodes)
    return fault


def _after(pause_s: float, act: Callable[[], object]) -> None:
    time.sleep(pause_s)
    act()
