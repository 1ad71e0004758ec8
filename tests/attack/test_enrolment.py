"""Attacks on the life of a device."""

import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mfa_service.errors import StoreUnavailable
from mfa_service.model import SCOPE_AUTHENTICATE, Acceptance
from tests.api.conftest import Serve
from tests.api.service import Caller, Response
from tests.attack.cases import attack
from tests.attack.outcomes import (
    GONE,
    INVALID,
    NO_DEVICE,
    NO_TOKEN,
    NONE_ACTIVE,
    OPENED,
    OUT_OF_REACH,
    PASS,
    REMOVED,
    SPENT,
    UNFIT,
    is_replay,
    told,
)
from tests.attack.readers import READERS, Reading
from tests.attack.setups import neighbour
from tests.fault.enrolment import new_user

NO_SCOPE = (403, "10033")
NOT_THERE = (404, "10050")
TAKEN = (409, "10010")
TOO_MANY = (409, "10014")
SHOWN = {"deviceType", "status", "deviceName", "createdAt"}
PRIVATE = re.compile(rb"secret|otpauth|last_?step|failures|sealed|blob|key_?id|locked", re.IGNORECASE)


@attack("E-01")
async def test_a_pending_device_logs_nobody_in(caller: Caller) -> None:
    phone, auth_id = await caller.pending()
    assert (await caller.initiate()).outcome == NONE_ACTIVE
    assert (await caller.validate(auth_id, phone.code())).outcome == GONE
    await caller.enrolled("Tablet")
    assert (await caller.initiate()).outcome == (404, "100016")
    assert (await caller.validate(await caller.challenge("Tablet"), phone.code())).outcome == INVALID


