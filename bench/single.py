"""The same statements and scripts without batches: one a call, on a pool, as the libraries are ordinarily used.

All that the service does around them is done here too, so that the two ways differ in nothing else.
"""

from typing import Any, TypeAlias

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import Sentinel

from mfa_service.errors import DeviceNotFound
from mfa_service.model import Acceptance, Device, GuessingLimits
from mfa_service.ports import NotAccepted
from mfa_service.stores.redis import RedisChallenges
from mfa_service.stores.redis.client import Client, Script
from mfa_service.stores.redis.replies import Reply
from mfa_service.stores.redis.urls import Topology, parse
from mfa_service.stores.sql import statements
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.rows import device_of

_CONNECTIONS = 256  # of the pool to each server: no caller waits for another's

_Redis: TypeAlias = "redis.asyncio.Redis | RedisCluster"


class SingleDevices:
    """The hot calls on devices, each a statement of one member on a connection of the service's own pool.

    Args:
        database: where the devices are.
        limits: how they answer wrong codes.
    """

    def __init__(self, database: Database, limits: GuessingLimits) -> None:
        self._database = database
        self._statements = statements.build(database, limits)

    async def get(self, device_id: str) -> Device:
        """Return a device by its id."""
        rows = await self._database.read_batch(self._statements.get, [(device_id,)])
        if not rows:
            raise DeviceNotFound
        return device_of(rows[0])

    async def accept(self, acceptance: Acceptance) -> None:
        """Accept one code."""
        member = (
            acceptance.device_id,
            acceptance.step,
            acceptance.auth_id,
            acceptance.matched_at_ms,
            acceptance.purpose.value,
            acceptance.clock_tolerance_ms,
        )
        if not await self._database.change_batch(self._statements.accept, [member]):
            raise NotAccepted


class SingleClient(Client):
    """A client that sends each command by itself, over redis-py's own.

    Args:
        client: of redis-py.
    """

    def __init__(self, client: _Redis) -> None:  # nothing of the other client is used
        self._client: Any = client  # its methods have no types that tell the asynchronous ones apart

    async def call(self, key: bytes, *words: str | bytes | int) -> Reply:  # noqa: ARG002 - it is among the words
        """Run a command."""
        name, *rest = words
        return await self._client.execute_command(name.decode() if isinstance(name, bytes) else name, *rest)

    async def run(self, script: Script, key: bytes, *arguments: str | int) -> Reply:
        """Run a script that the server knows."""
        return await self._client.evalsha(script.sha, 1, key, *arguments)

    async def ping(self, key: bytes) -> None:
        """Return if a server reads a key."""
        await self._client.execute_command("GET", key)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


async def single_challenges(url: str) -> RedisChallenges:
    """Return the challenges in a Redis or Valkey of any topology, each call by itself."""
    client = SingleClient(_client(url))
    await client.ping(b"mfa:")  # learns the slots of a Cluster: many callers at once can hang in it
    return RedisChallenges(client, prefix="mfa:")


def _client(url: str) -> _Redis:
    servers = parse(url)
    match servers.topology:
        case Topology.STANDALONE:
            return redis.asyncio.Redis.from_url(url, max_connections=_CONNECTIONS)
        case Topology.SENTINEL:
            sentinels = Sentinel(servers.addresses)  # type: ignore[no-untyped-call] # redis-py leaves it without
            master: redis.asyncio.Redis = sentinels.master_for(servers.service, max_connections=_CONNECTIONS)
            return master
        case Topology.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in servers.addresses]
            return RedisCluster(startup_nodes=nodes, max_connections=_CONNECTIONS)
