"""Every error that callers are told of, brought about from outside, with the one body that all errors have."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from tests.api.conftest import Serve
from tests.api.service import Caller, Response, serving
from tests.clocks import ManualClock

BODY = {"status", "code", "message", "traceId", "timestamp"}
TIMESTAMP = re.compile(r"2027-01-15T\d\d:\d\d:\d\d\.\d{3}Z")
NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"
DEVICES = "/users/alice/mfadevices"
CHALLENGES = "/deviceAuthentications"

Act = Callable[[Caller], Awaitable[Response]]


@dataclass(frozen=True)
class Row:
    """One way to one row of the table.

    Attributes:
        headers: what the answer's head has beside what every answer has; None for what it must not have.
        error: the `error` of RFC 6749 §5.2, of the token call alone.
        named: the properties that `errors` names.
        settings: what the service is started with.
    """

    status: int
    code: str
    act: Act
    headers: dict[str, str | None]
    error: str | None
    named: set[str] | None
    settings: dict[str, object]


ROWS: dict[str, Row] = {}


def row(
    status: int,
    code: str,
    *,
    headers: dict[str, str | None] | None = None,
    error: str | None = None,
    named: set[str] | None = None,
    settings: dict[str, object] | None = None,
) -> Callable[[Act], Act]:
    def note(act: Act) -> Act:
        name = act.__name__
        assert name not in ROWS
        ROWS[name] = Row(status, code, act, headers or {}, error, named, settings or {})
        return act

    return note


def refuse_other_body(response: Response, *, status: int, code: str, named: set[str] | None, error: str | None) -> None:
    assert response.outcome == (status, code)
    content: dict[str, Any] = response.json
    optional = ({"errors"} if named is not None else set()) | ({"error", "error_description"} if error else set())
    assert content.keys() == BODY | optional
    assert content["status"] == "FAILURE"
    assert content["message"].strip()
    assert re.fullmatch(r"[0-9a-f]{32}", content["traceId"])
    assert content["traceId"] == response.headers["X-Trace-Id"]
    assert TIMESTAMP.fullmatch(content["timestamp"])
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    if named is not None:
        assert content["errors"].keys() == named
        assert all(
            messages and all(isinstance(one, str) for one in messages) for messages in content["errors"].values()
        )
    if error:
        assert content["error"] == error
        assert content["error_description"] == content["message"]


# Access tokens


@row(401, "10001", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
async def expired_token(shop: Caller) -> Response:
    headers = await shop.bearer()
    await shop.service.advance(3_610)
    return await shop.service.send("GET", DEVICES, headers=headers)


@row(401, "10002", headers={"WWW-Authenticate": "Bearer"})
async def no_token(shop: Caller) -> Response:
    return await shop.service.send("GET", DEVICES)


@row(401, "10002", headers={"WWW-Authenticate": "Bearer"})
async def token_of_another_scheme(shop: Caller) -> Response:
    return await shop.service.send("GET", DEVICES, headers={"Authorization": shop.basic})


INVALID_TOKEN: dict[str, str | None] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@row(401, "10002", headers=INVALID_TOKEN)
async def malformed_token(shop: Caller) -> Response:
    return await shop.service.send("GET", DEVICES, headers={"Authorization": "Bearer a.b"})


@row(401, "10002", headers=INVALID_TOKEN)
async def wrongly_signed_token(shop: Caller) -> Response:
    head, claims, signature = (await shop.token()).split(".")
    other = "A" if signature[20] != "A" else "B"
    token = f"{head}.{claims}.{signature[:20]}{other}{signature[21:]}"
    return await shop.service.send("GET", DEVICES, headers={"Authorization": f"Bearer {token}"})


@row(401, "10002", headers=INVALID_TOKEN)
async def token_of_a_disabled_application(shop: Caller) -> Response:
    headers = await shop.bearer()
    await shop.service.registry.applications.set_disabled(shop.application.id, disabled=True)
    await shop.service.duties.do()
    return await shop.service.send("GET", DEVICES, headers=headers)


@row(401, "10002", headers=INVALID_TOKEN)
async def token_of_an_unknown_application(shop: Caller) -> Response:
    headers = await shop.bearer()
    await shop.service.registry.applications.remove(shop.application.id, with_devices=False)
    await shop.service.duties.do()
    return await shop.service.send("GET", DEVICES, headers=headers)


@row(403, "10033", headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{SCOPE_ENROLL}"'})
async def token_without_the_scope_to_enroll(shop: Caller) -> Response:
    token = await shop.token(scope=SCOPE_AUTHENTICATE)
    return await shop.service.send("GET", DEVICES, headers={"Authorization": f"Bearer {token}"})


@row(403, "10033", headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{SCOPE_AUTHENTICATE}"'})
async def token_without_the_scope_to_authenticate(shop: Caller) -> Response:
    token = await shop.token(scope=SCOPE_ENROLL)
    return await shop.service.send("POST", CHALLENGES, json={}, headers={"Authorization": f"Bearer {token}"})


# Devices


@row(404, "10003")
async def initiate_for_a_user_without_device(shop: Caller) -> Response:
    return await shop.initiate()


@row(404, "10003")
async def list_a_user_without_device(shop: Caller) -> Response:
    return await shop.devices()


@row(404, "10003")
async def unpair_all_of_a_user_without_device(shop: Caller) -> Response:
    return await shop.unpair("all")


@row(404, "10006")
async def initiate_for_a_user_whose_devices_are_pending(shop: Caller) -> Response:
    await shop.pending()
    return await shop.initiate()


@row(404, "10006")
async def initiate_for_another_name_of_a_user_whose_devices_are_pending(shop: Caller) -> Response:
    await shop.pending()
    return await shop.initiate("Tablet")


@row(409, "10006")
async def activate_with_another_code_than_the_first(shop: Caller) -> Response:
    phone, auth_id = await shop.pending()
    await shop.activate(auth_id, phone.code())
    return await shop.activate(auth_id, phone.code(steps=1))


@row(409, "10010")
async def register_a_name_that_is_taken(shop: Caller) -> Response:
    await shop.enrolled()
    return await shop.pair()


@row(409, "10014")
async def register_one_device_too_many(shop: Caller) -> Response:
    for number in range(5):
        await shop.pending(f"Phone {number}")
    return await shop.pair("Phone 5")


@row(404, "10050")
async def unpair_a_name_that_is_not_there(shop: Caller) -> Response:
    await shop.enrolled()
    return await shop.unpair("Tablet")


@row(404, "10050")
async def unpair_a_device_of_an_unknown_user(shop: Caller) -> Response:
    return await shop.unpair()


@row(404, "100016")
async def initiate_for_a_name_that_is_not_there(shop: Caller) -> Response:
    await shop.enrolled()
    return await shop.initiate("Tablet")


@row(404, "100016")
async def initiate_for_a_pending_device_beside_an_active_one(shop: Caller) -> Response:
    await shop.enrolled()
    await shop.pending("Tablet")
    return await shop.initiate("Tablet")


# Challenges and codes


@row(404, "10007")
async def validate_an_unknown_challenge(shop: Caller) -> Response:
    return await shop.validate(NOBODYS_ID, "123456")


@row(404, "10007")
async def validate_what_is_no_challenge_s_id(shop: Caller) -> Response:
    return await shop.validate(NOBODYS_ID.upper(), "123456")


@row(404, "10007")
async def validate_an_expired_challenge(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    await shop.service.advance(300)
    return await shop.validate(auth_id, phone.code())


@row(404, "10007")
async def validate_a_used_challenge(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    await shop.validate(auth_id, phone.code())
    await shop.service.advance(30)
    return await shop.validate(auth_id, phone.code())


@row(404, "10007")
async def validate_a_challenge_of_another_application(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    return await (await shop.service.onboard("bank")).validate(auth_id, phone.code())


@row(404, "10007")
async def activate_an_unknown_device(shop: Caller) -> Response:
    return await shop.activate(NOBODYS_ID, "123456")


@row(404, "10007")
async def activate_a_device_of_another_application(shop: Caller) -> Response:
    phone, auth_id = await shop.pending()
    return await (await shop.service.onboard("bank")).activate(auth_id, phone.code())


@row(404, "10007")
async def activate_a_device_of_another_user(shop: Caller) -> Response:
    phone, auth_id = await shop.pending()
    return await shop.activate(auth_id, phone.code(), user="bob")


@row(404, "10007")
async def activate_an_expired_device(shop: Caller) -> Response:
    phone, auth_id = await shop.pending()
    await shop.service.advance(900)
    return await shop.activate(auth_id, phone.code())


@row(400, "10008")
async def validate_a_wrong_code(shop: Caller) -> Response:
    phone = await shop.enrolled()
    return await shop.validate(await shop.challenge(), phone.wrong_code())


@row(400, "10008")
async def validate_a_code_that_was_used(shop: Caller) -> Response:
    phone = await shop.enrolled()
    await shop.validate(await shop.challenge(), phone.code())
    return await shop.validate(await shop.challenge(), phone.code())


@row(400, "10008")
async def activate_with_a_wrong_code(shop: Caller) -> Response:
    phone, auth_id = await shop.pending()
    return await shop.activate(auth_id, phone.wrong_code())


@row(400, "10009")
async def validate_a_code_of_another_length_than_the_device_s(shop: Caller) -> Response:
    phone = await shop.enrolled()
    return await shop.validate(await shop.challenge(), phone.code() + "00")


@row(400, "10009")
async def validate_letters(shop: Caller) -> Response:
    return await shop.validate(NOBODYS_ID, "12345a")


@row(400, "10009")
async def validate_full_width_digits(shop: Caller) -> Response:
    return await shop.validate(NOBODYS_ID, "\uff11\uff12\uff13\uff14\uff15\uff16")


@row(400, "10009")
async def validate_a_code_with_a_blank(shop: Caller) -> Response:
    phone = await shop.enrolled()
    return await shop.validate(await shop.challenge(), phone.code() + " ")


@row(429, "10026", headers={"Retry-After": None})
async def validate_on_a_spent_challenge(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    for _ in range(5):
        await shop.validate(auth_id, phone.wrong_code())
    return await shop.validate(auth_id, phone.code())


@row(429, "10027", headers={"Retry-After": "30"})
async def initiate_for_a_waiting_device(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    for _ in range(5):
        await shop.validate(auth_id, phone.wrong_code())
    return await shop.initiate()


@row(429, "10027", headers={"Retry-After": "1"})
async def validate_a_code_of_a_device_that_waits_for_another_moment(shop: Caller) -> Response:
    phone = await shop.enrolled()
    open_one = await shop.challenge()
    auth_id = await shop.challenge()
    for _ in range(5):
        await shop.validate(auth_id, phone.wrong_code())
    await shop.service.advance(29.999)
    return await shop.validate(open_one, phone.code())


@row(429, "10027", headers={"Retry-After": None}, settings={"guessing.disable_after": 5})
async def initiate_for_a_blocked_device(shop: Caller) -> Response:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    for _ in range(5):
        await shop.validate(auth_id, phone.wrong_code())
    return await shop.initiate()


# Bodies, queries and paths


@row(400, "10005", named={"body"})
async def body_is_broken_json(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, b'{"userName":')


@row(400, "10005", named={"body"})
async def body_is_no_object(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, [])


@row(400, "10005", named={"body"})
async def body_has_a_byte_order_mark(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, b"\xef\xbb\xbf{}")


@row(400, "10005", named={"body"})
async def body_has_nan(shop: Caller) -> Response:
    return await shop.call("POST", DEVICES, b'{"deviceType":"TOTP","deviceName":"Phone","digits":NaN}')


@row(400, "10005", named={"deviceName"})
async def body_repeats_a_property(shop: Caller) -> Response:
    return await shop.call("POST", DEVICES, b'{"deviceType":"TOTP","deviceName":"a","deviceName":"b"}')


@row(400, "10005", named={"userName", "deviceName", "deviceType"})
async def body_is_empty(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, {})


@row(400, "10005", named={"pin", "digits", "algorithm"})
async def body_has_unknown_and_unfit_properties(shop: Caller) -> Response:
    return await shop.pair(pin="1", digits=7, algorithm="MD5")


@row(400, "10005", named={"deviceName"})
async def body_names_a_device_all(shop: Caller) -> Response:
    return await shop.pair("all")


@row(400, "10005", named={"deviceType"})
async def body_has_another_device_type(shop: Caller) -> Response:
    return await shop.call("POST", DEVICES, {"deviceType": "SMS", "deviceName": "Phone"})


@row(400, "10005", named={"otp"})
async def body_has_no_otp(shop: Caller) -> Response:
    return await shop.call("POST", f"{CHALLENGES}/{NOBODYS_ID}", {"deviceType": "TOTP"})


@row(400, "10005", named={"otp"})
async def body_has_an_otp_that_is_a_number(shop: Caller) -> Response:
    return await shop.call("POST", f"{CHALLENGES}/{NOBODYS_ID}", {"deviceType": "TOTP", "otp": 123456})


@row(400, "10005", named={"otp"})
async def body_has_both_spellings(shop: Caller) -> Response:
    content = {"deviceType": "TOTP", "otp": "123456", "OTP": "123456"}
    return await shop.call("POST", f"{CHALLENGES}/{NOBODYS_ID}", content)


@row(400, "10005", named={"type"})
async def query_asks_for_another_type(shop: Caller) -> Response:
    return await shop.devices(query="?type=SMS")


@row(400, "10005", named={"types"})
async def query_is_unknown(shop: Caller) -> Response:
    return await shop.devices(query="?types=TOTP")


@row(400, "10005", named={"deviceType"})
async def path_has_another_type(shop: Caller) -> Response:
    return await shop.unpair(device_type="SMS")


@row(400, "10005", named={"userName"})
async def path_is_no_utf_8(shop: Caller) -> Response:
    return await shop.call("GET", "/users/%ff/mfadevices")


@row(400, "10005", named={"userName"})
async def path_names_a_user_that_begins_with_a_blank(shop: Caller) -> Response:
    return await shop.devices(user=" alice")


# The token call


@row(400, "10028", error="invalid_request")
async def token_call_without_grant_type(shop: Caller) -> Response:
    return await shop.service.token_call(data={})


@row(400, "10028", error="unsupported_grant_type")
async def token_call_with_another_grant_type(shop: Caller) -> Response:
    return await shop.service.token_call(data={"grant_type": "password"})


@row(400, "10030", error="invalid_request")
async def token_call_without_client_id(shop: Caller) -> Response:
    return await shop.service.token_call(json={"grant_type": "client_credentials"})


@row(400, "10031", error="invalid_request")
async def token_call_without_client_secret(shop: Caller) -> Response:
    return await shop.service.token_call(data={"grant_type": "client_credentials", "client_id": "a"})


@row(400, "10032", error="invalid_scope")
async def token_call_for_a_scope_that_the_client_does_not_have(shop: Caller) -> Response:
    reader = await shop.service.onboard("reader", [SCOPE_AUTHENTICATE])
    return await shop.service.token_call(data={**reader.grant, "scope": SCOPE_ENROLL})


@row(400, "10005", error="invalid_request", named={"scope"})
async def token_call_with_a_repeated_parameter(shop: Caller) -> Response:
    return await shop.service.token_call(data=[*shop.grant.items(), ("scope", "a"), ("scope", "a")])


@row(400, "10005", error="invalid_request", named={"client_secret"})
async def token_call_with_credentials_in_two_places(shop: Caller) -> Response:
    return await shop.service.token_call(data=shop.grant, headers={"Authorization": shop.basic})


@row(401, "10002", error="invalid_client", headers={"WWW-Authenticate": None})
async def token_call_of_an_unknown_client(shop: Caller) -> Response:
    return await shop.service.token_call(data={**shop.grant, "client_id": "nobody"})


@row(401, "10002", error="invalid_client", headers={"WWW-Authenticate": None})
async def token_call_with_a_wrong_secret(shop: Caller) -> Response:
    return await shop.service.token_call(json={**shop.grant, "client_secret": "guessed"})


@row(401, "10002", error="invalid_client", headers={"WWW-Authenticate": 'Basic realm="mfa-service"'})
async def token_call_with_a_wrong_secret_by_basic(shop: Caller) -> Response:
    shop.client_secret = "guessed"
    return await shop.service.token_call(
        data={"grant_type": "client_credentials"}, headers={"Authorization": shop.basic}
    )


@row(401, "10002", error="invalid_client")
async def token_call_of_a_disabled_client(shop: Caller) -> Response:
    await shop.service.registry.applications.set_disabled(shop.application.id, disabled=True)
    return await shop.service.token_call(data=shop.grant)


@row(429, "10035", error="temporarily_unavailable", headers={"Retry-After": "6", "WWW-Authenticate": None})
async def token_call_with_too_many_wrong_secrets(shop: Caller) -> Response:
    for _ in range(10):
        await token_call_with_a_wrong_secret(shop)
    return await token_call_with_a_wrong_secret(shop)


# The quota

ONE_A_SECOND: dict[str, object] = {"quota.requests_per_s": 1, "quota.burst": 1}


@row(429, "10035", headers={"Retry-After": "1"}, settings=ONE_A_SECOND)
async def call_over_the_quota(shop: Caller) -> Response:
    return await shop.devices()  # the token call took what there was


@row(429, "10035", headers={"Retry-After": "1"}, error="temporarily_unavailable", settings=ONE_A_SECOND)
async def token_call_over_the_quota(shop: Caller) -> Response:
    await shop.token()
    return await shop.service.token_call(data=shop.grant)


# HTTP


@row(404, "10034")
async def no_such_route(shop: Caller) -> Response:
    return await shop.service.send("GET", "/users/alice")


@row(405, "10034", headers={"Allow": "GET, POST"})
async def method_not_allowed(shop: Caller) -> Response:
    return await shop.service.send("PUT", DEVICES)


@row(405, "10034", headers={"Allow": "POST"}, error="invalid_request")
async def method_not_allowed_at_the_token_call(shop: Caller) -> Response:
    return await shop.service.send("GET", "/get/token")


@row(413, "10034")
async def body_too_large(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, b" " * 16_385)


@row(413, "10034")
async def body_of_one_mebibyte(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, b'"' + b"a" * (2**20 - 2) + b'"')


@row(415, "10034")
async def body_of_another_media_type(shop: Caller) -> Response:
    return await shop.call("POST", CHALLENGES, b"{}", {"Content-Type": "text/plain"})


@row(415, "10034")
async def form_where_json_belongs(shop: Caller) -> Response:
    return await shop.service.send("POST", CHALLENGES, data={"userName": "alice"}, headers=await shop.bearer())


@row(400, "10034", headers={"Connection": "close"})
async def host_is_none(shop: Caller) -> Response:
    return await shop.service.send("GET", DEVICES, headers={"Host": "a/b"})


@row(414, "10034", headers={"Connection": "close"})
async def target_too_long(shop: Caller) -> Response:
    return await shop.service.send("GET", f"/users/{'a' * 9_000}/mfadevices")


@row(431, "10034", headers={"Connection": "close"})
async def header_too_long(shop: Caller) -> Response:
    return await shop.service.send("GET", DEVICES, headers={"X-Long": "a" * 9_000})


@row(408, "10034", headers={"Connection": "close"}, settings={"http.body_timeout_s": 1})
async def body_too_slow(shop: Caller) -> Response:
    headers = {**await shop.bearer(), "Content-Type": "application/json"}
    reader_given_up = asyncio.Event()

    async def dawdle() -> Any:  # noqa: ANN401  an asynchronous generator
        yield b"{"
        await reader_given_up.wait()

    response = await shop.service.send("POST", CHALLENGES, data=dawdle(), headers=headers)
    reader_given_up.set()
    return response


# Faults within


@row(503, "10015", headers={"Retry-After": "1"})
async def database_is_closed(shop: Caller) -> Response:
    await shop.bearer()
    await shop.service.registry.close()
    return await shop.devices()


@row(503, "10015", headers={"Retry-After": "1"})
async def database_is_held_by_another_writer(shop: Caller) -> Response:
    await shop.bearer()
    holder = sqlite3.connect(shop.service.settings.data_dir / "registry.sqlite3", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        return await shop.pair()
    finally:
        holder.close()


@row(503, "10015", headers={"Retry-After": "1"}, error="temporarily_unavailable")
async def token_call_while_the_database_is_closed(shop: Caller) -> Response:
    await shop.service.registry.close()
    return await shop.service.token_call(data=shop.grant)


@row(500, "10015", headers={"Retry-After": None})
async def internal_fault(shop: Caller) -> Response:
    await shop.bearer()
    shop.service.entropy.fails_at = 20  # of a device's secret
    return await shop.pair()


@row(500, "10015", error="server_error")
async def internal_fault_of_the_token_call(shop: Caller) -> Response:
    shop.service.entropy.fails_at = 16  # of a token's id, and of a trace id
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    return await shop.service.token_call(data=shop.grant, headers=trace)


@pytest.mark.parametrize("row", [pytest.param(one, id=f"{one.status}-{one.code}-{name}") for name, one in ROWS.items()])
async def test_each_error_is_answered_as_the_table_says(serve: Serve, row: Row) -> None:
    shop = await (await serve(row.settings)).onboard()
    response = await row.act(shop)
    refuse_other_body(response, status=row.status, code=row.code, named=row.named, error=row.error)
    for name, value in row.headers.items():
        assert response.headers.get(name) == value


def test_every_row_of_the_table_is_brought_about() -> None:
    assert {(one.status, one.code) for one in ROWS.values()} == {
        (401, "10001"), (401, "10002"), (404, "10003"), (400, "10005"), (404, "10006"), (409, "10006"),
        (404, "10007"), (400, "10008"), (400, "10009"), (409, "10010"), (409, "10014"), (500, "10015"),
        (503, "10015"), (429, "10026"), (429, "10027"), (400, "10028"), (400, "10030"), (400, "10031"),
        (400, "10032"), (404, "10050"), (404, "100016"), (403, "10033"), (404, "10034"), (405, "10034"), (429, "10035"),
        (413, "10034"), (415, "10034"), (400, "10034"), (408, "10034"), (414, "10034"), (431, "10034"),
    }  # fmt: skip


@pytest.mark.parametrize("setting", ["tokens.public_issuer", "tokens.audience"])
async def test_a_token_of_another_issuer_or_audience_is_refused(
    tmp_path: Path, clock: ManualClock, setting: str
) -> None:
    async with serving(tmp_path, clock, {setting: "https://other.example"}) as service:
        shop = await service.onboard()
        headers = await shop.bearer()
        assert (await service.send("GET", DEVICES, headers=headers)).outcome == (404, "10003")
    async with serving(tmp_path, clock) as service:
        response = await service.send("GET", DEVICES, headers=headers)
    refuse_other_body(response, status=401, code="10002", named=None, error=None)
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_nothing_of_an_internal_fault_is_told(shop: Caller) -> None:
    response = await internal_fault(shop)
    assert b"fault" not in response.body
    assert b"Error" not in response.body
    shop.service.entropy.fails_at = None
    assert (await shop.devices()).outcome == (404, "10003")


async def test_a_refused_request_changes_nothing(shop: Caller) -> None:
    await shop.enrolled()
    before = await shop.row()
    auth_id = await shop.challenge()
    for otp in ("12345", "1234567", "\uff11" * 6, " 12345", "12345\n", "-12345", ""):
        assert (await shop.validate(auth_id, otp)).outcome == (400, "10009")
    assert (await shop.pair()).outcome == (409, "10010")
    assert (await shop.pair(digits=7)).outcome == (400, "10005")
    after = await shop.row()
    assert replace(after, read_at_ms=before.read_at_ms) == before
