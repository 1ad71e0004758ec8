"""What a Redis URL says, and which ones are refused."""

import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from mfa_service.errors import SettingsInvalid
from mfa_service.stores.redis.urls import Topology, parse

NOBODY = {"username": None, "password": None}


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("redis://cache", [("cache", 6379)]),
        ("redis://cache:7000", [("cache", 7000)]),
        ("redis://[::1]:7000", [("::1", 7000)]),
        ("redis+sentinel://a,b:7000/mfa", [("a", 26379), ("b", 7000)]),
        ("redis+cluster://a:7000,b,c:7002", [("a", 7000), ("b", 6379), ("c", 7002)]),
        ("unix:///run/valkey.sock", [("/run/valkey.sock", 0)]),
    ],
)
def test_addresses_are_read_with_the_usual_port_by_default(url: str, addresses: list[tuple[str, int]]) -> None:
    assert list(parse(url).addresses) == addresses


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://cache", NOBODY),
        ("redis://cache/", NOBODY),
        ("redis://cache/3", NOBODY | {"db": 3}),
        ("redis://:secret@cache", {"username": None, "password": "secret"}),
        ("redis://mfa:p%40ss%3A%2F@cache/1", {"username": "mfa", "password": "p@ss:/", "db": 1}),
        ("unix://mfa:secret@/run/valkey.sock?db=2", {"username": "mfa", "password": "secret", "db": 2}),
        ("redis+sentinel://mfa:secret@a,b/service/4", {"username": "mfa", "password": "secret", "db": 4}),
        ("redis+cluster://mfa:secret@a,b", {"username": "mfa", "password": "secret"}),
    ],
)
def test_credentials_and_database_are_read(url: str, options: dict[str, object]) -> None:
    assert parse(url).options == options


@pytest.mark.parametrize(
    ("url", "topology", "connection"),
    [
        ("redis://a", Topology.STANDALONE, Connection),
        ("rediss://a", Topology.STANDALONE, SSLConnection),
        ("unix:///a", Topology.STANDALONE, UnixDomainSocketConnection),
        ("redis+sentinel://a/s", Topology.SENTINEL, Connection),
        ("rediss+sentinel://a/s", Topology.SENTINEL, SSLConnection),
        ("redis+cluster://a", Topology.CLUSTER, Connection),
        ("rediss+cluster://a", Topology.CLUSTER, SSLConnection),
    ],
)
def test_the_scheme_tells_topology_and_connection(url: str, topology: Topology, connection: type) -> None:
    servers = parse(url)
    assert (servers.topology, servers.connection) == (topology, connection)


def test_the_sentinels_have_a_service_and_credentials_of_their_own() -> None:
    servers = parse("redis+sentinel://mfa:inner@a/the-service?sentinel_username=watch&sentinel_password=outer")
    assert servers.service == "the-service"
    assert servers.options == {"username": "mfa", "password": "inner"}
    assert servers.sentinel_options == {"username": "watch", "password": "outer"}


def test_tls_checks_the_host_name_unless_told_not_to() -> None:
    assert parse("rediss://a").options["ssl_check_hostname"] is True
    assert parse("rediss://a?ssl_check_hostname=false").options["ssl_check_hostname"] is False
    assert parse("rediss+sentinel://a/s?ssl_ca_certs=/ca").sentinel_options["ssl_ca_certs"] == "/ca"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache:6379",
        "http://cache",
        "redis+proxy://cache",
        "unix+cluster:///run/valkey.sock",
        "redis://",
        "unix://",
        "redis://cache:port",
        "redis://cache:99999",
        "redis://cache/name",
        "redis://cache/1/2",
        "redis://cache?db=1",
        "redis://cache?socket_timeout=60",
        "redis://cache?ssl_ca_certs=/ca",
        "rediss://cache?ssl_cert_reqs=none",
        "rediss://cache?ssl_check_hostname=perhaps",
        "unix:///run/valkey.sock?db=name",
        "redis+sentinel://a,b",
        "redis+sentinel://a,b/service/name",
        "redis+cluster://a,b/1",
        "redis+cluster://a?sentinel_password=s",
        "redis://one,two",
    ],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^redis\.url: "):
        parse(url)


@pytest.mark.parametrize(
    "url", ["redis://mfa:the-secret@cache/x", "redis://mfa:the-secret@cache:port", "x://:the-secret@c"]
)
def test_a_refusal_does_not_repeat_the_password(url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        parse(url)
    assert "the-secret" not in str(refused.value)


def test_no_password_is_shown_where_servers_are_printed() -> None:
    servers = parse("redis+sentinel://mfa:the-secret@a/s?sentinel_password=the-secret")
    assert "the-secret" not in repr(servers)
