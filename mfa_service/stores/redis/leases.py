"""Leases of the applications' quotas in Redis or Valkey: one key for each application, gone when its bucket is full."""

from mfa_service.model import Lease, QuotaLimits
from mfa_service.stores.redis.client import Client
from mfa_service.stores.redis.scripts import LEASE


class RedisQuotaLeases:
    """`QuotaLeases` over a client of Redis or Valkey; the time is the server's.

    Args:
        client: sends the commands.
        prefix: what every key begins with; another one for each deployment that shares a server.
    """

    def __init__(self, client: Client, *, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix}q:"

    async def lease(self, application_id: str, wanted: int, limits: QuotaLimits) -> Lease:
        """Take requests out of an application's bucket, as the port says."""
        key = f"{self._prefix}{application_id}".encode()
        granted, left = await self._client.run(LEASE, key, wanted, limits.requests_per_s, limits.burst)
        return Lease(granted, left / 1000)
