"""The operator's commands, each on an SQLite registry of its own."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from mfa_service import app, opening, sealing
from mfa_service.access import keysets
from mfa_service.access.applications import new_application
from mfa_service.cli import main, walking
from mfa_service.errors import StoreUnavailable
from mfa_service.model import (
    SCOPE_ENROLL,
    Acceptance,
    KeyPurpose,
    KeyRecord,
    NewDevice,
    Owner,
    Purpose,
    Resealed,
    SealedSecret,
    TotpParameters,
)
from mfa_service.ops import folder
from mfa_service.settings import Guessing, Settings, default_toml
from mfa_service.stores.sql import Registry, schema, sqlite
from mfa_service.stores.sql.keys import SqlKeys
from mfa_service.stores.sql.sealed_devices import SqlSealedDevices
from tests.servers.service_process import plain_environment, running

Given = TypeVar("Given")
CLOCK = app.SystemClock()
SETTINGS = Settings()  # the registry is in the working directory, which each test has for itself
SEALED = b"never to be seen"


pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_template: Path) -> None:
    for variable in [name for name in os.environ if name.startswith("MFA_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    folder.prepare(SETTINGS.data_dir)
    shutil.copy(sqlite_template, SETTINGS.data_dir / "registry.sqlite3")


def run(*arguments: str, exit_code: int = 0) -> Result:
    """Run a command; a failure is one sentence on standard error, and never a traceback."""
    result = CliRunner().invoke(main, arguments, prog_name="mfa-service")
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit | None)
    if exit_code:
        assert result.stdout == ""
        assert re.search(r"(?:^|\n)Error: \S.*\n\Z", result.stderr)
    if exit_code == 1:
        assert result.stderr.count("\n") == 1
    return result


def shown(*arguments: str) -> Any:  # noqa: ANN401  # whatever the command prints
    """Return the JSON that a command prints."""
    return json.loads(run(*arguments, "--json").stdout)


def in_registry(act: Callable[[Registry], Awaitable[Given]], settings: Settings = SETTINGS) -> Given:
    """Return what a function finds or does in the registry that the commands work on."""

    async def whole() -> Given:
        registry = await opening.open_registry_of(settings, clock=CLOCK)
        try:
            return await act(registry)
        finally:
            await registry.close()

    return asyncio.run(whole())


def register(
    application: str,
    user: str,
    device: str,
    *,
    wrong_codes: int = 0,
    active: bool = True,
    settings: Settings = SETTINGS,
) -> None:
    """Put a device into the registry, activated by a code of one step ahead of now."""

    async def act(registry: Registry) -> None:
        owner = Owner((await registry.applications.named(application)).id, user)
        identifier = app.random_bytes(16).hex()
        key = KeyRecord("k", KeyPurpose.SEALING, 1, "none", b"", "", created_at_ms=1, active_from_ms=1)
        secret = SealedSecret((await registry.keys.add(key)).id, SEALED)
        new = NewDevice(identifier, owner, device, TotpParameters(), secret, CLOCK.now_ms())
        await registry.devices.register(new, pending_ttl_s=900, max_per_user=5)
        if active:
            now_ms = CLOCK.now_ms()
            accepted = Acceptance(identifier, now_ms // 30_000 + 1, "a", now_ms, Purpose.ACTIVATION, 15_000)
            await registry.devices.accept(accepted)
        for _ in range(wrong_codes):
            await registry.devices.charge(identifier)

    in_registry(act, settings)


class TestAddingAnApplication:
    def test_the_secret_is_printed_and_only_its_hash_kept(self) -> None:
        result = run("applications", "add", "shop")
        printed = dict(line.split() for line in result.stdout.splitlines())
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", printed["client_secret"])
        assert result.stderr == "Keep the secret now: only its hash is stored.\n"
        for path in SETTINGS.data_dir.iterdir():
            assert printed["client_secret"].encode() not in path.read_bytes()
        [kept] = in_registry(lambda registry: registry.applications.all())
        assert kept.client_id == printed["client_id"]
        assert [one.digest for one in kept.secret_hashes] == [
            hashlib.sha256(printed["client_secret"].encode()).digest()
        ]

    def test_json_holds_everything_a_script_needs(self) -> None:
        printed = shown("applications", "add", "shop")
        assert set(printed) == {"name", "client_id", "client_secret", "scopes", "disabled", "created_at"}
        assert printed["scopes"] == ["mfa:authenticate", "mfa:enroll"]
        assert printed["disabled"] is False
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", printed["created_at"])

    def test_scopes_and_client_id_may_be_chosen(self) -> None:
        printed = shown("applications", "add", "shop", "--scope", "mfa:authenticate", "--client-id", "shop-1")
        assert (printed["scopes"], printed["client_id"]) == (["mfa:authenticate"], "shop-1")

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((" shop",), "Invalid value for 'NAME': must not begin or end with a blank"),
            (("",), "Invalid value for 'NAME': must not be empty"),
            (("x" * 256,), "Invalid value for 'NAME': must have at most 255 characters"),
            (("sh\u202eop",), "Invalid value for 'NAME': must not contain control, invisible or direction-changing"),
            (("sh\udcffop",), "Invalid value for 'NAME': must not contain control"),  # a byte that is not UTF-8
            (("shop", "--client-id", "a b"), "Invalid value for '--client-id': a client id has 1 to 255 visible"),
            (("shop", "--scope", "admin"), "Invalid value for '--scope': 'admin' is not one of"),
            ((), "Missing argument 'NAME'"),
        ],
    )
    def test_wrong_use_is_told_and_adds_nothing(self, arguments: tuple[str, ...], sentence: str) -> None:
        assert sentence in run("applications", "add", *arguments, exit_code=2).stderr
        assert shown("applications", "list") == []

    def test_a_name_or_client_id_is_given_once(self) -> None:
        run("applications", "add", "shop", "--client-id", "shop-1")
        for taken in (("shop",), ("other", "--client-id", "shop-1"), ("shop-1",)):
            refusal = run("applications", "add", *taken, exit_code=1)
            assert refusal.stderr == "Error: An application of this name or client id is onboarded already.\n"
        assert len(shown("applications", "list")) == 1


class TestApplicationsOfAnotherIssuer:
    ISSUER = ("--set", "tokens.issuer=https://issuer.example", "--set", "tokens.audience=mfa")

    def test_one_has_no_secret_here(self) -> None:
        result = run(*self.ISSUER, "applications", "add", "shop", "--client-id", "shop-1")
        assert result.stdout.split() == ["client_id", "shop-1"]
        assert result.stderr == "It has no secret here: its tokens come from the issuer.\n"
        printed = shown(*self.ISSUER, "applications", "add", "bank", "--client-id", "bank-1")
        assert set(printed) == {"name", "client_id", "scopes", "disabled", "created_at"}
        kept = in_registry(lambda registry: registry.applications.all())
        assert [(one.client_id, one.secret_hashes) for one in kept] == [("bank-1", ()), ("shop-1", ())]

    def test_its_client_id_is_needed(self) -> None:
        refusal = run(*self.ISSUER, "applications", "add", "shop", exit_code=2)
        assert "'--client-id' is needed: the id that https://issuer.example knows it by" in refusal.stderr
        assert (
            "Invalid value" in run(*self.ISSUER, "applications", "add", "a", "--client-id", "a b", exit_code=2).stderr
        )
        assert shown("applications", "list") == []

    def test_what_needs_a_secret_here_says_that_there_is_none(self) -> None:
        run(*self.ISSUER, "applications", "add", "shop", "--client-id", "shop-1")
        for command, reason in (
            (("applications", "rotate-secret", "shop"), "an application's secret is kept there, and rotated there"),
            (("serve", "--onboard", "bank"), "onboard its applications by `mfa-service applications add --client-id`"),
            (("demo",), "the demonstration would need an application there"),
            (("keys", "rotate", "signing"), "no key of this service signs"),
        ):
            refusal = run(*self.ISSUER, *command, exit_code=1)
            assert refusal.stderr == f"Error: access tokens come from https://issuer.example: {reason}\n"

    def test_the_settings_are_good_where_the_issuer_s_url_is(self) -> None:
        assert run(*self.ISSUER, "config", "check").stdout == "the settings are good\n"
        for url in ("http://issuer.example", "https://169.254.169.254"):
            refusal = run("--set", f"tokens.issuer={url}", "--set", "tokens.audience=a", "config", "check", exit_code=1)
            assert refusal.stderr.startswith("Error: tokens.issuer: its URL ")


class TestLookingAfterApplications:
    def test_they_are_listed_by_name_without_secrets(self) -> None:
        secrets = [shown("applications", "add", name)["client_secret"] for name in ("shop", "bank")]
        table = run("applications", "list").stdout
        assert [line.split()[0] for line in table.splitlines()] == ["NAME", "bank", "shop"]
        listed = shown("applications", "list")
        assert [one["name"] for one in listed] == ["bank", "shop"]
        assert all("client_secret" not in one for one in listed)
        assert not any(secret in table for secret in secrets)

    def test_an_application_is_named_by_its_client_id_or_its_name(self) -> None:
        added = shown("applications", "add", "caf\u00e9")
        del added["client_secret"]
        for name in (added["client_id"], "caf\u00e9", "cafe\u0301"):
            assert shown("applications", "show", name) == added
        assert "status     enabled\n" in run("applications", "show", added["client_id"]).stdout

    @pytest.mark.parametrize("command", ["show", "rotate-secret", "disable", "enable", "remove"])
    def test_an_unknown_one_is_a_failure(self, command: str) -> None:
        refusal = run("applications", command, "nobody", exit_code=1)
        assert refusal.stderr == "Error: No application has this client id or name.\n"

    def test_a_rotated_secret_replaces_the_old_one_at_once(self) -> None:
        old = shown("applications", "add", "shop")["client_secret"]
        new = shown("applications", "rotate-secret", "shop")["client_secret"]
        [kept] = in_registry(lambda registry: registry.applications.all())
        assert new != old
        assert [one.digest for one in kept.secret_hashes] == [hashlib.sha256(new.encode()).digest()]

    def test_the_old_secret_stays_good_for_the_seconds_of_grace(self) -> None:
        old = shown("applications", "add", "shop")["client_secret"]
        before_ms = CLOCK.now_ms()
        result = run("applications", "rotate-secret", "shop", "--grace-s", "60")
        assert "client_secret" in result.stdout
        [kept] = in_registry(lambda registry: registry.applications.all())
        [until_ms] = [
            one.valid_until_ms for one in kept.secret_hashes if one.digest == hashlib.sha256(old.encode()).digest()
        ]
        assert len(kept.secret_hashes) == 2
        assert until_ms is not None
        assert before_ms + 60_000 <= until_ms <= CLOCK.now_ms() + 60_000

    def test_a_negative_grace_is_wrong_use(self) -> None:
        run("applications", "add", "shop")
        assert "--grace-s" in run("applications", "rotate-secret", "shop", "--grace-s", "-1", exit_code=2).stderr

    def test_a_disabled_one_is_shown_as_such_until_it_is_enabled(self) -> None:
        run("applications", "add", "shop")
        assert run("applications", "disable", "shop").stdout == "disabled shop\n"
        assert shown("applications", "show", "shop")["disabled"] is True
        assert "disabled" in run("applications", "list").stdout
        assert run("applications", "enable", "shop").stdout == "enabled shop\n"
        assert shown("applications", "show", "shop")["disabled"] is False

    def test_one_with_devices_is_removed_only_on_request(self) -> None:
        run("applications", "add", "shop")
        register("shop", "alice", "phone")
        refusal = run("applications", "remove", "shop", exit_code=1)
        assert "shop still has devices" in refusal.stderr
        assert "--with-devices" in refusal.stderr
        assert shown("devices", "show", "alice", "phone")["device"] == "phone"
        assert run("applications", "remove", "shop", "--with-devices").stdout == "removed shop\n"
        assert shown("applications", "list") == []
        run("devices", "show", "alice", "phone", exit_code=1)

    def test_one_without_devices_is_removed(self) -> None:
        run("applications", "add", "shop")
        assert run("applications", "remove", "shop").stdout == "removed shop\n"
        assert shown("applications", "list") == []


class TestDevices:
    @pytest.fixture(autouse=True)
    def _shop(self, _own_folder: None) -> None:
        run("applications", "add", "shop")

    def test_they_are_listed_with_status_failures_and_waits(self) -> None:
        register("shop", "alice", "phone", wrong_codes=5)
        register("shop", "alice", "new phone", active=False)
        by_name = {one["device"]: one for one in shown("devices", "list", "alice")}
        assert by_name["phone"]["status"] == "ACTIVE"
        assert by_name["phone"]["failures"] == 5
        assert 0 < by_name["phone"]["wait_s"] <= 30
        assert by_name["new phone"]["status"] == "ACTIVATION_REQUIRED"
        assert by_name["new phone"]["wait_s"] == 0
        table = run("devices", "list", "alice").stdout.splitlines()
        assert table[0].split() == ["DEVICE", "STATUS", "FAILURES", "WAITS", "LAST", "USED"]
        assert len(table) == 3

    def test_one_is_explained_and_its_secret_never_shown(self) -> None:
        register("shop", "alice", "phone")
        text = run("devices", "show", "alice", "phone").stdout
        assert re.search(r"^clock drift seen +\+1 steps$", text, re.MULTILINE)
        assert re.search(r"^parameters +SHA1, 6 digits, 30 s$", text, re.MULTILINE)
        printed = shown("devices", "show", "alice", "phone")
        assert (printed["user"], printed["drift_steps"], printed["digits"]) == ("alice", 1, 6)
        for output in (text, json.dumps(printed)):
            assert "secret" not in output
            assert SEALED.decode() not in output

    def test_one_that_has_taken_no_code_has_no_drift_and_no_use(self) -> None:
        register("shop", "alice", "phone", active=False)
        printed = shown("devices", "show", "alice", "phone")
        assert (printed["drift_steps"], printed["last_used"]) == (None, None)
        assert re.search(r"^last used +never$", run("devices", "show", "alice", "phone").stdout, re.MULTILINE)

    def test_unlocking_clears_wait_block_and_wrong_codes_in_a_row_alone(self) -> None:
        register("shop", "alice", "phone", wrong_codes=5)
        assert run("devices", "unlock", "alice", "phone").stdout == "unlocked phone of alice\n"
        printed = shown("devices", "show", "alice", "phone")
        assert (printed["failures"], printed["wait_s"], printed["status"]) == (0, 0, "ACTIVE")
        assert printed["failures_30_days"] == 5
        text = run("devices", "show", "alice", "phone").stdout
        assert re.search(r"^wrong codes in a row +0$", text, re.MULTILINE)
        assert re.search(r"^wrong codes in 30 days +5$", text, re.MULTILINE)

    def test_a_blocked_one_is_shown_as_blocked_and_unlocked(self) -> None:
        register("shop", "alice", "phone", wrong_codes=1, settings=Settings(guessing=Guessing(1, disable_after=1)))
        assert shown("devices", "show", "alice", "phone")["status"] == "BLOCKED"
        run("devices", "unlock", "alice", "phone")
        assert shown("devices", "show", "alice", "phone")["status"] == "ACTIVE"

    def test_one_is_removed(self) -> None:
        register("shop", "alice", "phone")
        register("shop", "alice", "tablet")
        assert run("devices", "remove", "alice", "phone").stdout == "removed phone of alice\n"
        assert [one["device"] for one in shown("devices", "list", "alice")] == ["tablet"]

    def test_a_user_of_two_applications_needs_the_application_named(self) -> None:
        bank = shown("applications", "add", "bank")
        register("shop", "alice", "phone")
        register("bank", "alice", "tablet")
        for command in (("list", "alice"), ("show", "alice", "phone"), ("unlock", "alice", "phone")):
            assert "name one with --application" in run("devices", *command, exit_code=2).stderr
        assert "--application" in run("devices", "remove", "alice", "phone", exit_code=2).stderr
        for name in ("bank", bank["client_id"]):
            [device] = shown("devices", "list", "alice", "--application", name)
            assert device["device"] == "tablet"
        run("devices", "remove", "alice", "phone", "--application", "bank", exit_code=1)
        run("devices", "remove", "alice", "tablet", "--application", "bank")
        assert [one["device"] for one in shown("devices", "list", "alice")] == ["phone"]

    def test_a_user_without_devices_is_a_failure_with_or_without_the_application(self) -> None:
        for named in ((), ("--application", "shop")):
            refusal = run("devices", "list", "nobody", *named, exit_code=1)
            assert refusal.stderr == "Error: The user has no device at all.\n"

    def test_an_unknown_device_is_a_failure(self) -> None:
        register("shop", "alice", "phone")
        for command in ("show", "unlock", "remove"):
            assert "has no device of the name" in run("devices", command, "alice", "tablet", exit_code=1).stderr

    def test_a_bad_name_is_wrong_use(self) -> None:
        assert "Invalid value for 'USER'" in run("devices", "list", "alice ", exit_code=2).stderr
        assert "Invalid value for 'DEVICE'" in run("devices", "show", "alice", "a\nb", exit_code=2).stderr
        assert "'--application'" in run("devices", "list", "alice", "--application", "", exit_code=2).stderr


class TestKeys:
    HEADINGS = ("PURPOSE", "GENERATION", "ID", "ALGORITHM", "STATUS", "ACTIVE", "FROM", "DEVICES")

    def test_they_are_listed_without_key_material(self) -> None:
        assert tuple(run("keys", "list").stdout.split()) == self.HEADINGS

        async def first_start(registry: Registry) -> None:
            root = sealing.read_or_make_root_key(SETTINGS.data_dir / "root.key", random_bytes=app.random_bytes)
            keyring = await sealing.establish(registry.keys, root, clock=CLOCK, random_bytes=app.random_bytes)
            await keysets.establish_signing_key(keyring, "EdDSA")

        in_registry(first_start)
        listed = shown("keys", "list")
        assert [(one["purpose"], one["generation"], one["algorithm"], one["devices"]) for one in listed] == [
            ("canary", 1, "A256GCM", None),
            ("sealing", 1, "A256GCM", 0),
            ("signing", 1, "EdDSA", None),
        ]
        members = {"purpose", "generation", "id", "algorithm", "status", "created_at", "active_from", "devices"}
        assert all(set(one) == members for one in listed)
        assert {one["status"] for one in listed} == {"current"}
        assert run("keys", "list").stdout.count("\n") == 4

    def test_a_new_sealing_key_is_current_at_once(self) -> None:
        printed = run("keys", "rotate", "sealing").stdout
        old, new = (one for one in shown("keys", "list") if one["purpose"] == "sealing")
        assert printed == f"{new['id']} seals from now on\n"
        assert (old["status"], new["status"]) == ("old", "current")

    def test_a_registrys_first_signing_key_signs_at_once_whatever_its_lead(self) -> None:
        printed = run("keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", "600").stdout
        [first] = (one for one in shown("keys", "list") if one["purpose"] == "signing")
        assert printed == f"{first['id']} is published and signs from now on\n"
        assert (first["status"], first["active_from"]) == ("current", first["created_at"])

    def test_a_new_signing_key_is_published_before_it_signs(self) -> None:
        run("keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", "0")
        printed = run("keys", "rotate", "signing", "--algorithm", "EdDSA").stdout
        current, following = (one for one in shown("keys", "list") if one["purpose"] == "signing")
        assert (current["status"], following["status"]) == ("current", "next")
        assert printed == f"{following['id']} is published and signs from {following['active_from']} on\n"
        lead = datetime.fromisoformat(following["active_from"]) - datetime.fromisoformat(following["created_at"])
        assert 599 <= lead.total_seconds() <= 601
        run("keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", "0")
        assert [one["status"] for one in shown("keys", "list") if one["purpose"] == "signing"] == [
            "old",
            "old",
            "current",
        ]

    def test_a_rotation_needs_the_root_key(self) -> None:
        run("keys", "rotate", "sealing")
        (SETTINGS.data_dir / "root.key").unlink()
        for command in (("rotate", "sealing"), ("rotate", "signing", "--algorithm", "EdDSA"), ("reseal",)):
            assert "root.key cannot be read" in run("keys", *command, exit_code=1).stderr
        other = base64.b64encode(bytes(32)).decode()
        refusal = run("--set", f"keys.root={other}", "keys", "rotate", "sealing", exit_code=1).stderr
        assert "not the one that this registry was made with" in refusal
        assert len(shown("keys", "list")) == 3

    def test_old_keys_are_resealed_away_and_retired(self) -> None:
        sealed_devices(3)
        run("keys", "rotate", "sealing")
        old, new = (one for one in shown("keys", "list") if one["purpose"] == "sealing")
        assert (old["devices"], new["devices"]) == (3, 0)
        assert "superseded for 60 s" in run("keys", "retire", old["id"], exit_code=1).stderr
        age_keys()
        assert "run `mfa-service keys reseal` first" in run("keys", "retire", old["id"], exit_code=1).stderr
        assert "it is the newest key" in run("keys", "retire", new["id"], exit_code=1).stderr
        done = run("keys", "reseal")
        assert (done.stdout, done.stderr) == ("every device's secret is sealed with the current key\n", "")
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [0, 3]
        assert run("keys", "retire", old["id"]).stdout == f"retired {old['id']}\n"
        assert [one["id"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [new["id"]]
        assert "no key of this id" in run("keys", "retire", old["id"], exit_code=1).stderr
        assert "no key of this id" in run("keys", "retire", "-0-as-thumbprints-may-begin", exit_code=1).stderr

    def test_the_progress_is_shown_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sealed_devices(3)
        run("keys", "rotate", "sealing")
        monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
        done = run("keys", "reseal")
        assert "3/3" in done.stderr
        assert done.stdout == "every device's secret is sealed with the current key\n"

    def test_stopped_by_a_signal_resealing_goes_on_when_run_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sealed_devices(450)
        run("keys", "rotate", "sealing")
        replace = SqlSealedDevices.replace
        calls = 0

        async def interrupted(self: SqlSealedDevices, changes: Sequence[Resealed]) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)  # the loop hears of it
            await replace(self, changes)

        with monkeypatch.context() as patch:
            patch.setattr(SqlSealedDevices, "replace", interrupted)
            assert "run it again to go on" in run("keys", "reseal", exit_code=1).stderr
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [50, 400]
        run("keys", "reseal")
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [0, 450]

    def test_damaged_secrets_are_named_and_all_others_resealed(self) -> None:
        ids = sealed_devices(3)
        execute("UPDATE devices SET secret = x'00' WHERE id = ?", ids[1])
        run("keys", "rotate", "sealing")
        for _ in range(2):
            refusal = run("keys", "reseal", exit_code=1).stderr
            assert f"do not open and stay as they are: {ids[1]}\n" in refusal
            assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [1, 2]

    def test_a_damaged_secret_that_came_in_place_of_another_is_named_in_its_place(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = sealed_devices(3)
        execute("UPDATE devices SET secret = x'00' WHERE id = ?", ids[1])
        run("keys", "rotate", "sealing")
        replace = SqlSealedDevices.replace

        async def changed_meanwhile(self: SqlSealedDevices, changes: Sequence[Resealed]) -> None:
            execute("DELETE FROM devices WHERE id = ?", ids[1])
            execute("UPDATE devices SET secret = x'00' WHERE id = ?", ids[0])
            await replace(self, changes)

        monkeypatch.setattr(SqlSealedDevices, "replace", changed_meanwhile)
        monkeypatch.setattr(walking, "_SEALED_BEFORE_S", 0)
        assert f"do not open and stay as they are: {ids[0]}\n" in run("keys", "reseal", exit_code=1).stderr

    def test_a_secret_that_opens_is_not_taken_for_a_damaged_one_that_has_gone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = sealed_devices(3)
        execute("UPDATE devices SET secret = x'00' WHERE id = ?", ids[1])
        run("keys", "rotate", "sealing")
        replace = SqlSealedDevices.replace
        calls = 0

        async def changed_meanwhile(self: SqlSealedDevices, changes: Sequence[Resealed]) -> None:
            nonlocal calls
            calls += 1
            execute("DELETE FROM devices WHERE id = ?", ids[1])
            # As if a worker had written the others with the older key meanwhile: those rows are left alone.
            await replace(self, [one for one in changes if calls == 2 or one.device_id == ids[2]])

        monkeypatch.setattr(SqlSealedDevices, "replace", changed_meanwhile)
        monkeypatch.setattr(walking, "_SEALED_BEFORE_S", 0)
        assert run("keys", "reseal").stdout == "every device's secret is sealed with the current key\n"
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [0, 2]

    def test_a_key_that_is_retired_while_secrets_are_sealed_with_it_stops_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sealed_devices(3)
        run("keys", "rotate", "sealing")
        [_, second] = (one["id"] for one in shown("keys", "list") if one["purpose"] == "sealing")
        replace = SqlSealedDevices.replace
        calls = 0

        async def retired_meanwhile(self: SqlSealedDevices, changes: Sequence[Resealed]) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                await asyncio.to_thread(run, "keys", "rotate", "sealing")
                age_keys()
                await asyncio.to_thread(run, "keys", "retire", second)
            await replace(self, changes)

        monkeypatch.setattr(SqlSealedDevices, "replace", retired_meanwhile)
        run("keys", "reseal")
        assert calls == 2
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [0, 3]

    def test_a_rotation_during_a_run_that_found_nothing_to_seal_is_not_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sealed_devices(3)
        per_key = SqlSealedDevices.per_key
        calls = 0

        async def rotated_meanwhile(self: SqlSealedDevices) -> Mapping[str, int]:
            nonlocal calls
            calls += 1
            found = await per_key(self)
            if calls == 1:
                await asyncio.to_thread(run, "keys", "rotate", "sealing")
            return found

        monkeypatch.setattr(walking, "_SEALED_BEFORE_S", 0)
        with monkeypatch.context() as patch:
            patch.setattr(SqlSealedDevices, "per_key", rotated_meanwhile)
            assert run("keys", "reseal").stdout == "every device's secret is sealed with the current key\n"
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [0, 3]

    def test_where_the_keys_cannot_be_read_again_nothing_is_said_to_be_sealed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sealed_devices(3)
        per_key = SqlSealedDevices.per_key

        async def lost_meanwhile(self: SqlSealedDevices) -> Mapping[str, int]:
            found = await per_key(self)
            monkeypatch.setattr(SqlKeys, "all", lost)
            return found

        async def lost(_: SqlKeys) -> Sequence[KeyRecord]:
            raise StoreUnavailable("the database is out of reach")

        monkeypatch.setattr(SqlSealedDevices, "per_key", lost_meanwhile)
        refused = run("keys", "reseal", exit_code=1)
        assert (refused.stdout, refused.stderr) == ("", "Error: the database is out of reach\n")

    def test_a_file_that_another_process_writes_to_is_told_of_and_nothing_changes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sealed_devices(3)
        run("keys", "rotate", "sealing")
        path = SETTINGS.data_dir / "registry.sqlite3"
        monkeypatch.setattr(sqlite, "_DURABLE", ("PRAGMA busy_timeout = 5", *sqlite._DURABLE[1:]))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            elsewhere = f"database.url=sqlite+aiosqlite:///{path}"  # whose schema no command but its own upgrades
            refusal = run("--set", elsewhere, "keys", "reseal", exit_code=1).stderr
        assert refusal == (
            "Error: database: another process writes to it, for too long; what is done stays done: "
            "run it again to go on\n"
        )
        assert [one["devices"] for one in shown("keys", "list") if one["purpose"] == "sealing"] == [3, 0]

    def test_a_signing_key_stays_while_its_tokens_may_live_unless_they_are_to_go_with_it(self) -> None:
        for _ in range(2):
            run("keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", "0")
        old, new = (one["id"] for one in shown("keys", "list") if one["purpose"] == "signing")
        age_keys(hours=1)
        assert "superseded for 3690 s" in run("keys", "retire", old, exit_code=1).stderr
        age_keys(hours=0.05)
        run("keys", "retire", old)
        run("keys", "rotate", "signing", "--algorithm", "ES256", "--lead-s", "0")
        assert "superseded for 5 s" in run("keys", "retire", new, "--revoke-tokens", exit_code=1).stderr
        age_keys(hours=0.01)
        run("keys", "retire", new, "--revoke-tokens")
        assert [one["status"] for one in shown("keys", "list") if one["purpose"] == "signing"] == ["current"]


def sealed_devices(count: int) -> list[str]:
    """Put devices into the registry whose secrets are sealed as the service does, and return their ids in order."""

    async def act(registry: Registry) -> list[str]:
        application, _ = new_application("shop", frozenset({SCOPE_ENROLL}), clock=CLOCK, random_bytes=app.random_bytes)
        await registry.applications.add(application)
        async with opening.open_keyring(SETTINGS, registry, clock=CLOCK, random_bytes=os.urandom) as keyring:
            made = [f"{number:032x}" for number in range(count)]
            rows = []
            for number, one in enumerate(made):
                owner = Owner(application.id, f"user {number}")
                context = sealing.device_context(one, owner, TotpParameters())
                secret = await keyring.seal(b"a secret of twenty b", context=context)
                rows.append((one, application.id, owner.user_name, secret.key_id, secret.blob))
        columns = "id, application_id, user_name, key_id, secret"
        with contextlib.closing(sqlite3.connect(SETTINGS.data_dir / "registry.sqlite3")) as connection, connection:
            connection.executemany(
                f"INSERT INTO devices ({columns}, name, slot, status, algorithm, digits, period_s, last_step, "  # noqa: S608  constants
                "last_auth_id, earlier_acceptances, failures, locked_until_ms, pending_until_ms, created_at_ms, "
                "last_used_ms) VALUES (?, ?, ?, ?, ?, 'phone', 1, 'ACTIVE', 'SHA1', 6, 30, -1, '', '', 0, 0, 0, 1, 0)",
                rows,
            )
        return made

    return in_registry(act)


def age_keys(*, hours: float = 1) -> None:
    """Let every key have been there for so much longer."""
    aged = "created_at_ms = created_at_ms - ?1, active_from_ms = max(0, active_from_ms - ?1)"
    execute(f"UPDATE keys SET {aged}", int(hours * 3_600_000))  # noqa: S608  a constant


def execute(statement: str, *parameters: object) -> None:
    """Do behind the registry's back what it has no method for."""
    with contextlib.closing(sqlite3.connect(SETTINGS.data_dir / "registry.sqlite3")) as connection, connection:
        connection.execute(statement, parameters)


