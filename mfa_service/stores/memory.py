"""Challenges in the memory of one process, for the embedded default and for tests."""

from collections import deque
from dataclasses import dataclass

from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.ports import Clock

# Each opening clears away this many expired challenges at most, so that none of them pays for a whole burst.
_SWEPT_PER_OPENING = 4


@dataclass(slots=True)
class _Kept:
    """A challenge and when it ends, in one object: there may be hundreds of thousands."""

    auth_id: str
    application_id: str
    device_id: str
    purpose: Purpose
    attempts: int
    taken_step: int | None
    deadline_s: float


class MemoryChallenges:
    """`Challenges` in a dictionary, atomic because no method of it awaits anything.

    Args:
        clock: tells when a challenge expires, by its rising time.
        capacity: how many challenges are kept at once, so that memory is bounded.
    """

    def __init__(self, clock: Clock, *, capacity: int = 500_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._kept: dict[str, _Kept] = {}
        self._queues: dict[int, deque[_Kept]] = {}  # by time to live, so that each is in the order of its deadlines
        self._queued = 0

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge, as the port says.

        Raises:
            StoreUnavailable: there is one of this id, or no more fit.
        """
        now_s = self._clock.monotonic_s()
        self._sweep(now_s)
        if self._queued >= self._capacity:
            raise StoreUnavailable("too many open challenges")
        kept = self._kept.get(challenge.auth_id)
        if kept is not None and kept.deadline_s > now_s:
            raise StoreUnavailable("a challenge of this id is open")
        kept = _Kept(
            challenge.auth_id,
            challenge.application_id,
            challenge.device_id,
            challenge.purpose,
            challenge.attempts,
            challenge.taken_step,
            now_s + ttl_s,
        )
        self._kept[challenge.auth_id] = kept
        self._queues.setdefault(ttl_s, deque()).append(kept)
        self._queued += 1

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return a challenge unchanged, as the port says."""
        kept = self._live(auth_id)
        if kept.application_id != application_id or kept.purpose is not purpose:
            raise ChallengeNotFound
        return Challenge(auth_id, kept.application_id, kept.device_id, purpose, kept.attempts, kept.taken_step)

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, as the port says."""
        kept = self._live(auth_id)
        if kept.attempts >= max_attempts:
            raise ChallengeSpent
        taken = kept.taken_step is not None
        if taken and verdict is not Verdict.WRONG and step == kept.taken_step:
            return Settlement.REPEAT
        if verdict is Verdict.USED:
            return Settlement.USED
        if not taken and verdict is Verdict.MATCH:
            kept.taken_step = step
            return Settlement.TAKEN
        kept.attempts += 1
        if taken:
            return Settlement.MISMATCH
        return Settlement.WRONG if kept.attempts < max_attempts else Settlement.LAST_WRONG

    async def ping(self) -> None:
        """Return at once: this store is always within reach."""

    async def close(self) -> None:
        """Forget every challenge."""
        self._kept.clear()
        self._queues.clear()
        self._queued = 0

    def _live(self, auth_id: str) -> _Kept:
        kept = self._kept.get(auth_id)
        if kept is None or kept.deadline_s <= self._clock.monotonic_s():
            raise ChallengeNotFound
        return kept

    def _sweep(self, now_s: float) -> None:
        """Clear away a few expired challenges, and where it is full, as many as it takes to fit one more."""
        swept = 0
        for queue in self._queues.values():
            while queue and queue[0].deadline_s <= now_s:
                if swept >= _SWEPT_PER_OPENING and self._queued < self._capacity:
                    return
                kept = queue.popleft()
                self._queued -= 1
                if self._kept.get(kept.auth_id) is kept:  # not another one that was opened under its id since
                    del self._kept[kept.auth_id]
                swept += 1