@attack("E-02")
async def test_wrong_codes_destroy_a_pending_device_and_its_secret(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    blob = (await shop.row()).secret.blob
    for code in phone.wrong_codes(5):
        assert (await shop.activate(auth_id, code)).outcome == INVALID
    assert (await shop.activate(auth_id, phone.code())).outcome == SPENT
    assert (await shop.devices()).outcome == NO_DEVICE
    assert blob not in rows_of_devices(shop)


def rows_of_devices(shop: Caller) -> list[object]:
    """Every value that the table of devices has of an application, by another connection than the service's."""
    connection = sqlite3.connect(shop.service.settings.data_dir / "registry.sqlite3")
    rows = "SELECT * FROM devices WHERE application_id = ?"
    try:
        return [value for row in connection.execute(rows, (shop.application.id,)) for value in row]
    finally:
        connection.close()


@attack("E-03")
async def test_an_activation_ends_after_a_quarter_of_an_hour_and_leaves_nothing(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    await shop.service.advance(899.999)
    assert rows_of_devices(shop) != []
    await shop.service.advance(0.001)
    assert (await shop.activate(auth_id, phone.code())).outcome == GONE
    assert (await shop.devices()).outcome == NO_DEVICE
    await shop.service.duties.do()
    assert rows_of_devices(shop) == []


@attack("E-04")
async def test_the_activation_s_code_is_no_login(caller: Caller) -> None:
    phone, auth_id = await caller.pending()
    code = phone.code()
    assert (await caller.activate(auth_id, code)).outcome == PASS
    assert is_replay(await caller.validate(await caller.challenge(), code))
    assert (await caller.row()).failures == 0


@attack("E-05")
async def test_a_second_registration_never_shows_the_first_secret(caller: Caller) -> None:
    phone = await caller.enrolled()
    again = await caller.pair()
    assert again.outcome == TAKEN
    assert phone.totp.secret.encode() not in again.body
    other = await caller.pair("Tablet")
    assert other.json["secret"] != phone.totp.secret
    assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS


@attack("E-06")
async def test_no_answer_but_the_registration_s_tells_a_secret(caller: Caller) -> None:
    phone, auth_id = await caller.pending()
    answers = [
        await caller.devices(),
        await caller.activate(auth_id, phone.wrong_code()),
        await caller.activate(auth_id, phone.code()),
        await caller.devices(),
        await caller.pair(),
        await caller.initiate(),
        await caller.validate(await caller.challenge(), phone.wrong_code()),
        await caller.validate(await caller.challenge(), phone.code(steps=1)),
        await caller.unpair("Tablet"),
    ]
    for answer in answers:
        assert PRIVATE.search(answer.body) is None
        assert phone.totp.secret.encode() not in answer.body
    assert all(device.keys() == SHOWN for answer in (answers[0], answers[3]) for device in answer.json)


@attack("E-07")
async def test_nobody_without_the_right_to_it_sees_or_removes_a_device(caller: Caller) -> None:
    phone = await caller.enrolled()
    bank = await neighbour(caller)
    limited = {"Authorization": f"Bearer {await caller.token(scope=SCOPE_AUTHENTICATE)}"}
    path = "/users/alice/mfadevices"
    asks: list[tuple[str, str, tuple[int, str]]] = [
        ("GET", path, NO_DEVICE),
        ("DELETE", f"{path}/TOTP/Phone", NOT_THERE),
        ("DELETE", f"{path}/TOTP/all", NO_DEVICE),
    ]
    for method, target, unseen in asks:
        assert (await bank.call(method, target)).outcome == unseen
        assert (await caller.service.send(method, target, headers=limited)).outcome == NO_SCOPE
        assert (await caller.service.send(method, target)).outcome == NO_TOKEN
    assert len((await caller.devices()).json) == 1
    assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS


@attack("E-08")
async def test_a_device_that_is_not_there_is_not_there_every_time(caller: Caller) -> None:
    await caller.enrolled()
    assert (await caller.unpair()).outcome == REMOVED
    for _ in range(3):
        assert (await caller.unpair()).outcome == NOT_THERE
        assert (await caller.unpair("Tablet", user="nobody")).outcome == NOT_THERE
        assert (await caller.unpair("all")).outcome == NO_DEVICE


@attack("E-09")
async def test_no_challenge_outlives_its_device(caller: Caller) -> None:
    for device in ("Phone", "all"):
        phone = await caller.enrolled()
        opened = [await caller.challenge() for _ in range(4)]
        assert (await caller.unpair(device)).outcome == REMOVED
        for auth_id in opened:  # on two nodes, on each of them
            assert (await caller.validate(auth_id, phone.code())).outcome == GONE


@attack("E-10")
async def test_a_device_registered_anew_is_another_device(caller: Caller) -> None:
    phone = await caller.enrolled()
    code = phone.code()
    opened, old = await caller.challenge(), await caller.row()
    assert (await caller.unpair()).outcome == REMOVED
    again, auth_id = await caller.pending()
    new = await caller.row()
    assert again.totp.secret != phone.totp.secret
    assert (new.id != old.id, new.last_step, new.last_auth_id, new.failures) == (True, -1, "", 0)
    assert (await caller.activate(auth_id, again.code())).outcome == PASS
    assert (await caller.validate(await caller.challenge(), code)).outcome == INVALID
    assert (await caller.validate(opened, code)).outcome == GONE


@attack("E-11")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("secret", "AAAAAAAA"), ("status", "ACTIVE"), ("id", "0" * 32), ("lastStep", 0), ("userId", "bob")),
        *(("digits", 1), ("digits", 7), ("digits", "6"), ("digits", 6.0), ("digits", True), ("period", 86_400)),
        *(("period", 0), ("period", 31), ("period", "30"), ("algorithm", "MD5"), ("algorithm", "sha1")),
        *(("algorithm", None), ("authId", "x"), ("registrationUri", "otpauth://totp/x")),
    ],
)
async def test_no_registration_chooses_its_secret_or_weakens_it(shop: Caller, name: str, value: object) -> None:
    chosen: dict[str, Any] = {name: value}
    answer = await shop.pair(**chosen)
    assert (answer.outcome, set(answer.json["errors"])) == (UNFIT, {name})
    assert rows_of_devices(shop) == []


NAMES = {
    "colon": "a:b",
    "slash": "a/b",
    "a secret": "x?secret=AAAA",
    "an issuer": "x&issuer=Evil",
    "both": "alice?secret=AAAA&issuer=Evil#",
    "encoded": "a%3Fsecret%3DAAAA",
    "fragment": "#",
    "quotes": "\"a\" 'b'",
    "plus": "a+b c",
    "backslash": "a\\b",
    "long": "x" * 255,
}


@attack("E-12")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_no_name_changes_what_an_authenticator_reads(serve: Serve, name: str) -> None:
    issuer = name.replace(":", "-")[:64].strip()
    shop = await (await serve({"otp.issuer_name": issuer})).onboard()
    content = (await shop.pair(user=name)).json
    uri, secret = content["registrationUri"], content["secret"]
    assert uri.count("secret=") == uri.count("issuer=") == 1
    assert re.fullmatch(r"otpauth://totp/[!-~]+", uri)
    shown = name.replace(":", "\ua789")
    for read in READERS.values():
        refuse_other_reading(read(uri), issuer=issuer, account=shown, secret=secret)


