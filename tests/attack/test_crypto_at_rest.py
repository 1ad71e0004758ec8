"""Attacks on what is stored: read it, change it, move it, and change its keys meanwhile."""

import asyncio
import base64
import contextlib
import io
import itertools
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from mfa_service import opening, sealing
from mfa_service.errors import StoreUnavailable, WrongRootKey
from mfa_service.model import KeyPurpose, Resealed, SealedDevice
from mfa_service.otp import totp
from mfa_service.sealing.cipher import Cipher
from mfa_service.stores.sql.sealed_devices import SqlSealedDevices
from mfa_service.stores.sql.tables import applications, devices, keys
from tests.api.service import DEVICE, Caller, Service, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import OPENED, OUT_OF_REACH, PASS
from tests.attack.scale import times
from tests.attack.setups import TwoNodes
from tests.clocks import ManualClock
from tests.servers import postgres
from tests.servers.service_process import plain_environment
from tests.servers.valkey import Deployment
from tests.servers.vault import vault

HALF_AN_HOUR_S = 1_800


def written(secret_base32: str) -> Iterator[bytes]:
    """The ways that a device's secret may be written."""
    octets = base64.b32decode(secret_base32)
    yield octets
    for text in (
        secret_base32,
        octets.hex(),
        base64.b64encode(octets).decode().rstrip("="),
        base64.urlsafe_b64encode(octets).decode().rstrip("="),
    ):
        yield text.encode()
        yield text.lower().encode()
        yield text.upper().encode()


async def stored(service: Service, folder: Path) -> bytes:
    """All that the registry's database holds; of SQLite the files too, its log and a backup included."""
    found = io.StringIO()
    for table in (applications, devices, keys):
        for row in await service.registry.database.read(sa.select(table)):
            print(*(value.hex() if isinstance(value, bytes) else value for value in row), file=found)
    content = found.getvalue().encode()
    if not isinstance(service, TwoNodes):
        database = service.settings.data_dir / "registry.sqlite3"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", (str(folder / "backup.sqlite3"),))
        for path in (*service.settings.data_dir.glob("registry.sqlite3*"), folder / "backup.sqlite3"):
            content += path.read_bytes()
    return content


@attack("X-01")
async def test_no_secret_is_found_in_what_is_stored(caller: Caller, tmp_path: Path) -> None:
    phone = await caller.enrolled()
    await caller.validate(await caller.challenge(), phone.code())
    content = await stored(caller.service, tmp_path)
    assert caller.application.client_id.encode() in content
    for secret in (*written(phone.totp.secret), caller.client_secret.encode(), (await caller.token()).encode()):
        assert secret not in content, "a secret is stored as it is"


async def set_secret(caller: Caller, blob: bytes) -> None:
    """Put other bytes in the place of a device's sealed secret."""
    statement = sa.update(devices).where(devices.c.id == (await caller.row()).id).values(secret=blob)
    async with caller.service.registry.database.transaction() as connection:
        await connection.execute(statement)


