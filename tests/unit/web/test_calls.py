"""Calls 2 to 7 with everything right, and who may make them."""

import pytest

from mfa_service.model import DeviceStatus, Owner, TotpParameters
from tests.unit.web.stand_ins import AUTH_ID, BASE, BEARER, SECRET, URI, Api, Serve, device

ALICE = Owner("app", "alice")
CODE = {"deviceType": "TOTP", "otp": "523471"}
INITIATION = {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}
INVALID_TOKEN = 'Bearer error="invalid_token"'


async def test_a_device_is_registered(api: Api) -> None:
    response = await api.post(
        "/users/alice/mfadevices", {"deviceType": "totp", "deviceName": "Phone", "algorithm": "SHA256", "digits": 8}
    )
    assert response.status == 201
    body = response.json
    assert body.pop("message")
    assert body == {
        "authId": AUTH_ID,
        "deviceType": "TOTP",
        "status": "ACTIVATION_REQUIRED",
        "deviceName": "Phone",
        "secret": SECRET,
        "registrationUri": URI,
    }
    assert api.behind.calls[-1] == ("register", ALICE, "Phone", TotpParameters("SHA256", 8, 30))


async def test_a_device_is_activated(api: Api) -> None:
    response = await api.post(f"/users/alice/mfadevices/{AUTH_ID}", CODE)
    assert response.status == 200
    body = response.json
    assert body.pop("message")
    assert body == {"status": "ACTIVE", "deviceName": "Phone"}
    assert api.behind.calls[-1] == ("activate", ALICE, AUTH_ID, "523471")


async def test_devices_are_listed_without_anything_secret(api: Api) -> None:
    api.behind.devices = [
        device("Phone"),
        device("Tablet", DeviceStatus.PENDING),
        device("é", DeviceStatus.BLOCKED),
    ]
    response = await api.get("/users/alice/mfadevices")
    assert response.status == 200
    created = '"createdAt":"2026-11-23T20:25:00.123Z"'
    assert response.body.decode() == (
        f'[{{"deviceType":"TOTP","status":"ACTIVE","deviceName":"Phone",{created}}},'
        f'{{"deviceType":"TOTP","status":"ACTIVATION_REQUIRED","deviceName":"Tablet",{created}}},'
        f'{{"deviceType":"TOTP","status":"BLOCKED","deviceName":"é",{created}}}]'
    )


async def test_a_challenge_is_opened(api: Api) -> None:
    response = await api.post("/deviceAuthentications", INITIATION)
    assert response.status == 201
    assert response.json == {
        "authId": AUTH_ID,
        "status": "SUCCESS",
        "message": "Please get the OTP from registered device to authenticate",
    }
    assert api.behind.calls[-1] == ("initiate", ALICE, "Phone")


@pytest.mark.parametrize("body", [CODE, {"DeviceType": "totp", "OTP": "523471"}])
async def test_a_code_is_validated(api: Api, body: dict[str, str]) -> None:
    response = await api.post(f"/deviceAuthentications/{AUTH_ID}", body)
    assert response.status == 200
    assert response.json == {"status": "SUCCESS", "message": "OTP has been validated successfully"}
    assert api.behind.calls[-1] == ("validate", "app", AUTH_ID, "523471")


async def test_a_malformed_code_is_refused_before_any_rule(api: Api) -> None:
    response = await api.post(
        f"/deviceAuthentications/{AUTH_ID}", CODE | {"otp": "\uff11\uff12\uff13\uff14\uff15\uff16"}
    )
    assert (response.status, response.json["code"]) == (400, "10009")
    assert api.behind.calls == [("verify",)]


