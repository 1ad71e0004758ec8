"""One server: concurrent commands to it in batches, and a breaker for when it does not answer."""

import asyncio
import contextlib
from collections.abc import Hashable, Mapping, Sequence

import structlog

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.batching import Batcher
from mfa_service.stores.redis.link import LOST, Command, Connect, Link, command
from mfa_service.stores.redis.replies import Reply

_PING = command("PING")
_PROBE_INTERVAL_S = 0.5

_log = structlog.get_logger(__name__)


class Node:
    """A server that commands are sent to in batches.

    A connection lost between two batches is replaced without a word. Where none can be opened, or a batch passes its
    deadline, the breaker opens: every command is refused at once until a probe, tried each half second, gets through.

    Args:
        address: host and port, or a name and 0 where there is no port.
        connect: opens a connection to the server.
        deadline_s: how long one batch may take.
    """

    def __init__(self, address: tuple[str, int], connect: Connect, *, deadline_s: float) -> None:
        self.address = address
        self.name = "{}:{}".format(*address) if address[1] else address[0]
        self.connect = connect
        self._deadline_s = deadline_s
        self._link = Link(connect)
        self._batcher: Batcher[Command, Reply] = Batcher(self._send, deadline_s=deadline_s, lost=LOST)
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_broken(self) -> bool:
        """Whether the breaker is open."""
        return self._probe is not None and not self._probe.done()

    def call(self, command: Command) -> asyncio.Future[Reply]:
        """Send a command with the next batch.

        Returns:
            Its reply, to be awaited, an error of this one command included. It raises `StoreUnavailable` where the
            server is out of reach or too slow; the command may have run.

        Raises:
            StoreUnavailable: the node is closed, or too many commands wait.
        """
        return self._batcher.submit(command)

    async def close(self) -> None:
        """Let what was submitted finish, then close the connection."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait({self._probe})
        await self._batcher.close()
        await self._link.drop()

    async def _send(self, commands: Sequence[Command]) -> Mapping[Hashable, Reply]:
        if self.is_broken:
            raise StoreUnavailable(f"{self.name} is out of reach")
        opened = False
        try:
            await self._link.open()
            opened = True
            return dict(zip(commands, await self._link.exchange(commands), strict=True))
        except LOST:
            if not opened:
                self._break()
            raise
        except asyncio.CancelledError:
            self._break()
            raise

    def _break(self) -> None:
        if not self._closed:
            _log.warning("redis_out_of_reach", server=self.name)
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_alive())

    async def _probe_until_alive(self) -> None:
        while not await self._is_alive():  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(_PROBE_INTERVAL_S)
        _log.info("redis_within_reach_again", server=self.name)

    async def _is_alive(self) -> bool:
        with contextlib.suppress(*LOST):
            async with asyncio.timeout(self._deadline_s):
                await self._link.open()
                return await self._link.exchange((_PING,)) == [b"PONG"]
        return False
