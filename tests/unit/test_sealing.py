"""`sealing`: what opens a blob, who owns a registry, and how keys rotate."""
# ruff: noqa: ASYNC240  # the files are small and nothing else runs meanwhile

import asyncio
import base64
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mfa_service.errors import StoreUnavailable, UnsealFailed, WrongRootKey
from mfa_service.model import KeyPurpose, Owner, SealedSecret, TotpParameters
from mfa_service.sealing import (
    KeyMaterial,
    Keyring,
    RootKey,
    device_context,
    establish,
    read_or_make_root_key,
    read_root_key,
    root_key_from_text,
)
from mfa_service.sealing.cipher import Cipher
from tests.clocks import ManualClock
from tests.unit.access.fakes import ROOT_OCTETS, MemoryKeys, root_key

SECRET = b"twenty octets secret"
CONTEXT = b"context"
ROOT_TEXT = base64.urlsafe_b64encode(ROOT_OCTETS).decode().rstrip("=")


def test_what_binds_a_secret_is_the_same_bytes_in_every_version() -> None:
    parameters = TotpParameters(algorithm="SHA256", digits=8, period_s=60)
    context = device_context("d" * 32, Owner("app", "jürgen"), parameters)
    parts = {"app": 3, "jürgen": 7, "d" * 32: 32, "SHA256": 6, "8": 1, "60": 2}
    assert context == b"".join(bytes((0, 0, 0, length)) + part.encode() for part, length in parts.items())


@pytest.fixture
async def keyring(keys: MemoryKeys, clock: ManualClock) -> Keyring:
    return await established(keys, clock)


async def established(keys: MemoryKeys, clock: ManualClock, root: RootKey | None = None) -> Keyring:
    return await establish(keys, root or root_key(), clock=clock, random_bytes=os.urandom)


async def rotate_sealing(keyring: Keyring, *, generation: int = 2, active_from_ms: int = 0) -> str:
    material = KeyMaterial(os.urandom(16).hex(), "A256GCM", os.urandom(32))
    record = await keyring.add(KeyPurpose.SEALING, material, generation=generation, active_from_ms=active_from_ms)
    return record.id


# The cipher


async def test_what_was_sealed_opens_in_its_context(keyring: Keyring) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    assert await keyring.unseal(sealed, context=CONTEXT) == SECRET


async def test_a_blob_names_its_key_and_hides_its_secret(keyring: Keyring) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    assert sealed.blob[:17] == b"\x01" + bytes.fromhex(sealed.key_id)
    assert len(sealed.blob) == 17 + 12 + len(SECRET) + 16
    assert SECRET not in sealed.blob


async def test_a_blob_with_any_one_byte_changed_does_not_open(keyring: Keyring) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    for position in range(len(sealed.blob)):
        changed = bytearray(sealed.blob)
        changed[position] ^= 1
        with pytest.raises(UnsealFailed):
            await keyring.unseal(SealedSecret(sealed.key_id, bytes(changed)), context=CONTEXT)


async def test_a_truncated_blob_does_not_open(keyring: Keyring) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    for length in range(len(sealed.blob)):
        with pytest.raises(UnsealFailed):
            await keyring.unseal(SealedSecret(sealed.key_id, sealed.blob[:length]), context=CONTEXT)


def test_the_key_id_in_a_blob_is_authenticated() -> None:
    key = os.urandom(32)
    blob = Cipher("00" * 16, key, os.urandom).seal(SECRET, context=CONTEXT)
    renamed = blob[:1] + bytes.fromhex("11" * 16) + blob[17:]
    with pytest.raises(UnsealFailed):
        Cipher("11" * 16, key, os.urandom).open(renamed, context=CONTEXT)


async def test_a_blob_does_not_open_in_another_context(keyring: Keyring) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    for other in (b"", b"contex", b"context ", b"Context"):
        with pytest.raises(UnsealFailed):
            await keyring.unseal(sealed, context=other)


