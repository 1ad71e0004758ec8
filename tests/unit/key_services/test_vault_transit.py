"""The Transit engine as a root key: what it is asked, what its answers become, and what is told when it fails."""

import asyncio
import datetime as dt
import ipaddress
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID

from mfa_service import settings as settings_module
from mfa_service.errors import MfaError, SettingsInvalid, StoreUnavailable, UnsealFailed, WrongRootKey
from mfa_service.key_services.vault_transit import VaultTransit, open_vault_transit
from mfa_service.model import KeyPurpose
from mfa_service.sealing import KeyWrapping, RootKey, establish, new_sealing_key, rotate
from tests.clocks import ManualClock
from tests.servers.vault import TOKEN, Vault, vault
from tests.unit.access.fakes import MemoryKeys

KEY = b"\x00\xff thirty-two bytes of a key \x00\xff"
CONTEXT = b"\x00\x00\x00\x03key\xff"


@pytest.fixture
async def running() -> AsyncIterator[Vault]:
    async with vault() as one:
        yield one


@asynccontextmanager
async def opened(running: Vault, **changes: object) -> AsyncIterator[VaultTransit]:
    flags = {**running.settings(), **changes}
    section = settings_module.load(config_path=None, environment={}, flags=flags).settings.vault
    async with open_vault_transit(section) as transit:
        transit._pause_s = 0.01
        yield transit


@pytest.fixture
async def transit(running: Vault) -> AsyncIterator[VaultTransit]:
    async with opened(running) as one:
        yield one


async def refusal(transit: VaultTransit, kind: type[MfaError]) -> str:
    """What is told where a key cannot be wrapped; never the key or the token."""
    with pytest.raises(kind) as refused:
        await transit.wrap(KEY, context=CONTEXT)
    told = f"{refused.value} {refused.value!r} {refused.value.__cause__!r}"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert TOKEN not in told
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_redirection_is_not_followed_for_the_token_goes_nowhere_else(running: Vault) -> None:
    async with vault() as other, opened(running) as transit:
        location = f"{other.address}/v1/transit/encrypt/mfa"
        for status in (301, 302, 303, 307, 308):
            running.answer = web.Response(status=status, headers={"Location": location})
            await refusal(transit, StoreUnavailable)
        assert other.seen == 0
        assert running.seen > 0


async def test_what_it_wraps_opens_in_its_context_alone(running: Vault, transit: VaultTransit) -> None:
    wrapped = await transit.wrap(KEY, context=CONTEXT)
    assert wrapped.startswith(b"vault:v1:")
    assert await transit.unwrap(wrapped, context=CONTEXT) == KEY
    with pytest.raises(UnsealFailed):
        await transit.unwrap(wrapped, context=CONTEXT + b"x")
    assert running.requests == ["encrypt", "decrypt", "decrypt"]


async def test_a_key_of_an_older_version_opens_until_vault_forbids_it(running: Vault, transit: VaultTransit) -> None:
    wrapped = await transit.wrap(KEY, context=CONTEXT)
    running.rotate()
    assert (await transit.wrap(KEY, context=CONTEXT)).startswith(b"vault:v2:")
    assert await transit.unwrap(wrapped, context=CONTEXT) == KEY
    running.oldest_version = 2
    with pytest.raises(UnsealFailed):
        await transit.unwrap(wrapped, context=CONTEXT)


@pytest.mark.parametrize("wrapped", [b"", b"\x01" * 61, "vault:v1:é".encode(), b"vault:v1:\xff"])
async def test_what_vault_has_not_wrapped_is_not_sent_there(
    running: Vault, transit: VaultTransit, wrapped: bytes
) -> None:
    with pytest.raises(UnsealFailed):
        await transit.unwrap(wrapped, context=CONTEXT)
    assert running.requests == []


