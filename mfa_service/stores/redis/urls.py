"""What a Redis URL says: where the servers are and how to talk to them."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from mfa_service.errors import SettingsInvalid

Address = tuple[str, int]

_PORT = 6379
_SENTINEL_PORT = 26379
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})


class Topology(enum.Enum):
    """How the servers of a URL belong together."""

    STANDALONE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are and how to connect to them.

    Attributes:
        addresses: the server, the sentinels, or some nodes of the cluster; of a Unix socket its path and 0.
        connection: the kind of connection: TCP, TLS or Unix socket.
        options: what a connection to a server is made with besides its address: credentials, database, certificates.
        service: what the sentinels call the master; empty elsewhere.
        sentinel_options: as `options`, for the sentinels themselves.
    """

    topology: Topology
    addresses: tuple[Address, ...]
    connection: type[AbstractConnection]
    options: Mapping[str, Any] = field(repr=False)
    service: str = ""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse(url: str) -> Servers:
    """Read the URL of a Redis or Valkey.

    Args:
        url: `redis://[user:pass@]host[:port][/DB]`, `unix://[user:pass@]/path[?db=DB]`,
            `redis+sentinel://[user:pass@]h1:p1,h2:p2/SERVICE[/DB]` or `redis+cluster://[user:pass@]h1:p1,h2:p2`;
            with `rediss` in place of `redis` over TLS. The credentials are the servers'; those of the sentinels
            are the options `sentinel_username` and `sentinel_password`. TLS takes the options `ssl_ca_certs`,
            `ssl_certfile`, `ssl_keyfile` (paths) and `ssl_check_hostname` (true or false).

    Raises:
        SettingsInvalid: it is none of these, or has an unknown option. The text repeats nothing of the URL but that.
    """
    try:
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        topology = Topology(kind)
        credentials, _, hosts = parts.netloc.rpartition("@")
        default_port = _SENTINEL_PORT if topology is Topology.SENTINEL else _PORT
        addresses = tuple(_address(host, default_port) for host in hosts.split(",") if host)
    except ValueError as error:
        raise SettingsInvalid("redis.url: not a URL of a Redis server") from error
    query = dict(parse_qsl(parts.query))
    options = _credentials(*map(unquote, credentials.partition(":")[::2]))
    sentinel_options = _credentials(query.get("sentinel_username", ""), query.get("sentinel_password", ""))
    known = _SENTINEL_OPTIONS if topology is Topology.SENTINEL else frozenset()
    path = [unquote(step) for step in parts.path.strip("/").split("/") if step]
    service = ""
    connection: type[AbstractConnection] = Connection
    match scheme:
        case "unix" if topology is Topology.STANDALONE:
            connection, known = UnixDomainSocketConnection, frozenset({"db"})
            addresses = ((unquote(parts.path), 0),)
            path = [query["db"]] if "db" in query else []
        case "rediss":
            connection, known = SSLConnection, known | _TLS_OPTIONS
            tls = _tls(query)
            options, sentinel_options = options | tls, sentinel_options | tls
        case "redis":
            pass
        case _:
            raise SettingsInvalid(
                "redis.url: begins with none of redis://, rediss://, unix://, redis+sentinel://, "
                "rediss+sentinel://, redis+cluster://, rediss+cluster://"
            )
    if unknown := sorted(query.keys() - known):
        raise SettingsInvalid(f"redis.url: unknown option {unknown[0]}")
    if topology is Topology.SENTINEL:
        if not path:
            raise SettingsInvalid("redis.url: the name of the service is missing after the sentinels")
        service = path.pop(0)
    if path and topology is not Topology.CLUSTER and path[0].isdecimal():
        options["db"] = int(path.pop(0))
    if path or not addresses:
        raise SettingsInvalid("redis.url: not HOST[:PORT][/DB], DB being a number that a cluster does not have")
    return Servers(topology, addresses, connection, options, service, sentinel_options)


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or default_port


def _credentials(username: str, password: str) -> dict[str, Any]:
    return {"username": username or None, "password": password or None}


def _tls(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the options of TLS, whose certificates are always checked."""
    tls: dict[str, Any] = {name: query[name] for name in _TLS_OPTIONS & query.keys()}
    tls["ssl_check_hostname"] = query.get("ssl_check_hostname", "true").lower() != "false"
    return tls
