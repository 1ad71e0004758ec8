"""How much each application may ask, kept by every worker without a trip to the store on any request's way.

The buckets are in the store that all workers share. A worker lets requests pass on what it has leased of one, and
leases further blocks in the background. What it spends beyond a lease it advances against what the store had left when
it last answered, and pays back out of its next leases before it lets more pass. So all workers together exceed the
quota once by what each of them holds or has advanced, and never by more, however long an application tries.
"""

import asyncio
import contextvars
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from mfa_service.errors import QuotaExceeded, StoreUnavailable
from mfa_service.model import QuotaLimits
from mfa_service.ports import Clock, QuotaLeases

_BLOCKS_PER_S: Final = 10  # a block is worth 100 ms
_LOOK_S: Final = 0.01
_LOOKS: Final = 10  # a store that has not answered after so many looks counts as away
_PAUSE_S: Final = 0.05  # before a store is asked again that gave less than wanted, or nothing
_TELL_EVERY_S: Final = 60.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Account:
    """One application as this worker sees it.

    Attributes:
        held: requests leased and not spent; below zero where more were spent.
        left: requests in the store's bucket when it last answered.
        seen_at_s: when that was.
        ask_at_s: the store is not asked before that.
        watched: whether the store answered when last asked.
        trip: the lease under way.
    """

    left: float
    seen_at_s: float
    held: int = 0
    ask_at_s: float = 0.0
    watched: bool = True
    trip: asyncio.Task[None] | None = None


class LeasedQuotas:
    """`Quotas` of one worker.

    Args:
        leases: the buckets that the workers share.
        clock: tells how far a bucket has filled since it was last seen.
        limits: of every application; its bucket holds a block at least.
        count_unwatched: counts a request that passed uncounted because the store was away.
    """

    def __init__(
        self, leases: QuotaLeases, *, clock: Clock, limits: QuotaLimits, count_unwatched: Callable[[], object]
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._block = -(-limits.requests_per_s // _BLOCKS_PER_S)
        self._limits = QuotaLimits(limits.requests_per_s, max(limits.burst, self._block))
        self._accounts: dict[str, _Account] = {}
        self._told_at_s = -math.inf
        self._count_unwatched = count_unwatched

    def spend(self, application_id: str) -> None:
        """Count one request, as the port says; without the store it passes."""
        now_s = self._clock.monotonic_s()
        account = self._accounts.get(application_id)
        if account is None:
            account = self._accounts[application_id] = _Account(self._limits.burst, now_s)
        if not account.watched:
            self._count_unwatched()
            self._renew(application_id, account, now_s)
            return
        filled = (now_s - account.seen_at_s) * self._limits.requests_per_s
        missing = 1 - account.held - min(self._limits.burst, account.left + filled)
        if missing <= 0:
            account.held -= 1
        if account.held * 2 <= self._block:
            self._renew(application_id, account, now_s)
        if missing > 0:
            raise QuotaExceeded(math.ceil(missing / self._limits.requests_per_s))

    async def close(self) -> None:
        """Give up the leases under way."""
        trips = {account.trip for account in self._accounts.values() if account.trip is not None}
        for trip in trips:
            trip.cancel()
        if trips:
            await asyncio.wait(trips)

    def _renew(self, application_id: str, account: _Account, now_s: float) -> None:
        if account.trip is None and now_s >= account.ask_at_s:
            # An empty context: a lease is no request's, and must not log under the trace id of one.
            account.trip = asyncio.get_running_loop().create_task(
                self._lease(application_id, account), context=contextvars.Context()
            )

    async def _lease(self, application_id: str, account: _Account) -> None:
        wanted, began_s = self._block - account.held, self._clock.monotonic_s()
        asked = asyncio.ensure_future(self._leases.lease(application_id, wanted, self._limits))
        looks = 0
        try:
            while not asked.done() and looks < _LOOKS:
                await asyncio.wait({asked}, timeout=_LOOK_S)
                looks += 1
            lease = asked.result()
        except (StoreUnavailable, asyncio.InvalidStateError):
            now_s = self._clock.monotonic_s()
            account.ask_at_s = now_s + _PAUSE_S
            # Where this worker looked up late, it is its own work that took the time: no application may shake off
            # its quota by asking so much that the store's answers cannot be heard.
            if now_s - began_s <= 2 * looks * _LOOK_S:
                account.watched = False
                self._tell()
        else:
            account.watched = True
            account.held += lease.granted
            account.left = lease.left
            account.seen_at_s = self._clock.monotonic_s()
            account.ask_at_s = 0.0 if lease.granted == wanted else account.seen_at_s + _PAUSE_S
        finally:
            asked.cancel()
            account.trip = None

    def _tell(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._told_at_s >= _TELL_EVERY_S:
            self._told_at_s = now_s
            _log.warning("quota_not_kept", reason="the store is out of reach")