@pytest.mark.parametrize("wrapped", [b"vault:v1:", b"vault:v1:AAAA", b"vault:v9:AAAA", b"vault:vx:AAAA", b"vault:v1:!"])
async def test_a_damaged_key_does_not_open(transit: VaultTransit, wrapped: bytes) -> None:
    with pytest.raises(UnsealFailed):
        await transit.unwrap(wrapped, context=CONTEXT)


async def test_a_namespace_is_named(running: Vault) -> None:
    running.namespace = "team/mfa"
    async with opened(running, **{"vault.namespace": "team/mfa"}) as transit:
        assert await transit.unwrap(await transit.wrap(KEY, context=CONTEXT), context=CONTEXT) == KEY
    async with opened(running) as transit:
        assert "vault.token and its policy (403)" in await refusal(transit, StoreUnavailable)


async def test_a_token_that_is_refused_is_told_of_and_not_repeated(running: Vault) -> None:
    running.token = "hvs.another"
    async with opened(running, **{"vault.token": TOKEN}) as transit:
        assert "check vault.token and its policy (403)" in await refusal(transit, StoreUnavailable)
        assert TOKEN not in repr(transit)
        with pytest.raises(StoreUnavailable, match="403"):
            await transit.unwrap(b"vault:v1:AAAA", context=CONTEXT)


async def test_a_path_that_is_not_there_is_told_of(running: Vault) -> None:
    async with opened(running, **{"vault.mount": "transit"}) as transit:
        assert "check vault.mount and vault.namespace (404)" in await refusal(transit, StoreUnavailable)


async def test_a_key_that_is_not_there_wraps_nothing(running: Vault) -> None:
    async with opened(running, **{"vault.key_name": "other"}) as transit:
        assert "does not encrypt with its key other" in await refusal(transit, WrongRootKey)


async def test_a_sealed_vault_is_told_of_at_once(running: Vault, transit: VaultTransit) -> None:
    running.failing = [503, 503]
    assert "it is sealed, or down for maintenance (503)" in await refusal(transit, StoreUnavailable)
    assert running.failing == [503]


@pytest.mark.parametrize("status", [412, 429, 500, 502])
async def test_what_another_try_may_better_is_tried_again(running: Vault, transit: VaultTransit, status: int) -> None:
    running.failing = [status, status]
    assert await transit.unwrap(await transit.wrap(KEY, context=CONTEXT), context=CONTEXT) == KEY
    running.failing = [status] * 4
    assert f"({status})" in await refusal(transit, StoreUnavailable)
    assert running.failing == [status]


async def test_a_vault_that_is_down_is_told_of_and_used_again_once_it_is_back(
    running: Vault, transit: VaultTransit
) -> None:
    wrapped = await transit.wrap(KEY, context=CONTEXT)
    await running.stop()
    assert "ClientConnectorError" in await refusal(transit, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        await transit.unwrap(wrapped, context=CONTEXT)
    await running.start()
    assert await transit.unwrap(wrapped, context=CONTEXT) == KEY


async def test_a_slow_vault_is_given_up_within_the_deadline(running: Vault, transit: VaultTransit) -> None:
    running.delay_s = 5
    began_s = time.monotonic()
    assert "no answer in time" in await refusal(transit, StoreUnavailable)
    assert time.monotonic() - began_s < 4


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(body=b"\xff{"),
        lambda: web.json_response([]),
        lambda: web.json_response({"data": None}),
        lambda: web.json_response({"data": {"ciphertext": 7, "plaintext": 7}}),
        lambda: web.json_response({"data": {"ciphertext": "plain text", "plaintext": "not base64!"}}),
        lambda: web.json_response({"data": {"ciphertext": "vault:v1:é", "plaintext": "é"}}),
        lambda: web.Response(body=b" " * 200_000),
        lambda: web.Response(status=204),
        lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/v1/"}),
    ],
)
async def test_another_answer_is_none(running: Vault, transit: VaultTransit, answer: object) -> None:
    assert callable(answer)
    running.answer = answer()
    await refusal(transit, StoreUnavailable)
    running.answer = answer()
    with pytest.raises(StoreUnavailable):
        await transit.unwrap(b"vault:v1:AAAA", context=CONTEXT)


