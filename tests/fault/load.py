"""A small steady load: users who come, each with a device of its own, and do what users do."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.fault.client import Caller
from tests.fault.enrolment import new_user
from tests.fault.history import Fault
from tests.fault.nodes import Entrance
from tests.fault.visit import Visit

_LOOKING_BACK = 20
_CROWD = 50


class Load:
    """Users who come at a steady rate until told to stop; while many are there already, the next ones wait.

    Args:
        callers: the two applications; each is a stranger to the other's users.
        nodes: where they are sent, in turn.
        visits_per_s: how many come in a second; each makes about fifteen requests, one after another.
    """

    def __init__(self, callers: Sequence[Caller], nodes: Sequence[Entrance], *, visits_per_s: int) -> None:
        self.visits: list[Visit] = []
        self._callers = callers
        self._nodes = nodes
        self._pause_s = 1 / visits_per_s
        self._stopped = False

    async def come(self) -> None:
        """Let users come until `stop`, and return when the last of them has left."""
        next_s = time.monotonic()
        places = asyncio.Semaphore(_CROWD)
        async with asyncio.TaskGroup() as group:
            while not self._stopped:
                await places.acquire()
                group.create_task(self._visit().run()).add_done_callback(lambda _: places.release())
                next_s += self._pause_s
                await asyncio.sleep(next_s - time.monotonic())

    def stop(self) -> None:
        """Let nobody come any more."""
        self._stopped = True

    def diverted(self, *faults: Fault) -> list[str]:
        """Return why visits ended early, of those that no fault touched."""
        return [
            visit.diverted
            for visit in self.visits
            if visit.diverted
            and not any(visit.began_s <= one.ended_s and visit.ended_s >= one.began_s for one in faults)
        ]

    async def look_back(self, nodes: Sequence[Entrance]) -> None:
        """Let every user look back, a few at a time, spread over nodes."""
        for first in range(0, len(self.visits), _LOOKING_BACK):
            some = self.visits[first : first + _LOOKING_BACK]
            await asyncio.gather(*(visit.look_back(nodes[number % len(nodes)]) for number, visit in enumerate(some)))

    def _visit(self) -> Visit:
        number = len(self.visits)
        first, second = self._callers
        caller, stranger = (first, second) if number % 2 else (second, first)
        nodes = self._nodes if number % 4 < len(self._nodes) else tuple(reversed(self._nodes))
        visit = Visit(caller, stranger, nodes, kind=number // 2, user=new_user(), began_s=time.monotonic())
        self.visits.append(visit)
        return visit


@asynccontextmanager
async def visited(
    callers: Sequence[Caller], nodes: Sequence[Entrance], *, visits_per_s: int = 15
) -> AsyncIterator[Load]:
    """Let users come while the block runs, and wait at its end until the last of them has left."""
    load = Load(callers, nodes, visits_per_s=visits_per_s)
    coming = asyncio.create_task(load.come())
    try:
        yield load
    finally:
        load.stop()
        await coming
