"""A Redis that is not fit for challenges is refused at start, in words that say what to change."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.model import Challenge, Purpose, QuotaLimits, Settlement, Verdict
from mfa_service.stores.redis import RedisQuotaLeases, open_challenges, open_client
from tests.servers.valkey import Deployment, Server, free_port, standalone

PASSWORD = "p@ss/w:rd"
QUOTED = "p%40ss%2Fw%3Ard"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server that asks for a password, on a Unix socket too."""
    folder = tmp_path_factory.mktemp("guarded")
    with standalone(folder, "--unixsocket", str(folder / "socket"), password=PASSWORD) as deployment:
        yield deployment.servers[0]


async def works(url: str, *, allow_eviction: bool = False) -> None:
    """Take a challenge through its life and leave nothing open."""
    challenges = await open_challenges(url, allow_eviction=allow_eviction)
    try:
        challenge = Challenge(str(uuid.uuid4()), "application", "device", Purpose.ACTIVATION)
        await challenges.open(challenge, ttl_s=60)
        assert await challenges.settle(challenge.auth_id, Verdict.MATCH, step=1, max_attempts=5) is Settlement.TAKEN
        peeked = await challenges.peek(challenge.auth_id, application_id="application", purpose=Purpose.ACTIVATION)
        assert peeked.taken_step == 1
        await challenges.ping()
    finally:
        await challenges.close()


async def refusal(url: str) -> str:
    """Return what is said of a server that is refused."""
    with pytest.raises(SettingsInvalid) as refused:
        await open_challenges(url)
    return str(refused.value)


# Eviction


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_keys_is_refused_unless_that_is_allowed(tmp_path: Path, policy: str) -> None:
    with standalone(tmp_path, "--maxmemory-policy", policy) as deployment:
        assert f"maxmemory-policy {policy}" in await refusal(deployment.url)
        await works(deployment.url, allow_eviction=True)


async def test_one_master_of_a_cluster_that_may_evict_keys_is_enough_to_be_refused(valkey_cluster: Deployment) -> None:
    last = valkey_cluster.servers[-1]
    last.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        text = await refusal(valkey_cluster.url)
    finally:
        last.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert f"{last.address} has maxmemory-policy allkeys-lfu" in text


# Credentials and permissions


@pytest.mark.parametrize("credentials", ["", ":wrong-guess@", "nobody:wrong-guess@", f"nobody:{QUOTED}@"])
async def test_wrong_credentials_are_refused_and_not_repeated(guarded: Server, credentials: str) -> None:
    text = await refusal(f"redis://{credentials}{guarded.address}")
    assert "user name or the password" in text
    assert "wrong-guess" not in text
    assert PASSWORD not in text


@pytest.mark.parametrize("credentials", [f":{QUOTED}@", f"default:{QUOTED}@"])
async def test_right_credentials_are_accepted(guarded: Server, credentials: str) -> None:
    await works(f"redis://{credentials}{guarded.address}/3")


async def test_a_unix_socket_is_accepted(guarded: Server) -> None:
    await works(f"unix://:{QUOTED}@{guarded.folder.parent / 'socket'}?db=2")


@pytest.mark.parametrize("name", ["info", "set", "get", "eval", "evalsha", "ping"])
async def test_a_user_who_lacks_a_command_is_refused_by_its_name(guarded: Server, name: str) -> None:
    guarded.command("ACL", "SETUSER", "lacking", "reset", "on", ">known", "~mfa:*", "+@all", f"-{name}")
    assert f"may not run {name.upper()} on keys mfa:*" in await refusal(f"redis://lacking:known@{guarded.address}")


async def test_a_user_of_other_keys_is_refused(guarded: Server) -> None:
    guarded.command("ACL", "SETUSER", "elsewhere", "reset", "on", ">known", "~other:*", "+@all")
    assert "on keys mfa:*" in await refusal(f"redis://elsewhere:known@{guarded.address}")


async def test_a_user_of_the_needed_commands_alone_is_accepted(guarded: Server) -> None:
    needed = ("+info", "+set", "+get", "+eval", "+evalsha", "+ping")
    guarded.command("ACL", "SETUSER", "least", "reset", "on", ">known", "~mfa:c:*", *needed)
    await works(f"redis://least:known@{guarded.address}")