# The keys of a registry


async def open_keys(keys: MemoryKeys, root: KeyWrapping, clock: ManualClock) -> None:
    await establish(keys, root, clock=clock, random_bytes=os.urandom)


async def test_a_registry_belongs_to_the_key_in_vault_that_it_was_made_with(
    running: Vault, transit: VaultTransit
) -> None:
    keys, clock = MemoryKeys(), ManualClock()
    await open_keys(keys, transit, clock)
    await open_keys(keys, transit, clock)
    running.keys["other"] = [os.urandom(32)]
    async with opened(running, **{"vault.key_name": "other"}) as other:
        with pytest.raises(WrongRootKey, match="not the one that this registry was made with"):
            await open_keys(keys, other, clock)
    with pytest.raises(WrongRootKey):
        await open_keys(keys, RootKey(os.urandom(32), os.urandom), clock)
    before = MemoryKeys()
    await open_keys(before, RootKey(os.urandom(32), os.urandom), clock)
    with pytest.raises(WrongRootKey):
        await open_keys(before, transit, clock)


async def test_open_keys_need_no_vault_and_new_ones_do(running: Vault, transit: VaultTransit) -> None:
    keys, clock = MemoryKeys(), ManualClock()
    keyring = await establish(keys, transit, clock=clock, random_bytes=os.urandom)
    sealed = await keyring.seal(KEY, context=CONTEXT)
    asked = len(running.requests)
    running.sealed = True
    for _ in range(1_800):
        clock.advance(1)
        await keyring.refresh()
        assert await keyring.unseal(await keyring.seal(KEY, context=CONTEXT), context=CONTEXT) == KEY
    assert await keyring.unseal(sealed, context=CONTEXT) == KEY
    assert len(running.requests) == asked
    before = dict(keys.records)
    with pytest.raises(StoreUnavailable, match="sealed"):
        await rotate(keyring, KeyPurpose.SEALING, new_sealing_key(os.urandom), active_from_ms=0)
    with pytest.raises(StoreUnavailable, match="sealed"):
        await establish(keys, transit, clock=clock, random_bytes=os.urandom)
    assert keys.records == before


async def test_a_key_that_vault_does_not_open_is_asked_for_once(running: Vault, transit: VaultTransit) -> None:
    keys, clock = MemoryKeys(), ManualClock()
    keyring = await establish(keys, transit, clock=clock, random_bytes=os.urandom)
    await rotate(keyring, KeyPurpose.SEALING, new_sealing_key(os.urandom), active_from_ms=0)
    keys.replace(replace(keys.records["sealing", 1], sealed=b"vault:v1:AAAA"))
    asked = len(running.requests)
    for _ in range(5):
        await keyring.refresh()
    assert len(keyring.damaged) == 1
    assert len(running.requests) == asked + 2


# TLS


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for this machine, and the file that says it is to be trusted."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context, folder / "ca.pem"


async def test_vaults_certificate_is_checked_with_the_file_of_the_settings(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path)
    async with vault(tls=context) as running:
        async with opened(running, **{"vault.ca_file": str(ca_file)}) as transit:
            assert await transit.unwrap(await transit.wrap(KEY, context=CONTEXT), context=CONTEXT) == KEY
        async with opened(running) as transit:
            assert "Certificate" in await refusal(transit, StoreUnavailable)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_file_without_certificates_is_refused(tmp_path: Path, running: Vault, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        await asyncio.to_thread(path.write_bytes, content)
    with pytest.raises(SettingsInvalid, match=r"vault\.ca_file: it cannot be read"):
        async with opened(running, **{"vault.ca_file": str(path)}):
            raise AssertionError
