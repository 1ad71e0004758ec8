"""The scripts that run in Redis and Valkey; each file says in its head what it does."""

from mfa_service.stores.redis.client import Script

SETTLE = Script("settle")
LEASE = Script("lease")
