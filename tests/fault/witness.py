"""Users who saw the service before a fault and tell afterwards whether it remembers them."""

from tests.fault.client import Caller
from tests.fault.enrolment import enrolled
from tests.fault.nodes import FREE_FAILURES, Site
from tests.fault.outcomes import GONE, OK, WAITS


class Witness:
    """Users who were there before the fault: one whose code was used, one who waits, and one about to leave."""

    def __init__(self, caller: Caller, running: Site) -> None:
        self._caller = caller
        self._one, self._two = running.nodes

    async def come(self) -> None:
        """Use a code and open another challenge; mistype five codes; enrol."""
        nodes = (self._one, self._two)
        self.device, [self._used, self._next] = await enrolled(self._caller, nodes, steps=2)
        done = await self._caller.initiate(self._one, self.device)
        assert (await self._caller.validate(self._two, done.auth_id, self.device, self._used)).outcome == OK
        self._open = (await self._caller.initiate(self._one, self.device)).auth_id
        self._locked, _ = await enrolled(self._caller, nodes)
        for _ in range(FREE_FAILURES):
            opened = await self._caller.initiate(self._one, self._locked)
            assert (await self._caller.validate(self._two, opened.auth_id, self._locked, None)).was_wrong
        self._leaving, _ = await enrolled(self._caller, nodes)

    async def leave(self) -> None:
        """Make the calls that need no Redis: a token, a list, a removal."""
        assert (await self._caller.token(self._one)).status == 200
        assert (await self._caller.list(self._two, self.device.user)).status == 200
        assert (await self._caller.remove(self._one, self._leaving)).status == 204

    async def testify(self, *, challenge_is_kept: bool) -> None:
        """Check that used codes are refused and waits hold, and that the next code is accepted."""
        again = await self._caller.initiate(self._two, self.device)
        assert (await self._caller.validate(self._one, again.auth_id, self.device, self._used)).used
        assert (await self._caller.initiate(self._two, self._locked)).outcome == WAITS
        kept = await self._caller.validate(self._two, self._open, self.device, self._next)
        assert kept.outcome == (OK if challenge_is_kept else GONE)
        after = await self._caller.validate(self._two, again.auth_id, self.device, self._next)
        assert after.used if challenge_is_kept else after.outcome == OK
