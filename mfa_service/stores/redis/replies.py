"""Replies read in bulk, on a connection that redis-py has opened.

redis-py reads one reply at a time, through several coroutines each, which costs more than all else about a command.
"""

from typing import Any, TypeAlias

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

Reply: TypeAlias = Any  # what RESP2 can say: bytes, int, None, a list of these, or the RedisError of this one command


async def read(connection: AbstractConnection, count: int) -> list[Reply]:
    """Return the next replies in order; an error that is the reply to one command stands in its place.

    Args:
        connection: an open one.
        count: how many replies; no more than are to come.

    Raises:
        RedisError, OSError: the connection broke, or the server gave it up.
    """
    if type(connection).read_response is not AbstractConnection.read_response:  # a stand-in, with its own way to read
        return [await _read_one(connection) for _ in range(count)]
    parser: Any = connection._parser  # noqa: SLF001  redis-py has no public name for it
    reader = parser._reader  # noqa: SLF001  the same
    gets = reader.gets
    replies: list[Reply] = []
    for _ in range(count):
        while (reply := gets(False)) is NOT_ENOUGH_DATA:  # noqa: FBT003  hiredis' own: do not decode
            await parser.read_from_socket()
        if isinstance(reply, RedisConnectionError) and not isinstance(reply, BusyLoadingError):
            raise reply
        replies.append(reply)
    return replies


async def _read_one(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except (ResponseError, BusyLoadingError) as error:
        return error
