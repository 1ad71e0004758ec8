"""Redis and Valkey: standalone, behind Sentinel, or a Cluster."""

from mfa_service.stores.redis.challenges import RedisChallenges, open_challenges
from mfa_service.stores.redis.leases import RedisQuotaLeases
from mfa_service.stores.redis.opening import open_client

__all__ = ["RedisChallenges", "RedisQuotaLeases", "open_challenges", "open_client"]
