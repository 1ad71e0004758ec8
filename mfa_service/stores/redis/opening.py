"""A client of a Redis or Valkey, from its URL, once the servers have proved fit."""

import asyncio
from functools import partial

from mfa_service.stores.redis.client import Client, Route, Standalone
from mfa_service.stores.redis.cluster import Cluster
from mfa_service.stores.redis.link import LOST, connect
from mfa_service.stores.redis.node import Node
from mfa_service.stores.redis.sentinel import SentinelMaster
from mfa_service.stores.redis.startup import STARTUP_DEADLINE_S, explained, require_fit
from mfa_service.stores.redis.urls import Servers, Topology, parse


async def open_client(
    url: str, *, prefix: str, allow_eviction: bool = False, deadline_s: float = 0.5, leases: bool = False
) -> Client:
    """Connect to a Redis or Valkey and return its client, after checking that it is fit for what will be kept in it.

    Its user needs the commands INFO, PING, SET, GET, EVAL and EVALSHA on the keys of the prefix; for leases TIME as
    well; behind Sentinel ROLE, in a Cluster CLUSTER SLOTS and ASKING.

    Args:
        url: as `mfa_service.stores.redis.urls.parse` reads it.
        prefix: what every key begins with.
        allow_eviction: take a server whose eviction policy may drop open challenges.
        deadline_s: how long one batch of calls may take.
        leases: whether leases of quotas are kept there beside the challenges.

    Raises:
        SettingsInvalid: the URL, the credentials, the certificate, the user's permissions or the server's eviction
            policy are not fit; the text says which.
        StoreUnavailable: a server is out of reach.
    """
    servers = parse(url)
    route = await _open_route(servers, deadline_s=deadline_s)
    try:
        clustered = servers.topology is Topology.CLUSTER
        await require_fit(route, prefix=prefix, allow_eviction=allow_eviction, clustered=clustered, leases=leases)
    except BaseException:
        await route.close()
        raise
    return Client(route, deadline_s=deadline_s)


async def _open_route(servers: Servers, *, deadline_s: float) -> Route:
    address = servers.addresses[0]
    match servers.topology:
        case Topology.STANDALONE:
            return Standalone(
                Node(address, partial(connect, servers.connection, address, servers.options), deadline_s=deadline_s)
            )
        case Topology.SENTINEL:
            return Standalone(Node((servers.service, 0), SentinelMaster(servers).connect, deadline_s=deadline_s))
        case Topology.CLUSTER:
            cluster = Cluster(servers, deadline_s=deadline_s)
            try:
                async with asyncio.timeout(STARTUP_DEADLINE_S):
                    await cluster.open()
            except LOST as error:
                await cluster.close()
                raise explained(error) from error
            return cluster
