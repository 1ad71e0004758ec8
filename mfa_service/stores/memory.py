"""Challenges in the memory of one process, for the embedded default and for tests."""

import heapq
from dataclasses import dataclass, replace

from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.ports import Clock

# Each opening clears away this many expired challenges at most, so that none of them pays for a whole burst.
_SWEPT_PER_OPENING = 4


@dataclass(slots=True)
class _Kept:
    challenge: Challenge
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
        self._deadlines: list[tuple[float, str]] = []  # a heap

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge, as the port says.

        Raises:
            StoreUnavailable: there is one of this id, or no more fit.
        """
        now_s = self._clock.monotonic_s()
        self._sweep(now_s)
        if len(self._deadlines) >= self._capacity:
            raise StoreUnavailable("too many open challenges")
        kept = self._kept.get(challenge.auth_id)
        if kept is not None and kept.deadline_s > now_s:
            raise StoreUnavailable("a challenge of this id is open")
        self._kept[challenge.auth_id] = _Kept(challenge, now_s + ttl_s)
        heapq.heappush(self._deadlines, (now_s + ttl_s, challenge.auth_id))

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return a challenge unchanged, as the port says."""
        challenge = self._live(auth_id).challenge
        if challenge.application_id != application_id or challenge.purpose is not purpose:
            raise ChallengeNotFound
        return challenge

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, as the port says."""
        kept = self._live(auth_id)
        challenge = kept.challenge
        if challenge.attempts >= max_attempts:
            raise ChallengeSpent
        taken = challenge.taken_step is not None
        if taken and verdict is not Verdict.WRONG and step == challenge.taken_step:
            return Settlement.REPEAT
        if verdict is Verdict.USED:
            return Settlement.USED
        if not taken and verdict is Verdict.MATCH:
            kept.challenge = replace(challenge, taken_step=step)
            return Settlement.TAKEN
        attempts = challenge.attempts + 1
        kept.challenge = replace(challenge, attempts=attempts)
        if taken:
            return Settlement.MISMATCH
        return Settlement.WRONG if attempts < max_attempts else Settlement.LAST_WRONG

    async def ping(self) -> None:
        """Return at once: this store is always within reach."""

    async def close(self) -> None:
        """Forget every challenge."""
        self._kept.clear()
        self._deadlines.clear()

    def _live(self, auth_id: str) -> _Kept:
        kept = self._kept.get(auth_id)
        if kept is None or kept.deadline_s <= self._clock.monotonic_s():
            raise ChallengeNotFound
        return kept

    def _sweep(self, now_s: float) -> None:
        """Clear away a few expired challenges, and where it is full, as many as it takes to fit one more."""
        swept = 0
        while self._deadlines and self._deadlines[0][0] <= now_s:
            if swept >= _SWEPT_PER_OPENING and len(self._deadlines) < self._capacity:
                break
            deadline_s, auth_id = heapq.heappop(self._deadlines)
            kept = self._kept.get(auth_id)
            if kept is not None and kept.deadline_s == deadline_s:
                del self._kept[auth_id]
            swept += 1
