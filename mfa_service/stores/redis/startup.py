"""Whether a Redis is fit to hold challenges and leases, found out before the first of them; an unfit one says why."""

import asyncio
import itertools
import ssl
from collections.abc import Iterator

from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError, ResponseError

from mfa_service.errors import MfaError, SettingsInvalid, StoreUnavailable
from mfa_service.stores.redis.client import Route
from mfa_service.stores.redis.link import LOST, Command, ask, command
from mfa_service.stores.redis.node import Node
from mfa_service.stores.redis.replies import Reply
from mfa_service.stores.redis.scripts import LEASE, SETTLE
from mfa_service.stores.redis.sentinel import UnknownService

STARTUP_DEADLINE_S = 5.0


async def require_fit(route: Route, *, prefix: str, allow_eviction: bool, clustered: bool, leases: bool) -> None:
    """Return if every master keeps what it is given and lets us run what we need.

    Args:
        route: the servers.
        prefix: what our keys begin with.
        allow_eviction: whether a server may throw away keys that still live.
        clustered: whether the servers are meant to be a Cluster.
        leases: whether they are to keep leases of quotas too.

    Raises:
        SettingsInvalid: a server is not fit, or refuses us; the text says what to change.
        StoreUnavailable: a server is out of reach.
    """
    for node in route.masters():
        rehearsal = _rehearsal(_key_on(route, node, f"{prefix}c:"))
        if leases:
            rehearsal += _rehearsal_of_leases(_key_on(route, node, f"{prefix}q:"))
        commands = (command("INFO"), *(one for _, one in rehearsal))
        try:
            async with asyncio.timeout(STARTUP_DEADLINE_S):
                information, *replies = await ask(node.connect, *commands)
        except LOST as error:
            raise explained(error) from error
        _require_done("INFO", information, node, prefix)
        _require_fit_server(node, information.decode(), allow_eviction=allow_eviction, clustered=clustered)
        for (name, _), reply in zip(rehearsal, replies, strict=True):
            _require_done(name, reply, node, prefix)


def explained(error: Exception) -> MfaError:
    """Return what to tell an operator about a server that cannot be connected to."""
    for cause in _causes(error):
        match cause:
            case AuthenticationError():
                reason = "the server refused the user name or the password"
            case NoPermissionError():
                reason = "the user may not run a command that connecting needs"
            case UnknownService():
                reason = "the sentinels know no service of this name"
            case ssl.SSLCertVerificationError():
                reason = f"the server's certificate is not good: {cause.verify_message}"
            case ssl.SSLError():
                reason = f"no TLS with the server: {cause.reason}"
            case ResponseError():
                reason = "the server has no such database, or is not of this kind"
            case _:
                continue
        return SettingsInvalid(f"redis.url: {reason}")
    return StoreUnavailable(f"redis is out of reach: {type(error).__name__}")


def _require_done(name: str, reply: Reply, node: Node, prefix: str) -> None:
    if isinstance(reply, NoPermissionError):
        raise SettingsInvalid(f"redis.url: the user may not run {name} on keys {prefix}* of {node.name}")
    if isinstance(reply, RedisError) and not isinstance(reply, NoScriptError):
        raise StoreUnavailable(f"{node.name} answered {name} with {type(reply).__name__}") from reply


def _require_fit_server(node: Node, information: str, *, allow_eviction: bool, clustered: bool) -> None:
    facts = dict(line.split(":", 1) for line in information.splitlines() if ":" in line)
    if clustered != (facts.get("cluster_enabled", "0") == "1"):
        raise SettingsInvalid(
            f"redis.url: {node.name} is {'not ' if clustered else ''}part of a cluster; use redis{'' if clustered else '+cluster'}://"
        )
    if facts.get("role", "master") != "master":
        raise SettingsInvalid(f"redis.url: {node.name} is a replica; name its master")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not allow_eviction:
        raise SettingsInvalid(
            f"redis.url: {node.name} has maxmemory-policy {policy} and may drop open challenges; "
            "set it to noeviction, or set redis.allow_eviction"
        )


def _rehearsal(key: bytes) -> list[tuple[str, Command]]:
    """Return the commands of a challenge's life by name, on a key that is gone within a second."""
    return [
        ("SET", command("SET", key, "0::rehearsal", "PX", 1000)),
        ("GET", command("GET", key)),
        ("EVALSHA", SETTLE.by_sha(key, "used", 0, 1)),
        ("EVAL", SETTLE.by_source(key, "match", 0, 1)),
        ("PING", command("PING")),
    ]


def _rehearsal_of_leases(key: bytes) -> list[tuple[str, Command]]:
    """Return what a lease needs besides; the one it takes is gone within a second."""
    return [("TIME", command("TIME")), ("EVAL", LEASE.by_source(key, 1, 1_000, 1))]


def _key_on(route: Route, node: Node, prefix: str) -> bytes:
    keys = (f"{prefix}startup-{number}".encode() for number in itertools.count())
    return next(key for key in keys if route.node_for(key) is node)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
