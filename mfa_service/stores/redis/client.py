"""Commands and scripts on one key each, wherever the key is; what may have run is never sent again."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import resources
from typing import Protocol

from redis.exceptions import AskError, BusyLoadingError, MovedError, NoScriptError, RedisError, TryAgainError

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.redis.link import Command, command
from mfa_service.stores.redis.node import Node
from mfa_service.stores.redis.replies import Reply

_PAUSE_S = 0.05  # before a server that is still loading, or moving the key, is asked again
_ASKING = command("ASKING")


class Route(Protocol):
    """Knows which node a key is on."""

    def masters(self) -> Sequence[Node]:
        """Return every master."""
        ...

    def node_for(self, key: bytes) -> Node:
        """Return the master that has a key."""
        ...

    def redirected(self, error: AskError, sender: Node) -> Node:
        """Return the node that a redirection names."""
        ...

    def suspect(self) -> None:
        """Take note that a node did not answer."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Standalone:
    """The one server there is, or the one that is the master now.

    Args:
        node: that server.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def masters(self) -> Sequence[Node]:
        """Return the server."""
        return (self._node,)

    def node_for(self, key: bytes) -> Node:  # noqa: ARG002 - it has every key
        """Return the server."""
        return self._node

    def redirected(self, error: AskError, sender: Node) -> Node:
        """Refuse: a server that redirects has become part of a cluster."""
        raise StoreUnavailable(f"{sender.name} is part of a cluster") from error

    def suspect(self) -> None:
        """Do nothing: there is no other server."""

    async def close(self) -> None:
        """Close the connection."""
        await self._node.close()


class Script:
    """A script of one key, run by its SHA-1 wherever the server knows it.

    Args:
        name: the file in `mfa_service/stores/scripts`, without `.lua`.

    Attributes:
        sha: the SHA-1 of the script, in hexadecimal digits.
    """

    def __init__(self, name: str) -> None:
        self._source = (resources.files("mfa_service.stores") / "scripts" / f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self._source, usedforsecurity=False).hexdigest().encode()

    def by_sha(self, key: bytes, *arguments: str | int) -> Command:
        """Return the short command, which the server may answer with NOSCRIPT."""
        return command(b"EVALSHA", self.sha, b"1", key, *arguments)

    def by_source(self, key: bytes, *arguments: str | int) -> Command:
        """Return the command that carries the script and makes the server know it."""
        return command(b"EVAL", self._source, b"1", key, *arguments)


class Client:
    """Sends commands to where their key is.

    Args:
        route: tells where that is.
        deadline_s: how long a command and its one repetition may take.
    """

    def __init__(self, route: Route, *, deadline_s: float) -> None:
        self._route = route
        self._deadline_s = deadline_s
        self._loop: asyncio.AbstractEventLoop | None = None  # of the callers; to ask for it costs a system call

    def call(self, key: bytes, *words: str | bytes | int) -> Awaitable[Reply]:
        """Run a command on a key.

        Args:
            key: the one key that the command touches.
            words: the whole command, the key included.

        Returns:
            The reply, to be awaited: bytes, an integer, a list or None. It raises `StoreUnavailable` where no server
            carried it out that we know of.
        """
        once = command(*words)
        return self._send(key, once, lambda: once)

    def run(self, script: Script, key: bytes, *arguments: str | int) -> Awaitable[Reply]:
        """Run a script on a key; as `call`."""
        return self._send(key, script.by_sha(key, *arguments), partial(script.by_source, key, *arguments))

    async def ping(self, key: bytes) -> None:
        """Return if a master answers and reads a key, or says where it is.

        Of a Cluster one is enough: its other masters still serve their slots while one is away, and a node that took
        itself out for that one would take them along. Where the Cluster itself gives up, every master refuses.

        Raises:
            StoreUnavailable: none does.
        """
        look = command(b"GET", key)
        calls = (_asked(node, look) for node in self._route.masters())
        replies = await asyncio.gather(*calls, return_exceptions=True)
        if not any(_is_read(reply) for reply in replies):
            raise StoreUnavailable("no master answers: " + ", ".join(sorted({type(one).__name__ for one in replies})))

    async def close(self) -> None:
        """Let what was submitted finish, then close every connection."""
        await self._route.close()

    async def _send(self, key: bytes, first: Command, again: Callable[[], Command]) -> Reply:
        node = self._route.node_for(key)
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            reply = await node.call(first)
            if not isinstance(reply, RedisError):
                return reply
            async with asyncio.timeout_at(started_s + self._deadline_s):
                return _value(await self._send_again(node, reply, again()))
        except TimeoutError as error:
            raise StoreUnavailable("the store did not answer in time") from error
        except StoreUnavailable:
            self._route.suspect()
            raise

    async def _send_again(self, node: Node, error: RedisError, second: Command) -> Reply:
        """Send a command again, given a reply that says that it did not run."""
        match error:
            case NoScriptError():
                pass
            case MovedError():
                node = self._route.redirected(error, node)
            case AskError():
                node = self._route.redirected(error, node)
                second = Command(_ASKING.packed + second.packed, replies=2)
            case TryAgainError() | BusyLoadingError():
                await asyncio.sleep(_PAUSE_S)
            case _:
                return error
        return await node.call(second)


async def _asked(node: Node, look: Command) -> Reply:
    return await node.call(look)


def _is_read(reply: Reply) -> bool:
    return not isinstance(reply, BaseException) or isinstance(reply, AskError)  # MOVED is one of these


def _value(reply: Reply) -> Reply:
    """Return a reply that is no error.

    Raises:
        StoreUnavailable: it is one. Its text stays out of ours, for it may name the user.
    """
    if isinstance(reply, RedisError):
        raise StoreUnavailable(f"redis refused a command: {type(reply).__name__}") from reply
    return reply