def refuse_other_reading(reading: Reading, *, issuer: str, account: str, secret: str) -> None:
    assert reading[:2] == (issuer, account)
    assert (reading[2]["secret"], reading[2]["digits"]) == (secret, "6")


@attack("E-12")
@pytest.mark.parametrize("name", ["a\nb", "a" * 256, "a" * 512])
async def test_no_name_with_a_line_or_too_long_gets_into_a_uri(shop: Caller, name: str) -> None:
    assert (await shop.pair(user=name)).outcome == UNFIT


@attack("E-13")
async def test_a_registration_too_many_gets_no_secret(caller: Caller) -> None:
    for number in range(5):
        await caller.pending(f"Phone {number}")
    answer = await caller.pair("Tablet")
    assert answer.outcome == TOO_MANY
    assert PRIVATE.search(answer.body) is None
    assert len((await caller.devices()).json) == 5


@attack("E-16")
async def test_a_pending_device_is_listed_and_its_activation_dies_with_it(caller: Caller) -> None:
    phone, auth_id = await caller.pending()
    assert [device["status"] for device in (await caller.devices()).json] == ["ACTIVATION_REQUIRED"]
    assert (await caller.unpair()).outcome == REMOVED
    assert (await caller.activate(auth_id, phone.code())).outcome == GONE
    assert (await caller.devices()).outcome == NO_DEVICE


@attack("E-17")
@pytest.mark.parametrize("lost", ["the question", "the answer"])
async def test_an_activation_whose_writing_fails_may_be_sent_again(
    shop: Caller, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    phone, auth_id = await shop.pending()
    code, devices = phone.code(), shop.service.registry.devices
    accept = devices.accept

    async def breaks(acceptance: Acceptance) -> None:
        if lost == "the answer":
            await accept(acceptance)
        raise StoreUnavailable("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(devices, "accept", breaks)
        answer = await shop.activate(auth_id, code)
        assert (answer.outcome, answer.headers["Retry-After"]) == (OUT_OF_REACH, "1")
    expected = "ACTIVATION_REQUIRED" if lost == "the question" else "ACTIVE"
    assert [device["status"] for device in (await shop.devices()).json] == [expected]
    assert (await shop.activate(auth_id, code)).outcome == PASS
    assert is_replay(await shop.validate(await shop.challenge(), code))


@attack("E-18")
async def test_a_registration_sent_twice_replaces_the_first(caller: Caller) -> None:
    headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    content = {"deviceType": "TOTP", "deviceName": "Phone"}
    first, second = [await caller.call("POST", "/users/alice/mfadevices", content, headers) for _ in range(2)]
    assert (first.outcome, second.outcome) == (OPENED, OPENED)
    for name in ("secret", "authId", "registrationUri"):
        assert first.json[name] != second.json[name]
    assert first.json["secret"].encode() not in (await caller.devices()).body
    assert len((await caller.devices()).json) == 1
    assert (await caller.activate(first.json["authId"], "000000")).outcome == GONE
    for path in (f"/users/alice/mfadevices/{second.json['authId']}", "/users/alice/mfadevices/TOTP/Phone"):
        assert (await caller.call("GET", path)).status == 405


@attack("E-06", "E-07")
@pytest.mark.parametrize(
    "ask",
    [
        lambda shop, user: shop.devices(user=user),
        lambda shop, user: shop.initiate(user=user),
        lambda shop, user: shop.unpair("Tablet", user=user),
    ],
    ids=["list", "initiate", "unpair"],
)
async def test_another_application_is_told_of_a_user_what_it_is_told_of_none(
    caller: Caller, ask: Callable[[Caller, str], Awaitable[Response]]
) -> None:
    user = new_user()
    await caller.enrolled(user=user)
    bank = await neighbour(caller)
    assert told(await ask(bank, user)) == told(await ask(bank, new_user()))


@attack("E-15")
async def test_one_activation_sent_three_times_is_on_record_once(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    code = phone.code()
    for _ in range(3):
        assert (await shop.activate(auth_id, code)).outcome == PASS
    row = await shop.row()
    assert (row.last_auth_id, row.earlier_acceptances.split()) == (auth_id, [])