CALLS = [
    ("POST", "/users/alice/mfadevices", "mfa:enroll"),
    ("POST", f"/users/alice/mfadevices/{AUTH_ID}", "mfa:enroll"),
    ("GET", "/users/alice/mfadevices", "mfa:enroll"),
    ("DELETE", "/users/alice/mfadevices/TOTP/Phone", "mfa:enroll"),
    ("DELETE", "/users/alice/mfadevices/TOTP/all", "mfa:enroll"),
    ("POST", "/deviceAuthentications", "mfa:authenticate"),
    ("POST", f"/deviceAuthentications/{AUTH_ID}", "mfa:authenticate"),
]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
async def test_a_token_without_the_scope_is_forbidden_the_call(api: Api, method: str, path: str, scope: str) -> None:
    other = {"mfa:enroll": "authenticate", "mfa:authenticate": "enroll"}[scope]
    response = await api.call(method, BASE + path, None, {"Authorization": f"Bearer {other}"})
    assert (response.status, response.json["code"]) == (403, "10033")
    assert response.header("WWW-Authenticate") == f'Bearer error="insufficient_scope", scope="{scope}"'
    assert api.behind.calls == [("verify",)]
    assert api.behind.requests[0]["application"] == "client-1"


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
async def test_a_call_without_a_token_is_told_no_error_code(api: Api, method: str, path: str, scope: str) -> None:
    response = await api.call(method, BASE + path)
    assert (response.status, response.json["code"], scope[:4]) == (401, "10002", "mfa:")
    assert response.header("WWW-Authenticate") == "Bearer"
    assert api.behind.calls == []


@pytest.mark.parametrize(
    ("values", "challenge"),
    [
        (["Bearer"], INVALID_TOKEN),
        (["Bearer "], INVALID_TOKEN),
        (["Bearer  both"], INVALID_TOKEN),
        (["Bearer bo th"], INVALID_TOKEN),
        (["Bearer both,x"], INVALID_TOKEN),
        (["Bearer =both"], INVALID_TOKEN),
        (["Bearer bóth"], INVALID_TOKEN),
        (["Bearer unknown"], INVALID_TOKEN),
        (["Bearer both", "Bearer both"], INVALID_TOKEN),
        (["Bearer both", "Basic eDp5"], INVALID_TOKEN),
        (["Basic eDp5"], "Bearer"),
        (["Token both"], "Bearer"),
        (["both"], "Bearer"),
        ([""], "Bearer"),
    ],
)
async def test_what_is_no_single_bearer_token_is_refused(api: Api, values: list[str], challenge: str) -> None:
    headers = [("Authorization", value) for value in values]
    response = await api.call("GET", f"{BASE}/users/alice/mfadevices", None, headers)
    assert (response.status, response.json["code"]) == (401, "10002")
    assert response.header("WWW-Authenticate") == challenge


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_matched_in_any_case(api: Api, scheme: str) -> None:
    response = await api.get("/users/alice/mfadevices", {"Authorization": f"{scheme} both"})
    assert response.status == 200


async def test_a_token_in_the_query_is_none(api: Api) -> None:
    response = await api.get("/users/alice/mfadevices?access_token=both", {})
    assert response.status == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/.well-known/jwks.json", {"keys": []}),
        ("/.well-known/oauth-authorization-server", {"issuer": "https://mfa.example"}),
    ],
)
async def test_the_documents_at_the_root_need_no_token(api: Api, path: str, body: object) -> None:
    response = await api.call("GET", f"{path}?x=1")
    assert (response.status, response.json) == (200, body)
    assert api.behind.calls == []


async def test_the_documents_are_not_there_where_another_service_has_them(serve: Serve) -> None:
    api = await serve(discovery=None)
    assert (await api.call("GET", "/.well-known/jwks.json")).status == 404


async def test_the_calls_may_be_at_the_root(serve: Serve) -> None:
    api = await serve(base_path="")
    assert (await api.call("GET", "/users/alice/mfadevices", None, BEARER)).status == 200


async def test_a_request_leaves_one_line_with_the_pattern_and_not_the_path(api: Api) -> None:
    await api.get("/users/alice/mfadevices")
    assert api.behind.requests == [
        {
            "trace_id": f"{1:032x}",
            "application": "client-1",
            "method": "GET",
            "route": f"{BASE}/users/{{userName}}/mfadevices",
            "status": 200,
            "duration_ms": 0.0,
        }
    ]


async def test_an_unknown_path_leaves_a_line_without_it(api: Api) -> None:
    await api.get("/users/alice")
    assert [(line["route"], line["status"]) for line in api.behind.requests] == [("-", 404)]


async def test_every_answer_has_a_date_and_no_server_name(api: Api) -> None:
    response = await api.get("/users/alice/mfadevices")
    assert response.header("Date") == "Mon, 23 Nov 2026 20:25:00 GMT"
    assert response.header("Server") is None
    assert response.header("Content-Type") == "application/json; charset=utf-8"
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert response.header("Cache-Control") == "no-store"
