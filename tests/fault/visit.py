"""What one user does while others do the same: enrols, authenticates, and one thing more."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.fault.client import Authenticator, Caller
from tests.fault.enrolment import spendable_steps
from tests.fault.history import Call, Record
from tests.fault.nodes import FREE_FAILURES, MAX_ATTEMPTS, Entrance
from tests.fault.outcomes import GONE, OK, OPENED, REMOVED, SPENT, USED, WAITS, WRONG

_TRIES = 80
_PAUSE_S = 0.2
_THINKING_S = 0.1


class Diverted(Exception):
    """A user got another answer than one gets where nothing fails."""


@dataclass(slots=True)
class Visit:
    """What one user does: enrols, authenticates, and one thing more, asking again where an answer is missing.

    Attributes:
        kind: which thing more.
        device: the device, once it is registered.
        spent: the steps whose codes were accepted for certain.
        removed: whether the device was, or may have been, removed.
        in_doubt: whether a wrong code or a removal was sent again because its answer was missing: where the first one
            had been carried out, the second one is answered otherwise.
        diverted: the answer that was another than expected, without such a doubt; empty where there was none.
    """

    caller: Caller
    stranger: Caller
    nodes: Sequence[Entrance]
    kind: int
    user: str
    began_s: float
    ended_s: float = 0.0
    device: Authenticator | None = None
    spent: int | None = None
    removed: bool = False
    in_doubt: bool = False
    diverted: str = ""

    async def run(self) -> None:
        """Do all of it, until an answer is not the expected one."""
        try:
            await self._enrol()
        except Diverted as reason:
            if not self.in_doubt:
                self.diverted = str(reason)
        finally:
            self.ended_s = time.monotonic()

    async def look_back(self, node: Entrance) -> None:
        """List the devices, and try the last accepted code once more; the checker judges the answers."""
        device = self.device
        if device is None:
            return
        await self.caller.list(node, self.user)
        if self.spent is not None and not self.removed:
            opened = await self.caller.initiate(node, device)
            if opened.status == 201:
                again = await self.caller.validate(node, opened.auth_id, device, self.spent)
                assert again.outcome == USED, again

    async def _enrol(self) -> None:
        first, second, *third = spendable_steps()
        device = await self._register()
        activated = await self._insist(lambda node: self.caller.activate(node, device, first))
        _expect(activated, OK)
        self.spent = first
        auth_id = await self._open(device)
        _expect(await self._insist(lambda node: self.stranger.validate(node, auth_id, device, second)), GONE)
        await self._accepted(auth_id, device, second)
        _expect(await self._give(auth_id, device, second), OK)
        another = await self._open(device)
        used = await self._give(another, device, second)
        _expect(used, USED)
        if not used.used:
            raise Diverted("the code was called wrong, not used")
        more = (self._race, self._guess, self._leave, self._mistype)
        await more[self.kind % len(more)](device, third)
        if not self.removed:
            listing = await self._insist(lambda node: self.caller.list(node, self.user))
            _expect(listing, OK)

    async def _register(self) -> Authenticator:
        for _ in range(_TRIES):
            record, device = await self.caller.register(self._next_node(), self.user, f"{self.user}'s phone")
            if device is not None:
                self.device = device
                return device
            if not record.is_unknown:
                raise Diverted(str(record))
            await asyncio.sleep(_PAUSE_S)
        raise Diverted("no answer at all")

    async def _open(self, device: Authenticator) -> str:
        opened = await self._insist(lambda node: self.caller.initiate(node, device))
        _expect(opened, OPENED)
        return opened.auth_id

    async def _accepted(self, auth_id: str, device: Authenticator, step: int) -> None:
        """Have a code accepted, asked for on every node at once."""
        answers = await asyncio.gather(*(self.caller.validate(node, auth_id, device, step) for node in self.nodes))
        for one in answers:
            _expect(await self._answered(one, device), OK)
        self.spent = step

    async def _race(self, device: Authenticator, steps: Sequence[int]) -> None:
        """Give one code to two challenges on two nodes at once."""
        for step in steps:
            pair = [await self._open(device) for _ in self.nodes]
            answers = await asyncio.gather(
                *(
                    self.caller.validate(node, auth_id, device, step)
                    for node, auth_id in zip(self.nodes, pair, strict=True)
                )
            )
            answers = [await self._answered(one, device) for one in answers]
            if any(one.passed for one in answers):
                self.spent = step
            if {one.outcome for one in answers} != {OK, USED}:
                raise Diverted(str(answers))

    async def _guess(self, device: Authenticator, steps: Sequence[int]) -> None:
        """Give wrong codes until the device waits, then a right one."""
        spent, auth_id = await self._open(device), await self._open(device)
        for _ in range(MAX_ATTEMPTS):
            _expect(await self._give(spent, device, None), WRONG)
        for step in steps:
            _expect(await self._give(spent, device, step), SPENT)
        for _ in range(FREE_FAILURES - MAX_ATTEMPTS):
            _expect(await self._give(auth_id, device, None), WRONG)
        for step in steps:
            _expect(await self._give(auth_id, device, step), WAITS)
        _expect(await self._insist(lambda node: self.caller.initiate(node, device)), WAITS)

    async def _leave(self, device: Authenticator, steps: Sequence[int]) -> None:
        """Remove the device and give its code to a challenge opened before."""
        auth_id = await self._open(device)
        self.removed = True
        _expect(await self._insist(lambda node: self.caller.remove(node, device)), REMOVED)
        for step in steps:
            _expect(await self._give(auth_id, device, step), GONE)

    async def _mistype(self, device: Authenticator, steps: Sequence[int]) -> None:
        """Give a wrong code and then the right one."""
        auth_id = await self._open(device)
        _expect(await self._give(auth_id, device, None), WRONG)
        for step in steps:
            await self._accepted(auth_id, device, step)

    async def _answered(self, validation: Record, device: Authenticator) -> Record:
        """Repeat a validation whose answer is missing."""
        if not validation.is_unknown:
            return validation
        return await self._give(validation.auth_id, device, validation.step)

    async def _give(self, auth_id: str, device: Authenticator, step: int | None) -> Record:
        return await self._insist(lambda node: self.caller.validate(node, auth_id, device, step))

    async def _insist(self, request: Callable[[Entrance], Awaitable[Record]]) -> Record:
        """Make the same request, on one node after another, until it is known what it did."""
        await asyncio.sleep(_THINKING_S)
        for _ in range(_TRIES):
            record = await request(self._next_node())
            if not record.is_unknown:
                return record
            self.in_doubt |= record.call is Call.REMOVE or (record.call is Call.VALIDATE and record.step is None)
            await asyncio.sleep(_PAUSE_S)
        raise Diverted("no answer at all")

    def _next_node(self) -> Entrance:
        first, *others = self.nodes
        self.nodes = (*others, first)
        return first


def _expect(record: Record, outcome: tuple[int, str]) -> None:
    if record.outcome != outcome:
        raise Diverted(str(record))
