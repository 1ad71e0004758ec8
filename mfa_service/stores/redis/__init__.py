"""Redis and Valkey: standalone, behind Sentinel, or a Cluster."""

from mfa_service.stores.redis.challenges import RedisChallenges, open_challenges

__all__ = ["RedisChallenges", "open_challenges"]
