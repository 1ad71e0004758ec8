"""Challenges in Redis or Valkey: one key each, with a TTL that is set once.

A value is `attempts:taken step:purpose:device:application`. Nothing in it or in its key names a user or a device in
words, and no code is kept, nor a digest of one.
"""

from types import MappingProxyType

from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.stores.redis.client import Client
from mfa_service.stores.redis.opening import open_client
from mfa_service.stores.redis.scripts import SETTLE

_SETTLEMENTS = MappingProxyType({settlement.value.encode(): settlement for settlement in Settlement})


class RedisChallenges:
    """`Challenges` over a client of Redis or Valkey.

    Args:
        client: sends the commands.
        prefix: what every key begins with; another one for each deployment that shares a server.
    """

    def __init__(self, client: Client, *, prefix: str) -> None:
        self._client = client
        self._prefix = f"{prefix}c:"

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge, as the port says.

        Raises:
            StoreUnavailable: it was not kept for certain, or there is one of this id.
        """
        key = self._key(challenge.auth_id)
        taken = "" if challenge.taken_step is None else challenge.taken_step
        value = f"{challenge.attempts}:{taken}:{challenge.purpose}:{challenge.device_id}:{challenge.application_id}"
        if await self._client.call(key, b"SET", key, value, b"EX", ttl_s, b"NX") is None:
            raise StoreUnavailable("a challenge of this id is open")

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return a challenge unchanged, as the port says."""
        key = self._key(auth_id)
        value: bytes | None = await self._client.call(key, b"GET", key)
        if value is None:
            raise ChallengeNotFound
        attempts, taken, kind, device_id, application = value.decode().split(":", 4)
        if application != application_id or kind != purpose:
            raise ChallengeNotFound
        return Challenge(auth_id, application, device_id, purpose, int(attempts), int(taken) if taken else None)

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, as the port says."""
        given = "" if step is None else step
        reply: bytes = await self._client.run(SETTLE, self._key(auth_id), str(verdict), given, max_attempts)
        if reply == b"absent":
            raise ChallengeNotFound
        if reply == b"spent":
            raise ChallengeSpent
        return _SETTLEMENTS[reply]

    async def ping(self) -> None:
        """Return if the store answers, of a Cluster at least one master.

        Raises:
            StoreUnavailable: it does not.
        """
        await self._client.ping(self._key("ping"))

    async def close(self) -> None:
        """Let the calls under way finish, then close every connection."""
        await self._client.close()

    def _key(self, auth_id: str) -> bytes:
        return f"{self._prefix}{auth_id}".encode()


async def open_challenges(
    url: str, *, prefix: str = "mfa:", allow_eviction: bool = False, deadline_s: float = 0.5
) -> RedisChallenges:
    """Connect to a Redis or Valkey and return the challenges in it; as `open_client`."""
    client = await open_client(url, prefix=prefix, allow_eviction=allow_eviction, deadline_s=deadline_s)
    return RedisChallenges(client, prefix=prefix)