class TestDatabase:
    def test_a_database_of_its_own_is_upgraded_by_command_alone(self, tmp_path: Path) -> None:
        there = ("--set", f"database.url=sqlite+aiosqlite:///{tmp_path / 'own.sqlite3'}")
        for command in (("database", "check"), ("applications", "list")):
            assert "run `mfa-service database upgrade`" in run(*there, *command, exit_code=1).stderr
        assert run(*there, "database", "upgrade").stdout == "the schema is up to date\n"
        assert run(*there, "database", "upgrade").stdout == "the schema is up to date\n"
        assert run(*there, "database", "check").stdout == "the database answers and its schema fits\n"
        assert shown(*there, "applications", "list") == []

    def test_the_embedded_one_is_made_on_the_way(self) -> None:
        shutil.rmtree(SETTINGS.data_dir)
        assert shown("applications", "list") == []
        assert SETTINGS.data_dir.stat().st_mode & 0o777 == 0o700
        assert (SETTINGS.data_dir / "registry.sqlite3").stat().st_mode & 0o777 == 0o600
        run("database", "check")

    def test_a_newer_schema_is_warned_of_on_standard_error_alone(self) -> None:
        database = SETTINGS.data_dir / "registry.sqlite3"
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (f"{int(schema.HEAD) + 1:04}",))
        result = run("applications", "list", "--json")
        assert json.loads(result.stdout) == []
        assert "schema_newer" in result.stderr

    def test_one_out_of_reach_is_told_without_its_password(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"postgresql+asyncpg://mfa:hunter2@127.0.0.1:{taken.getsockname()[1]}/mfa"
            refusal = run("--set", f"database.url={url}", "database", "check", exit_code=1)
        assert "hunter2" not in refusal.output
        assert refusal.stderr == "Error: database: ConnectionRefusedError\n"

    def test_a_file_that_is_no_database_is_told(self) -> None:
        (SETTINGS.data_dir / "registry.sqlite3").write_text("no database at all, and long enough to be looked at")
        assert run("applications", "list", exit_code=1).stderr.startswith("Error: database")


class TestConfiguration:
    def test_what_is_in_force_is_shown_without_secrets(self) -> None:
        key = app.random_bytes(32).hex()
        result = run("--set", f"keys.root={key}", "--set", "challenge.ttl_s=120", "config", "show")
        assert "ttl_s = 120\n" in result.stdout
        assert 'root = "(set)"\n' in result.stdout
        assert key not in result.output

    def test_the_commented_defaults_are_printed(self) -> None:
        assert run("config", "show", "--defaults").stdout == default_toml()

    def test_good_settings_are_good(self) -> None:
        assert run("config", "check").stdout == "the settings are good\n"

    def test_an_unknown_key_of_a_file_is_named_with_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text("[http]\nprot = 80\n")
        refusal = run("--config", "mine.toml", "config", "check", exit_code=1)
        assert refusal.stderr == "Error: file mine.toml: http.prot: there is no such setting\n"

    def test_a_missing_file_is_named(self) -> None:
        assert "file mine.toml: No such file" in run("--config", "mine.toml", "config", "check", exit_code=1).stderr

    @pytest.mark.parametrize(
        ("setting", "sentence"),
        [
            ("http.prot=80", "flag http.prot: there is no such setting"),
            ("http.port=80000", "flag http.port: must be 0 to 65,535"),
            ("http.workers=2", "http.workers"),
            ("tokens.issuer=https://issuer.example", "another tokens.issuer needs tokens.audience"),
            ("audit.file=audit.log", "audit.file: there is no audit record yet"),
            ("redis.url=redis+sentinel://hunter2@localhost", "redis.url: the name of the service is missing"),
            ("database.url=sqlite+aiosqlite:///:memory:", "database.url: must name a file"),
            ("keys.root=hunter2", "the root key is not base64url of 32 bytes"),
        ],
    )
    def test_a_bad_one_is_named_and_its_value_not_repeated(self, setting: str, sentence: str) -> None:
        refusal = run("--set", setting, "config", "check", exit_code=1)
        assert sentence in refusal.stderr
        assert "hunter2" not in refusal.output

    def test_a_quota_is_good(self) -> None:
        given = ("--set", "quota.requests_per_s=5", "--set", "quota.burst=5")
        assert run(*given, "config", "check").stdout == "the settings are good\n"

    def test_settings_that_make_guessing_easy_are_refused(self) -> None:
        given = ("--set", "guessing.longest_wait_s=60")
        assert "otp.window_steps: guessing at a device" in run(*given, "config", "check", exit_code=1).stderr

    def test_a_flag_without_a_value_is_wrong_use(self) -> None:
        assert "write KEY=VALUE" in run("--set", "http.port", "config", "check", exit_code=2).stderr

    def test_an_unknown_variable_is_warned_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MFA_HTTP_PROT", "80")
        result = run("config", "check")
        assert result.stderr == "warning: environment variable MFA_HTTP_PROT is no setting and was ignored\n"


class TestServing:
    def test_a_taken_port_is_one_line_and_a_failure_and_onboards_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = subprocess.run(
                [sys.executable, "-m", "mfa_service", "serve", "--port", str(port), "--onboard", "demo"],
                env=plain_environment(),
                capture_output=True,
                text=True,
                check=False,
            )
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == (
            f"Error: http.host, http.port: cannot listen on 127.0.0.1:{port}: address already in use\n"
        )
        assert shown("applications", "list") == []

    def test_a_port_out_of_range_is_refused(self) -> None:
        assert "http.port: must be 0 to 65,535" in run("serve", "--port", "80000", exit_code=1).stderr

    def test_a_bad_name_to_onboard_is_wrong_use(self) -> None:
        assert "Invalid value for '--onboard'" in run("serve", "--onboard", "", exit_code=2).stderr
        assert shown("applications", "list") == []

    def test_the_first_start_onboards_and_the_demonstration_walks_the_three_steps(self, tmp_path: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "mfa_service",
            "--set",
            "ops.port=0",
            "serve",
            "--port",
            "0",
            "--onboard",
            "demo",
        ]
        with running(command, folder=tmp_path) as first:
            port = first.url.rpartition(":")[2]
            walked = run("--set", f"http.port={port}", "demo")
            assert [line.strip() for line in walked.stdout.splitlines() if "←" in line] == [
                "← 200",
                "← 201",
                "← 200",
                "← 201",
                "← 200",
                "← 201",
                "← 400",
            ]
            [left] = shown("applications", "list")
        assert left["name"] == "demo"
        assert left["client_id"] in first.stdout
        match = re.search(r"client_secret +(\S{43})\n", first.stdout)
        assert match is not None
        assert match[1] not in first.stderr
        assert first.stderr.count('"guessing_odds"') == 1
        assert first.exit_code == 0
        with running(command, folder=tmp_path) as second:
            pass
        assert (second.exit_code, second.stdout) == (0, "")

    def test_a_demonstration_without_a_service_fails_and_leaves_nothing(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            result = CliRunner().invoke(main, ["--set", f"http.port={taken.getsockname()[1]}", "demo"])
        assert result.exit_code == 1
        assert "is `make run` running?" in result.stderr
        assert result.stderr.count("\n") == 1
        assert shown("applications", "list") == []


def test_the_command_without_arguments_shows_its_commands() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    for command in ("applications", "config", "database", "demo", "devices", "keys", "serve"):
        assert f"\n  {command} " in result.output
