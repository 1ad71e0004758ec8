"""One connection to one server, and what of redis-py's defaults is switched off on it.

By default redis-py re-sends a command ten times over, though it may have run, and waits for seconds. Here nothing is
re-sent and no time runs: a batch has one deadline, and whoever keeps it cancels.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import hiredis
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError

from mfa_service.stores.redis import replies
from mfa_service.stores.redis.replies import Reply

Connect: TypeAlias = Callable[[], Awaitable[AbstractConnection]]
LOST: tuple[type[Exception], ...] = (RedisError, OSError)  # OSError holds TimeoutError


class Command:
    """A command as it goes over the wire; two of them are never equal.

    Args:
        packed: in RESP2, together with the commands that must go right before it.
        replies: how many replies come back, of which the last one counts.
    """

    __slots__ = ("packed", "replies")

    def __init__(self, packed: bytes, *, replies: int = 1) -> None:
        self.packed = packed
        self.replies = replies


def command(*words: str | bytes | int) -> Command:
    """Return a command made of its words."""
    return Command(hiredis.pack_command(words))  # type: ignore[arg-type] # its annotation means a tuple of any length


def single_attempt() -> dict[str, Any]:
    """Return the options of a connection that does nothing twice and leaves deadlines to its user."""
    return {"retry": Retry(NoBackoff(), 0), "protocol": 2, "socket_timeout": None, "socket_connect_timeout": None}


async def connect(
    kind: type[AbstractConnection], address: tuple[str, int], options: Mapping[str, Any]
) -> AbstractConnection:
    """Return a connection that is open, authenticated and in its database.

    Args:
        kind: TCP, TLS or Unix socket.
        address: host and port, or the path of the socket and 0.
        options: credentials, database and certificates, as redis-py names them.

    Raises:
        RedisError: the server is out of reach or refuses, or its certificate is bad.
    """
    host, port = address
    place = {"path": host} if issubclass(kind, UnixDomainSocketConnection) else {"host": host, "port": port}
    connection = kind(**place, **options, **single_attempt())
    try:
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py leaves it without annotations
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


class Link:
    """A connection that is opened when needed and serves one batch at a time; a batch that failed is its last.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: AbstractConnection | None = None

    async def open(self) -> None:
        """See to it that there is a connection, and replace one that the server has closed since.

        Raises:
            RedisError, OSError: there is no connection to be had.
        """
        if self._connection is not None and await _is_stale(self._connection):
            await self.drop()
        if self._connection is None:
            self._connection = await self._connect()

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one go over the open connection and return their replies in order.

        An error that is the reply to one command is returned in its place.

        Raises:
            RedisError, OSError: the connection broke; some of the commands may have run.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("no open connection")
        try:
            await connection.send_packed_command(b"".join([one.packed for one in commands]), check_health=False)
            came = await replies.read(connection, sum([one.replies for one in commands]))
        except BaseException:  # a cancellation too: its replies would be taken for those of the next batch
            await self.drop()
            raise
        if ReadOnlyError in map(type, came):
            await self.drop()  # no master any more: its name or the sentinels may give another one
        if len(came) == len(commands):
            return came
        last = itertools.accumulate(one.replies for one in commands)
        return [came[place - 1] for place in last]

    async def drop(self) -> None:
        """Close the connection, if there is one, without waiting for the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _is_stale(connection: AbstractConnection) -> bool:
    """Tell whether the server has closed it, or has said what nobody asked for."""
    try:
        return not connection.is_connected or await connection.can_read()
    except LOST:
        return True


async def ask(connect: Connect, *commands: Command) -> list[Reply]:
    """Send commands over a connection of their own and return the replies.

    Raises:
        RedisError, OSError: the server is out of reach, or the connection broke.
    """
    link = Link(connect)
    try:
        await link.open()
        return await link.exchange(commands)
    finally:
        await link.drop()
