"""Which master of a Redis Cluster has which hash slot, learned from the nodes and kept up to date.

Source: the Redis Cluster specification, https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Sequence
from functools import partial

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.redis.link import LOST, ask, command, connect
from mfa_service.stores.redis.node import Node
from mfa_service.stores.redis.replies import Reply
from mfa_service.stores.redis.urls import Address, Servers

_REFRESH_INTERVAL_S = 0.5


class Cluster:
    """The masters of a Cluster by hash slot; each has its own connection, batches and breaker.

    Args:
        servers: some nodes of the Cluster and how to connect.
        deadline_s: how long one batch to one node may take.
    """

    def __init__(self, servers: Servers, *, deadline_s: float) -> None:
        self._servers = servers
        self._deadline_s = deadline_s
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Learn the slots.

        Raises:
            RedisError, OSError: no node tells them.
        """
        await self._refresh()

    def masters(self) -> Sequence[Node]:
        """Return every master."""
        return tuple(self._nodes.values())

    def node_for(self, key: bytes) -> Node:
        """Return the master that has a key.

        Raises:
            StoreUnavailable: no master has its slot.
        """
        node = self._slots[key_slot(key)]
        if node is None:
            self.suspect()
            raise StoreUnavailable("no node of the cluster serves this slot")
        return node

    def redirected(self, error: AskError, sender: Node) -> Node:
        """Return the node that MOVED or ASK names, and after MOVED believe it for the whole slot."""
        node = self._node((error.host or sender.address[0], error.port))
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = node
            self.suspect()
        return node

    def suspect(self) -> None:
        """Learn the slots again, in the background and not more than twice a second."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(
                self._refresh_in_background(), context=contextvars.Context()
            )

    async def close(self) -> None:
        """Let what was submitted finish, then close every connection."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            opens = partial(connect, self._servers.connection, address, self._servers.options)
            node = self._nodes[address] = Node(address, opens, deadline_s=self._deadline_s)
        return node

    async def _refresh_in_background(self) -> None:
        with contextlib.suppress(*LOST):
            await self._refresh()
        await asyncio.sleep(_REFRESH_INTERVAL_S)

    async def _refresh(self) -> None:
        address, ranges = await self._ask_for_slots()
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            if host != b"?":  # a node that does not know its own address
                node = self._node((host.decode() if host else address[0], port))
                slots[first : last + 1] = [node] * (last + 1 - first)
        self._slots = slots
        serving = set(slots)
        gone = [address for address, node in self._nodes.items() if node not in serving]
        await asyncio.gather(*(self._nodes.pop(address).close() for address in gone))

    async def _ask_for_slots(self) -> tuple[Address, Reply]:
        """Ask nodes in turn, those first that answered lately: one that is cut off from the others knows old slots."""
        known = sorted(self._nodes.values(), key=lambda node: node.is_broken)
        failure: Exception = OSError("no node of the cluster is known")
        for address in dict.fromkeys((*(node.address for node in known), *self._servers.addresses)):
            try:
                async with asyncio.timeout(self._deadline_s):
                    [reply] = await ask(
                        partial(connect, self._servers.connection, address, self._servers.options),
                        command("CLUSTER", "SLOTS"),
                    )
            except LOST as error:
                failure = error
                continue
            if isinstance(reply, list) and reply:
                return address, reply
            if isinstance(reply, Exception):
                failure = reply
        raise failure