@pytest.mark.parametrize(
    "other",
    [
        device_context("device2", Owner("app", "alice"), TotpParameters()),
        device_context("device", Owner("app2", "alice"), TotpParameters()),
        device_context("device", Owner("app", "bob"), TotpParameters()),
        device_context("device", Owner("app", "alice"), TotpParameters(algorithm="SHA256")),
        device_context("device", Owner("app", "alice"), TotpParameters(digits=8)),
        device_context("device", Owner("app", "alice"), TotpParameters(period_s=60)),
        device_context("device", Owner("appa", "lice"), TotpParameters()),
        device_context("edevice", Owner("app", "alic"), TotpParameters()),
    ],
)
async def test_every_part_of_a_device_binds_its_secret(keyring: Keyring, other: bytes) -> None:
    sealed = await keyring.seal(SECRET, context=device_context("device", Owner("app", "alice"), TotpParameters()))
    with pytest.raises(UnsealFailed):
        await keyring.unseal(sealed, context=other)


def test_a_device_context_has_its_parts_behind_their_lengths() -> None:
    context = device_context("d", Owner("app", "é"), TotpParameters("SHA512", 8, 60))
    assert context == b"\0\0\0\x03app\0\0\0\x02\xc3\xa9\0\0\0\x01d\0\0\0\x06SHA512\0\0\0\x018\0\0\0\x0260"


def test_no_nonce_comes_twice() -> None:
    cipher = Cipher("00" * 16, os.urandom(32), os.urandom)
    assert len({cipher.seal(b"", context=b"")[17:29] for _ in range(100_000)}) == 100_000


def test_a_nonce_comes_from_the_given_source() -> None:
    cipher = Cipher("00" * 16, bytes(32), lambda size: b"n" * size)
    assert cipher.seal(SECRET, context=b"")[17:29] == b"n" * 12


def test_a_cipher_takes_no_short_key_and_no_short_id() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher("00" * 16, bytes(16), os.urandom)
    with pytest.raises(ValueError, match="16 bytes"):
        Cipher("00" * 4, bytes(32), os.urandom)


async def test_no_repr_shows_a_key(keyring: Keyring) -> None:
    octets = b"sixteen of these" * 2
    shown = repr(
        [
            RootKey(octets, os.urandom),
            Cipher("00" * 16, octets, os.urandom),
            KeyMaterial("id", "A256GCM", octets),
            keyring,
            keyring.records(KeyPurpose.SEALING),
            await keyring.seal(octets, context=CONTEXT),
        ]
    )
    assert "sixteen" not in shown
    assert repr(ROOT_OCTETS)[2:12] not in shown
    assert "RootKey(...)" in shown


# The root key


@pytest.mark.parametrize(
    "text",
    [
        ROOT_TEXT,
        ROOT_TEXT + "=",
        f" {ROOT_TEXT}\n",
        base64.b64encode(ROOT_OCTETS).decode(),
    ],
)
async def test_a_root_key_is_read_from_base64(text: str) -> None:
    wrapped = await root_key().wrap(SECRET, context=CONTEXT)
    assert await root_key_from_text(text, random_bytes=os.urandom).unwrap(wrapped, context=CONTEXT) == SECRET


async def test_a_root_key_may_have_every_digit_of_either_alphabet() -> None:
    octets = b"\xfb\xef\xff" * 10 + b"\xfb\xef"
    wrapped = await root_key(octets).wrap(SECRET, context=CONTEXT)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        read = root_key_from_text(encode(octets).decode(), random_bytes=os.urandom)
        assert await read.unwrap(wrapped, context=CONTEXT) == SECRET


