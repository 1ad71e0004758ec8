"""What a Redis URL says: where the servers are and how to talk to them."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from mfa_service.errors import SettingsInvalid

Address = tuple[str, int]

_PORT = 6379
_SENTINEL_PORT = 26379
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_FORMS = (
    "redis.url: must begin with redis://, redis+sentinel:// or redis+cluster:// (rediss for TLS in each), or unix://"
)


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
    except ValueError as error:
        raise SettingsInvalid(_FORMS) from error
    if scheme == "unix" and topology is Topology.STANDALONE:
        return _socket(parts)
    if scheme not in ("redis", "rediss"):
        raise SettingsInvalid(_FORMS)
    tls = _TLS_OPTIONS if scheme == "rediss" else frozenset()
    query = _query(parts, tls | (_SENTINEL_OPTIONS if topology is Topology.SENTINEL else frozenset()))
    service, database = _path(parts, topology)
    certificates = _certificates(query) if tls else {}
    return Servers(
        topology,
        _addresses(parts, topology),
        SSLConnection if tls else Connection,
        _user(parts) | database | certificates,
        service,
        _credentials(query.get("sentinel_username", ""), query.get("sentinel_password", "")) | certificates,
    )


def _socket(parts: SplitResult) -> Servers:
    query = _query(parts, frozenset({"db"}))
    if not parts.path:
        raise SettingsInvalid("redis.url: the path of the socket is missing")
    address = (unquote(parts.path), 0)
    options = _user(parts) | (_database(query["db"]) if "db" in query else {})
    return Servers(Topology.STANDALONE, (address,), UnixDomainSocketConnection, options)


def _query(parts: SplitResult, known: frozenset[str]) -> Mapping[str, str]:
    query = dict(parse_qsl(parts.query))
    if unknown := sorted(query.keys() - known):
        raise SettingsInvalid(f"redis.url: unknown option {unknown[0].encode('unicode_escape').decode('ascii')}")
    return query


def _addresses(parts: SplitResult, topology: Topology) -> tuple[Address, ...]:
    default_port = _SENTINEL_PORT if topology is Topology.SENTINEL else _PORT
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if topology is Topology.STANDALONE and len(hosts) > 1:
        raise SettingsInvalid("redis.url: several hosts need redis+sentinel:// or redis+cluster://")
    try:
        servers = [urlsplit(f"//{host}") for host in hosts]
        addresses = tuple((server.hostname or "", server.port or default_port) for server in servers)
    except ValueError as error:
        raise SettingsInvalid("redis.url: a host or port is malformed") from error
    if not all(host for host, _ in addresses):
        raise SettingsInvalid("redis.url: a host is missing")
    return addresses


def _path(parts: SplitResult, topology: Topology) -> tuple[str, dict[str, Any]]:
    """Return the name of the service and the option of the database, each empty where there is none."""
    steps = [unquote(step) for step in parts.path.split("/") if step]
    service = ""
    if topology is Topology.SENTINEL:
        if not steps:
            raise SettingsInvalid("redis.url: the name of the service is missing after the sentinels")
        service = steps.pop(0)
    if len(steps) > (topology is not Topology.CLUSTER):
        raise SettingsInvalid("redis.url: the path is longer than it can be")
    return service, _database(steps[0]) if steps else {}


def _database(text: str) -> dict[str, Any]:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise SettingsInvalid("redis.url: the database must be a number")
    return {"db": int(text)}


def _user(parts: SplitResult) -> dict[str, Any]:
    username, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return _credentials(unquote(username), unquote(password))


def _credentials(username: str, password: str) -> dict[str, Any]:
    return {"username": username or None, "password": password or None}


def _certificates(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of TLS; that the certificate is checked is none of them."""
    checks = query.get("ssl_check_hostname", "true")
    if checks not in ("true", "false"):
        raise SettingsInvalid("redis.url: ssl_check_hostname must be true or false")
    files: dict[str, Any] = {name: query[name] for name in (_TLS_OPTIONS - {"ssl_check_hostname"}) & query.keys()}
    return files | {"ssl_check_hostname": checks == "true"}
