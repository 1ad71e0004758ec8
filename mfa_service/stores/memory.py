"""Challenges in the memory of one process, for the embedded default and for tests."""

from collections import deque
from struct import Struct

from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.ports import Clock

# Each opening clears away this many expired challenges at most, so that none of them pays for a whole burst.
_SWEPT_PER_OPENING = 4

# There may be hundreds of thousands of challenges. Each is kept under its id as bytes, which take a third less memory
# than an object with fields and do not concern the garbage collector: a head of fixed size, then the device's id as
# text. What sweeping and settling read stands first in the head, so that each unpacks no more than that.
_DEADLINE = Struct("d")  # in rising time
_PROGRESS = Struct("dqI")  # the deadline, the taken step or `_NOT_TAKEN`, the attempts
_HEAD = Struct("dqIIB")  # the progress, the application's number in its store, the purpose's place in `_PURPOSES`

_NOT_TAKEN = -1  # no time step: those before the epoch do not exist
_PURPOSES = tuple(Purpose)

# Looked up once, for that takes as long as what is done with them: on CPython 3.11 0.1 µs a member of an enumeration.
_WRONG, _USED, _MATCH = Verdict.WRONG, Verdict.USED, Verdict.MATCH
_TAKEN, _REPEAT, _MISMATCH = Settlement.TAKEN, Settlement.REPEAT, Settlement.MISMATCH
_COUNTED, _COUNTED_AS_LAST = Settlement.WRONG, Settlement.LAST_WRONG
_unpack_deadline = _DEADLINE.unpack_from
_pack_progress, _unpack_progress, _PROGRESS_BYTES = _PROGRESS.pack, _PROGRESS.unpack_from, _PROGRESS.size
_pack_head, _unpack_head, _HEAD_BYTES = _HEAD.pack, _HEAD.unpack_from, _HEAD.size


class MemoryChallenges:
    """`Challenges` in a dictionary, atomic because no method of it awaits anything.

    Args:
        clock: tells when a challenge expires, by its rising time.
        capacity: how many challenges are kept at once, so that memory is bounded.
    """

    def __init__(self, clock: Clock, *, capacity: int = 500_000) -> None:
        self._now_s = clock.monotonic_s
        self._capacity = capacity
        self._kept: dict[str, bytes] = {}
        self._queues: dict[int, deque[str]] = {}  # by time to live, so that each is in the order of its deadlines
        self._applications: dict[str, int] = {}  # the number of each that has opened a challenge

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge, as the port says.

        Raises:
            StoreUnavailable: there is one of this id, or no more fit.
        """
        now_s = self._now_s()
        self._sweep(now_s, _SWEPT_PER_OPENING)
        if len(self._kept) >= self._capacity:
            raise StoreUnavailable("too many open challenges")
        auth_id = challenge.auth_id
        if auth_id in self._kept:
            self._sweep(now_s, self._capacity)  # if it has expired, it goes: no id stands in the queues twice
            if auth_id in self._kept:
                raise StoreUnavailable("a challenge of this id is open")
        application = self._applications.get(challenge.application_id)
        if application is None:
            application = self._applications[challenge.application_id] = len(self._applications)
        taken_step = _NOT_TAKEN if challenge.taken_step is None else challenge.taken_step
        purpose = _PURPOSES.index(challenge.purpose)
        head = _pack_head(now_s + ttl_s, taken_step, challenge.attempts, application, purpose)
        self._kept[auth_id] = head + challenge.device_id.encode()
        queue = self._queues.get(ttl_s)
        if queue is None:
            queue = self._queues[ttl_s] = deque()
        queue.append(auth_id)

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return a challenge unchanged, as the port says."""
        kept = self._kept.get(auth_id)
        if kept is None:
            raise ChallengeNotFound
        deadline_s, taken_step, attempts, application, place = _unpack_head(kept)
        if deadline_s <= self._now_s():
            raise ChallengeNotFound
        if _PURPOSES[place] is not purpose or self._applications.get(application_id) != application:
            raise ChallengeNotFound
        taken = None if taken_step == _NOT_TAKEN else taken_step
        return Challenge(auth_id, application_id, kept[_HEAD_BYTES:].decode(), purpose, attempts, taken)

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, as the port says."""
        kept = self._kept.get(auth_id)
        if kept is None:
            raise ChallengeNotFound
        deadline_s, taken_step, attempts = _unpack_progress(kept)
        if deadline_s <= self._now_s():
            raise ChallengeNotFound
        if attempts >= max_attempts:
            raise ChallengeSpent
        taken = taken_step != _NOT_TAKEN
        if taken and verdict is not _WRONG and step == taken_step:
            return _REPEAT
        if verdict is _USED:
            return Settlement.USED
        if not taken and verdict is _MATCH:
            self._kept[auth_id] = _pack_progress(deadline_s, step, attempts) + kept[_PROGRESS_BYTES:]
            return _TAKEN
        attempts += 1
        self._kept[auth_id] = _pack_progress(deadline_s, taken_step, attempts) + kept[_PROGRESS_BYTES:]
        if taken:
            return _MISMATCH
        return _COUNTED if attempts < max_attempts else _COUNTED_AS_LAST

    async def ping(self) -> None:
        """Return at once: this store is always within reach."""

    async def close(self) -> None:
        """Forget every challenge."""
        self._kept.clear()
        self._queues.clear()
        self._applications.clear()

    def _sweep(self, now_s: float, most: int) -> None:
        """Clear away so many expired challenges at most, and where it is full, as many as it takes to fit one more."""
        swept = 0
        for queue in self._queues.values():
            while queue and _unpack_deadline(self._kept[queue[0]])[0] <= now_s:
                if swept >= most and len(self._kept) < self._capacity:
                    return
                del self._kept[queue.popleft()]
                swept += 1