@pytest.mark.parametrize(
    "text",
    ["", "short", ROOT_TEXT[:-1], ROOT_TEXT + "A", ROOT_TEXT[:-1] + "9", "!" + ROOT_TEXT[1:], "é" * 43, "00" * 32],
)
def test_another_text_is_no_root_key_and_is_not_repeated(text: str) -> None:
    with pytest.raises(WrongRootKey) as refusal:
        root_key_from_text(text, random_bytes=os.urandom)
    assert "base64url of 32 bytes" in str(refusal.value)
    assert not text or text not in str(refusal.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "root.key"
    path.write_text(ROOT_TEXT + "\n")
    path.chmod(0o600)
    return path


async def test_a_root_key_is_read_from_a_file_of_its_owner(path: Path) -> None:
    wrapped = await root_key().wrap(SECRET, context=CONTEXT)
    for mode in (0o600, 0o400):
        path.chmod(mode)
        assert await read_root_key(path, random_bytes=os.urandom).unwrap(wrapped, context=CONTEXT) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o644, 0o601])
def test_a_root_key_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(WrongRootKey, match=rf"open to others \(mode {mode:04o}\): run `chmod 600`"):
        read_root_key(path, random_bytes=os.urandom)


def test_a_missing_root_key_is_refused_and_not_made(path: Path) -> None:
    path.unlink()
    with pytest.raises(WrongRootKey, match="cannot be read: No such file"):
        read_root_key(path, random_bytes=os.urandom)
    assert not path.exists()


def test_a_folder_is_no_root_key(tmp_path: Path) -> None:
    with pytest.raises(WrongRootKey, match="cannot be read"):
        read_root_key(tmp_path, random_bytes=os.urandom)


def test_a_device_is_no_root_key() -> None:
    with pytest.raises(WrongRootKey, match="not a regular file"):
        read_root_key(Path("/dev/zero"), random_bytes=os.urandom)


@pytest.mark.parametrize("content", [b"", b"\xff" * 43, ROOT_TEXT.encode() * 1000])
def test_a_file_of_something_else_is_refused_with_its_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(WrongRootKey, match=r"root\.key: the root key is not base64url"):
        read_root_key(path, random_bytes=os.urandom)


async def test_a_root_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    made = read_or_make_root_key(path, random_bytes=os.urandom)
    content = path.read_bytes()
    again = read_or_make_root_key(path, random_bytes=os.urandom)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == content
    assert await again.unwrap(await made.wrap(SECRET, context=CONTEXT), context=CONTEXT) == SECRET
    assert list(tmp_path.iterdir()) == [path]


async def test_of_many_that_make_a_root_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: read_or_make_root_key(path, random_bytes=os.urandom), range(32)))
    wrapped = await made[0].wrap(SECRET, context=CONTEXT)
    assert {await one.unwrap(wrapped, context=CONTEXT) for one in made} == {SECRET}
    assert list(tmp_path.iterdir()) == [path]


async def test_whoever_loses_the_race_for_the_root_key_reads_the_winners(tmp_path: Path) -> None:
    path = tmp_path / "root.key"

    def slow(size: int) -> bytes:  # between this one's look for the file and its own key, another one makes it
        if not path.exists():
            winner = tmp_path / "winner"
            winner.write_text(ROOT_TEXT)
            winner.chmod(0o600)
            winner.rename(path)
        return os.urandom(size)

    loser = read_or_make_root_key(path, random_bytes=slow)
    wrapped = await root_key().wrap(SECRET, context=CONTEXT)
    assert await loser.unwrap(wrapped, context=CONTEXT) == SECRET
    assert list(tmp_path.iterdir()) == [path]


def test_a_root_key_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(WrongRootKey, match="cannot be made: No such file"):
        read_or_make_root_key(tmp_path / "missing" / "root.key", random_bytes=os.urandom)


# Who owns a registry


async def test_the_first_start_makes_a_canary_and_a_sealing_key(keys: MemoryKeys, keyring: Keyring) -> None:
    assert sorted(keys.records) == [("canary", 1), ("sealing", 1)]
    assert keyring.registry_id == keys.records["canary", 1].id
    assert bytes.fromhex(keyring.registry_id) != bytes(16)