async def test_leases_need_the_command_time_and_keys_of_their_own(guarded: Server) -> None:
    needed = ("+info", "+set", "+get", "+eval", "+evalsha", "+ping")
    guarded.command("ACL", "SETUSER", "leasing", "reset", "on", ">known", "~mfa:c:*", *needed)
    url = f"redis://leasing:known@{guarded.address}"
    with pytest.raises(SettingsInvalid, match=r"may not run TIME on keys mfa:\*"):
        await open_client(url, prefix="mfa:", leases=True)
    guarded.command("ACL", "SETUSER", "leasing", "+time")
    with pytest.raises(SettingsInvalid, match=r"may not run EVAL on keys mfa:\*"):
        await open_client(url, prefix="mfa:", leases=True)
    guarded.command("ACL", "SETUSER", "leasing", "~mfa:q:*")
    client = await open_client(url, prefix="mfa:", leases=True)
    try:
        lease = await RedisQuotaLeases(client, prefix="mfa:").lease("shop", 1, QuotaLimits(1, 5))
    finally:
        await client.close()
    assert (lease.granted, lease.left) == (1, 4.0)


async def test_a_database_that_is_not_there_is_refused(guarded: Server) -> None:
    assert "no such database" in await refusal(f"redis://:{QUOTED}@{guarded.address}/99")


# The wrong kind of server


async def test_a_replica_is_refused(valkey_sentinel: Deployment) -> None:
    replica = next(one for one in valkey_sentinel.servers if one.facts("replication")["role"] == "slave")
    assert "is a replica" in await refusal(f"redis://{replica.address}")


async def test_a_node_of_a_cluster_is_refused_as_a_server_of_its_own(valkey_cluster: Deployment) -> None:
    assert "redis+cluster://" in await refusal(f"redis://{valkey_cluster.servers[0].address}")


async def test_a_server_of_its_own_is_refused_as_a_cluster(valkey: Deployment) -> None:
    assert "not of this kind" in await refusal(f"redis+cluster://{valkey.servers[0].address}")


async def test_a_service_that_the_sentinels_do_not_know_is_refused(valkey_sentinel: Deployment) -> None:
    assert "no service of this name" in await refusal(valkey_sentinel.url + "-unknown")


@pytest.mark.parametrize("form", ["redis://{}", "redis+sentinel://{}/mfa", "redis+cluster://{}"])
async def test_a_server_out_of_reach_is_unavailable(form: str) -> None:
    with pytest.raises(StoreUnavailable):
        await open_challenges(form.format(f"127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_addresses_out_of_reach_are_passed_over(
    valkey_sentinel: Deployment, valkey_cluster: Deployment, kind: str
) -> None:
    url = valkey_sentinel.url if kind == "sentinel" else valkey_cluster.url
    await works(url.replace("://", f"://127.0.0.1:{free_port()},"))


# TLS


@contextlib.asynccontextmanager
async def behind_tls(server: Server, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """Put TLS in front of a server; give the address and the file of the certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "valkey")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    bundle.write_bytes(secret + public)
    authority = folder / "authority.pem"
    authority.write_bytes(public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    ended: list[asyncio.Event] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
        for one in (writer, inner_writer):
            with contextlib.suppress(OSError):
                await one.wait_closed()
        end.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield "{}:{}".format(*listener.sockets[0].getsockname()), authority
    finally:
        listener.close()
        for end in ended:
            await end.wait()


async def test_a_certificate_that_nobody_vouches_for_is_refused(valkey: Deployment, tmp_path: Path) -> None:
    async with behind_tls(valkey.servers[0], tmp_path) as (address, _):
        assert "certificate is not good" in await refusal(f"rediss://{address}")


async def test_a_certificate_of_another_host_is_refused(valkey: Deployment, tmp_path: Path) -> None:
    async with behind_tls(valkey.servers[0], tmp_path) as (address, authority):
        url = f"rediss://{address}?ssl_ca_certs={authority}".replace("127.0.0.1", "localhost")
        assert "certificate is not good" in await refusal(url)
        await works(f"{url}&ssl_check_hostname=false")


async def test_a_certificate_of_a_known_authority_is_accepted(valkey: Deployment, tmp_path: Path) -> None:
    async with behind_tls(valkey.servers[0], tmp_path) as (address, authority):
        await works(f"rediss://{address}?ssl_ca_certs={authority}")