@attack("X-02")
async def test_no_byte_of_a_sealed_secret_can_be_changed_and_a_try_costs_nothing_but_an_alarm(
    tmp_path: Path, clock: ManualClock
) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            caller = await service.onboard()
            phone = await caller.enrolled()
            auth_id, whole = await caller.challenge(), (await caller.row()).secret.blob
            for place, bit in itertools.product(range(len(whole)), (0x01, 0x80)):
                await set_secret(caller, whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
                assert (await caller.validate(auth_id, phone.code())).outcome == OUT_OF_REACH
            for cut in (b"", whole[:-1], whole + b"\0"):
                await set_secret(caller, cut)
                assert (await caller.validate(auth_id, phone.code())).outcome == OUT_OF_REACH
            assert (await caller.row()).failures == 0
            await set_secret(caller, whole)
            assert (await caller.validate(auth_id, phone.code())).outcome == PASS
    alarms = [line for line in stream.getvalue().splitlines() if '"UnsealFailed"' in line and '"error"' in line]
    assert len(alarms) == 2 * len(whole) + 3


@attack("X-03")
async def test_keys_change_while_users_log_in_and_none_is_refused(nodes: TwoNodes) -> None:
    caller = await nodes.onboard()
    names = [f"user {number}" for number in range(24)]
    phones = {name: await caller.enrolled(user=name) for name in names}
    node = nodes.site.nodes[0]

    async def log_in(name: str) -> tuple[int, str | None]:
        auth_id = await caller.challenge(user=name)
        return (await caller.validate(auth_id, phones[name].code())).outcome

    async def log_in_one_after_another() -> set[tuple[int, str | None]]:
        outcomes = set()
        for name in names:
            outcomes.add(await log_in(name))
            await asyncio.sleep(0.1)
        return outcomes

    old = (await sealing_keys(nodes))[-1]
    logging_in = asyncio.create_task(log_in_one_after_another())
    for command in (("rotate", "sealing"), ("reseal",)):
        await asyncio.to_thread(node.run, "keys", *command)
    assert set(await nodes.registry.sealed_devices.per_key()) == {(await sealing_keys(nodes))[-1]}
    postgres_aged = "UPDATE keys SET created_at_ms = created_at_ms - 61000, active_from_ms = active_from_ms - 61000"
    await asyncio.to_thread(postgres.execute, nodes.site.database_url, postgres_aged)
    await asyncio.to_thread(node.run, "keys", "retire", old)
    assert old not in await sealing_keys(nodes)
    assert await logging_in == {PASS}


async def sealing_keys(service: Service) -> Sequence[str]:
    """The ids of the registry's sealing keys, the oldest first."""
    return [one.id for one in await service.registry.keys.all() if one.purpose is KeyPurpose.SEALING]


@attack("X-04")
def test_no_nonce_of_a_million_comes_twice() -> None:
    count = times(1_000_000)
    cipher = Cipher("00" * 16, os.urandom(32), os.urandom)
    nonces = {cipher.seal(b"a secret of twenty b", context=b"row")[17:29] for _ in range(count)}
    assert len(nonces) == count


@attack("X-05")
async def test_a_row_of_an_unknown_key_fails_alone(shop: Caller) -> None:
    lost, kept = await shop.enrolled("lost"), await shop.enrolled("kept")
    opened = {name: await shop.challenge(name) for name in ("lost", "kept")}
    name_unknown_key(shop.service, (await shop.row("lost")).id)
    for _ in range(3):
        assert (await shop.validate(opened["lost"], lost.code())).outcome == OUT_OF_REACH
    assert (await shop.validate(opened["kept"], kept.code())).outcome == PASS
    assert (await shop.pair("another")).status == 201
    assert (await shop.row("lost")).failures == 0
    assert (await shop.unpair("lost")).status == 204


def name_unknown_key(service: Service, device_id: str) -> None:
    """Let a row name a key that is not there, which the database refuses where it is asked to."""
    with contextlib.closing(sqlite3.connect(service.settings.data_dir / "registry.sqlite3")) as connection, connection:
        connection.execute("UPDATE devices SET key_id = ? WHERE id = ?", ("f" * 32, device_id))


@attack("X-06")
@pytest.mark.parametrize("other", [bytes(32), b"another root key of 32 bytes, so"])
async def test_another_root_key_opens_no_registry(tmp_path: Path, clock: ManualClock, other: bytes) -> None:
    async with serving(tmp_path, clock) as service:
        caller = await service.onboard()
        await caller.enrolled()
        before = await service.registry.keys.all()
    wrong = {"keys.root": base64.urlsafe_b64encode(other).decode()}
    with pytest.raises(WrongRootKey, match="not the one that this registry was made with"):
        async with serving(tmp_path, clock, wrong):
            raise AssertionError
    async with serving(tmp_path, clock) as service:
        assert await service.registry.keys.all() == before


@attack("X-07")
async def test_a_fault_amid_the_comparison_tells_neither_secret_nor_code(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            caller = await service.onboard()
            phone = await caller.enrolled()
            auth_id = await caller.challenge()

            def fail(secret: bytes, *given: object, **options: object) -> int:
                raise RuntimeError(secret, given, options)

            with monkeypatch.context() as patch:
                patch.setattr(totp, "match", fail)
                answer = await caller.validate(auth_id, phone.code())
            assert answer.outcome == (500, "10015")
            assert (await caller.validate(auth_id, phone.code())).outcome == PASS
            shown = repr([service.registry, await caller.row(), await service.registry.keys.all(), service.settings])
    told = stream.getvalue() + shown + answer.body.decode()
    assert '"RuntimeError"' in told
    octets = base64.b32decode(phone.totp.secret)
    for secret in (*map(bytes.decode, list(written(phone.totp.secret))[1:]), repr(octets)[2:-1], f'"{phone.code()}"'):
        assert secret not in told, "a secret is told"
    assert f"'{phone.code()}'" not in told


@attack("X-08")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
async def test_a_root_key_that_others_may_read_opens_nothing(tmp_path: Path, clock: ManualClock, mode: int) -> None:
    async with serving(tmp_path, clock):
        pass
    await asyncio.to_thread((tmp_path / "root.key").chmod, mode)
    with pytest.raises(WrongRootKey, match="open to others"):
        async with serving(tmp_path, clock):
            raise AssertionError


# Sealed anew


class Meanwhile(SqlSealedDevices):
    """The sealed secrets, with something that happens after a page was read and before it is written."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.registry.database)
        self.read: list[SealedDevice] = []
        self.written = asyncio.Event()
        self.may_write = asyncio.Event()

    async def after(self, device_id: str, *, limit: int) -> Sequence[SealedDevice]:
        """Return the next page, and note it."""
        page = await super().after(device_id, limit=limit)
        self.read += page
        return page

    async def replace(self, changes: Sequence[Resealed]) -> None:
        """Write when told to."""
        self.written.set()
        await self.may_write.wait()
        await super().replace(changes)


@asynccontextmanager
async def keyring_of(service: Service) -> AsyncIterator[sealing.Keyring]:
    """The keys of a service on embedded stores, as an operator's command opens them."""
    async with opening.open_keyring(
        service.settings, service.registry, clock=service.clock, random_bytes=os.urandom
    ) as keyring:
        yield keyring


@attack("R-11")
async def test_a_device_registered_anew_amid_the_sealing_keeps_its_new_secret(shop: Caller) -> None:
    before, _ = await shop.pending()
    service, sealed = shop.service, Meanwhile(shop.service)
    async with keyring_of(service) as keyring:
        material = sealing.new_sealing_key(os.urandom)
        await sealing.rotate(keyring, KeyPurpose.SEALING, material, active_from_ms=0)
        await keyring.refresh()
        await service.advance(2)  # the service seals with the new key by now

        async def walk() -> list[sealing.Resealing]:
            return [page async for page in sealing.reseal(sealed, keyring)]

        walking = asyncio.create_task(walk())
        await sealed.written.wait()
        after, auth_id = await shop.pending()
        registered = await shop.row()
        assert registered.id not in {one.id for one in sealed.read}
        sealed.may_write.set()
        await walking
    assert await shop.row() == registered
    assert (await shop.activate(auth_id, before.code())).status == 400
    assert (await shop.activate(auth_id, after.code())).status == 200


@attack("R-11")
async def test_on_two_nodes_devices_registered_anew_amid_the_sealing_work_with_their_new_secrets(
    nodes: TwoNodes,
) -> None:
    caller = await nodes.onboard()
    await asyncio.to_thread(nodes.site.nodes[0].run, "keys", "rotate", "sealing")
    resealing = asyncio.create_task(asyncio.to_thread(nodes.site.nodes[1].run, "keys", "reseal"))
    count = 0
    while not resealing.done() or count < 20:
        count += 1
        user = f"user {count}"
        await caller.pending(user=user)
        phone, auth_id = await caller.pending(user=user)
        assert (await caller.activate(auth_id, phone.code(), user=user)).outcome == PASS
    assert "sealed with the current key" in await resealing


# A key service


@attack("F-21")
async def test_while_the_key_service_is_down_workers_that_are_there_go_on_and_new_ones_do_not_start(
    tmp_path: Path, clock: ManualClock, valkey: Deployment
) -> None:
    async with vault() as service_of_keys:
        flags = {**service_of_keys.settings(), "redis.url": valkey.url, "redis.key_prefix": "no-key-service"}
        async with serving(tmp_path, clock, flags) as service:
            caller = await service.onboard()
            phone = await caller.enrolled()
            await service_of_keys.stop()
            for minute in range(HALF_AN_HOUR_S // 60):
                assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS
                assert (await caller.pair(f"{DEVICE} {minute}")).outcome == OPENED
                assert (await caller.unpair(f"{DEVICE} {minute}")).status == 204
                await service.advance(60)
            assert await caller.token()
            with pytest.raises(StoreUnavailable, match="Vault cannot be used"):
                async with serving(tmp_path, clock, flags):
                    raise AssertionError
            assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS
            await service_of_keys.start()
            async with serving(tmp_path, clock, flags) as another:
                other = Caller(another, caller.application, caller.client_secret)
                await service.advance(60)
                await another.duties.do()
                assert (await other.validate(await other.challenge(), phone.code())).outcome == PASS
    assert not (tmp_path / "root.key").exists()


@attack("F-21")
async def test_a_node_without_its_key_service_says_so_in_one_line_and_falls_back_on_nothing(tmp_path: Path) -> None:
    async with vault() as service_of_keys:
        service_of_keys.sealed = True
        settings = service_of_keys.settings().items()
        flags = [part for key, value in settings for part in ("--set", f"{key}={value}")]
        command = (sys.executable, "-m", "mfa_service", *flags, "--set", "http.port=0", "serve")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=dict(plain_environment()), stderr=asyncio.subprocess.PIPE
        )
        _, told = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert told == b"Error: Vault cannot be used: it is sealed, or down for maintenance (503)\n"
    assert not (tmp_path / "var" / "root.key").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "var" / "registry.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (0,)