async def test_a_later_start_finds_what_the_first_one_made(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock
) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    later = await established(keys, clock)
    assert later.registry_id == keyring.registry_id
    assert await later.unseal(sealed, context=CONTEXT) == SECRET
    assert len(keys.records) == 2


async def test_another_root_key_is_refused_and_changes_nothing(keys: MemoryKeys, clock: ManualClock) -> None:
    await established(keys, clock)
    before = dict(keys.records)
    with pytest.raises(WrongRootKey, match="not the one that this registry was made with"):
        await established(keys, clock, root_key(os.urandom(32)))
    assert keys.records == before


async def test_of_two_root_keys_on_a_new_registry_one_is_refused(clock: ManualClock) -> None:
    class RacedKeys(MemoryKeys):
        async def all(self) -> list[object]:  # type: ignore[override]  # what the port gives, later
            found = list(await super().all())
            await asyncio.sleep(0)
            return found  # type: ignore[return-value]  # the same

    keys = RacedKeys()
    outcomes = await asyncio.gather(
        established(keys, clock), established(keys, clock, root_key(os.urandom(32))), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Keyring", "WrongRootKey"]


async def test_many_first_starts_share_one_sealing_key(keys: MemoryKeys, clock: ManualClock) -> None:
    rings = await asyncio.gather(*(established(keys, clock) for _ in range(8)))
    sealed = [await ring.seal(SECRET, context=CONTEXT) for ring in rings]
    assert len({one.key_id for one in sealed}) == 1
    assert await rings[0].unseal(sealed[-1], context=CONTEXT) == SECRET


async def test_a_damaged_sealing_key_is_refused_at_start(keys: MemoryKeys, clock: ManualClock) -> None:
    await established(keys, clock)
    record = keys.records["sealing", 1]
    keys.replace(replace(record, sealed=record.sealed[:-1] + bytes([record.sealed[-1] ^ 1])))
    with pytest.raises(UnsealFailed, match="the current sealing key"):
        await established(keys, clock)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
async def test_a_sealing_key_of_another_length_is_a_damaged_one(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock, length: int
) -> None:
    old = await keyring.seal(SECRET, context=CONTEXT)
    material = KeyMaterial(os.urandom(16).hex(), "A256GCM", os.urandom(length))
    await keyring.add(KeyPurpose.SEALING, material, generation=2)
    await keyring.refresh()
    assert keyring.damaged == {material.id}
    assert await keyring.unseal(old, context=CONTEXT) == SECRET
    with pytest.raises(UnsealFailed, match=f"the current sealing key {material.id} is damaged"):
        await keyring.seal(SECRET, context=CONTEXT)
    with pytest.raises(UnsealFailed, match=f"the current sealing key {material.id} is damaged"):
        await established(keys, clock)


@pytest.mark.parametrize(
    "moved",
    [
        lambda record: replace(record, generation=2),
        lambda record: replace(record, algorithm="other"),
        lambda record: replace(record, id="00" * 16),
    ],
)
async def test_a_wrapped_key_does_not_open_in_another_place(
    keys: MemoryKeys, clock: ManualClock, moved: Callable[..., object]
) -> None:
    await established(keys, clock)
    keys.replace(moved(keys.records.pop(("sealing", 1))))  # type: ignore[arg-type]  # a record like the one given
    with pytest.raises(UnsealFailed):
        await established(keys, clock)


# Rotation


async def test_a_new_sealing_key_takes_over_when_its_time_has_come(keyring: Keyring, clock: ManualClock) -> None:
    old = await keyring.seal(SECRET, context=CONTEXT)
    new_id = await rotate_sealing(keyring, active_from_ms=clock.now_ms() + 3000)
    await keyring.refresh()
    assert (await keyring.seal(SECRET, context=CONTEXT)).key_id == old.key_id
    clock.advance(2.999)
    assert (await keyring.seal(SECRET, context=CONTEXT)).key_id == old.key_id
    clock.advance(0.001)
    assert (await keyring.seal(SECRET, context=CONTEXT)).key_id == new_id
    assert await keyring.unseal(old, context=CONTEXT) == SECRET


async def test_sealing_looks_for_new_keys_after_a_second(keyring: Keyring, clock: ManualClock) -> None:
    new_id = await rotate_sealing(keyring)
    assert (await keyring.seal(SECRET, context=CONTEXT)).key_id != new_id
    clock.advance(1.001)
    assert (await keyring.seal(SECRET, context=CONTEXT)).key_id == new_id


async def test_a_secret_of_a_key_unknown_so_far_opens(keys: MemoryKeys, keyring: Keyring, clock: ManualClock) -> None:
    other = await established(keys, clock)
    await rotate_sealing(other)
    await other.refresh()
    sealed = await other.seal(SECRET, context=CONTEXT)
    assert await keyring.unseal(sealed, context=CONTEXT) == SECRET


async def test_unknown_keys_cause_one_reading_a_second(keys: MemoryKeys, keyring: Keyring, clock: ManualClock) -> None:
    unknown = SealedSecret("ff" * 16, bytes(64))
    reads = keys.reads
    for _ in range(100):
        with pytest.raises(UnsealFailed, match="unknown key"):
            await keyring.unseal(unknown, context=CONTEXT)
    assert keys.reads == reads + 1
    clock.advance(1)
    with pytest.raises(UnsealFailed):
        await keyring.unseal(unknown, context=CONTEXT)
    assert keys.reads == reads + 2


async def test_a_retired_key_no_longer_opens(keys: MemoryKeys, keyring: Keyring) -> None:
    old = await keyring.seal(SECRET, context=CONTEXT)
    await rotate_sealing(keyring)
    keys.remove(old.key_id)
    await keyring.refresh()
    with pytest.raises(UnsealFailed):
        await keyring.unseal(old, context=CONTEXT)


async def test_a_damaged_key_takes_only_its_own_secrets_with_it(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock
) -> None:
    old = await keyring.seal(SECRET, context=CONTEXT)
    await rotate_sealing(keyring)
    keys.replace(replace(keys.records["sealing", 1], sealed=b"damaged"))
    later = await established(keys, clock)
    assert later.damaged == {old.key_id}
    assert await later.unseal(await later.seal(SECRET, context=CONTEXT), context=CONTEXT) == SECRET
    with pytest.raises(UnsealFailed):
        await later.unseal(old, context=CONTEXT)


async def test_the_first_key_of_a_place_stays(keyring: Keyring) -> None:
    assert await rotate_sealing(keyring) == await rotate_sealing(keyring)


async def test_known_keys_open_while_the_registry_is_out_of_reach(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock
) -> None:
    sealed = await keyring.seal(SECRET, context=CONTEXT)
    keys.out_of_reach = True
    clock.advance(1000)
    with pytest.raises(StoreUnavailable):
        await keyring.refresh()
    assert await keyring.unseal(sealed, context=CONTEXT) == SECRET


async def test_nothing_is_sealed_by_keys_that_may_be_outdated(
    keys: MemoryKeys, keyring: Keyring, clock: ManualClock
) -> None:
    keys.out_of_reach = True
    clock.advance(1.001)
    with pytest.raises(StoreUnavailable):
        await keyring.seal(SECRET, context=CONTEXT)


async def test_callers_of_one_time_share_a_reading_that_outlives_a_cancelled_one(
    keys: MemoryKeys, keyring: Keyring
) -> None:
    reads = keys.reads
    callers = [asyncio.create_task(keyring.refresh()) for _ in range(10)]
    await asyncio.sleep(0)
    callers[0].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None] * 9
    assert keys.reads == reads + 1
