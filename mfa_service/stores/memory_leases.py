"""Leases of the applications' quotas in the memory of one process, for the embedded default and for tests."""

from mfa_service.model import Lease, QuotaLimits
from mfa_service.ports import Clock


class MemoryQuotaLeases:
    """`QuotaLeases` in a dictionary of as many entries as there are applications.

    Args:
        clock: fills the buckets, by its rising time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # requests in it, and when it held them

    async def lease(self, application_id: str, wanted: int, limits: QuotaLimits) -> Lease:
        """Take requests out of an application's bucket, as the port says."""
        now_s = self._clock.monotonic_s()
        level, at_s = self._buckets.get(application_id, (limits.burst, now_s))
        level = min(float(limits.burst), level + (now_s - at_s) * limits.requests_per_s)
        granted = min(wanted, int(level))
        self._buckets[application_id] = level - granted, now_s
        return Lease(granted, level - granted)
