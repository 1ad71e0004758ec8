"""The master that Redis Sentinel names: asked for at every connect, and believed only if it says so itself.

Source: the guidelines for clients of Redis Sentinel, https://redis.io/docs/latest/develop/reference/sentinel-clients/.
"""

import asyncio
from functools import partial

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from mfa_service.stores.redis.link import LOST, ask, command, connect
from mfa_service.stores.redis.urls import Address, Servers

_SENTINEL_DEADLINE_S = 0.15  # of each sentinel, so that three of them fit into the deadline of a batch


class UnknownService(RedisConnectionError):
    """The sentinels are there and know no service of this name."""


class SentinelMaster:
    """Connects to the master of a service.

    Args:
        servers: the sentinels, the service's name and both kinds of connection options.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._sentinels = list(servers.addresses)

    async def connect(self) -> AbstractConnection:
        """Return a connection to the server that is the master now.

        Raises:
            UnknownService: no sentinel knows the service.
            RedisError, OSError: no sentinel answers, the master is out of reach, or it is no master any more.
        """
        connection = await connect(self._servers.connection, await self._master(), self._servers.options)
        try:
            await connection.send_command("ROLE", check_health=False)
            role = await connection.read_response(disable_decoding=True)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if role[0] != b"master":
            await connection.disconnect(nowait=True)
            raise RedisConnectionError("the server that the sentinels name is not the master")
        return connection

    async def _master(self) -> Address:
        failure: Exception = UnknownService(f"no sentinel knows {self._servers.service}")
        for sentinel in tuple(self._sentinels):
            try:
                async with asyncio.timeout(_SENTINEL_DEADLINE_S):
                    [reply] = await ask(
                        partial(connect, self._servers.connection, sentinel, self._servers.sentinel_options),
                        command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._servers.service),
                    )
            except LOST as error:
                failure = error
                continue
            if isinstance(reply, list):
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)  # the one that answers is asked first the next time
                return reply[0].decode(), int(reply[1])
            if isinstance(reply, Exception):
                failure = reply
        raise failure
