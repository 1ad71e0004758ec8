"""Every row of the table from errors to HTTP, seen from outside."""

import re

import pytest

from mfa_service import errors
from mfa_service.web import refusals
from mfa_service.web.problems import TABLE, problem_of
from tests.unit.web.stand_ins import AUTH_ID, Api

TIMESTAMP = "2026-11-23T20:25:00.123Z"
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

# error, status, code, headers beyond those of every answer, RFC 6749 error
ROWS: list[tuple[Exception, int, str, dict[str, str], str]] = [
    (errors.TokenExpired(), 401, "10001", INVALID_TOKEN, "invalid_request"),
    (errors.AccessDenied(presented=True), 401, "10002", INVALID_TOKEN, "invalid_client"),
    (errors.AccessDenied(presented=False), 401, "10002", {"WWW-Authenticate": "Bearer"}, "invalid_client"),
    (errors.NoDevice(), 404, "10003", {}, "invalid_request"),
    (errors.InvalidInput({"x": ["y"]}), 400, "10005", {}, "invalid_request"),
    (errors.NoActiveDevice(), 404, "10006", {}, "invalid_request"),
    (errors.ActivatedWithAnotherCode(), 409, "10006", {}, "invalid_request"),
    (errors.ChallengeNotFound(), 404, "10007", {}, "invalid_request"),
    (errors.WrongOtp(), 400, "10008", {}, "invalid_request"),
    (errors.UsedOtp(), 400, "10008", {}, "invalid_request"),
    (errors.MalformedOtp(), 400, "10009", {}, "invalid_request"),
    (errors.DeviceNameTaken(), 409, "10010", {}, "invalid_request"),
    (errors.TooManyDevices(), 409, "10014", {}, "invalid_request"),
    (errors.StoreUnavailable(), 503, "10015", {"Retry-After": "1"}, "temporarily_unavailable"),
    (errors.ClockSkewed(), 503, "10015", {"Retry-After": "1"}, "temporarily_unavailable"),
    (errors.UnsealFailed(), 503, "10015", {"Retry-After": "1"}, "temporarily_unavailable"),
    (RuntimeError("hunter2"), 500, "10015", {}, "server_error"),
    (errors.ApplicationNotFound(), 500, "10015", {}, "server_error"),
    (errors.ChallengeSpent(), 429, "10026", {}, "invalid_request"),
    (errors.DeviceWaits(30), 429, "10027", {"Retry-After": "30"}, "invalid_request"),
    (errors.DeviceWaits(None), 429, "10027", {}, "invalid_request"),
    (errors.GrantTypeMissing(), 400, "10028", {}, "invalid_request"),
    (errors.GrantTypeUnsupported(), 400, "10028", {}, "unsupported_grant_type"),
    (errors.ClientIdMissing(), 400, "10030", {}, "invalid_request"),
    (errors.ClientSecretMissing(), 400, "10031", {}, "invalid_request"),
    (errors.ClientRefused(basic=False), 401, "10002", {}, "invalid_client"),
    (
        errors.ClientRefused(basic=True),
        401,
        "10002",
        {"WWW-Authenticate": 'Basic realm="mfa-service"'},
        "invalid_client",
    ),
    (errors.ScopeRefused(), 400, "10032", {}, "invalid_scope"),
    (
        errors.ScopeMissing("mfa:enroll"),
        403,
        "10033",
        {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="mfa:enroll"'},
        "invalid_request",
    ),
    (errors.QuotaExceeded(7), 429, "10035", {"Retry-After": "7"}, "temporarily_unavailable"),
    (errors.DeviceNotFound(), 404, "10050", {}, "invalid_request"),
    (errors.DeviceNotUsable(), 404, "100016", {}, "invalid_request"),
    (refusals.Overloaded(), 503, "10015", {"Retry-After": "1"}, "temporarily_unavailable"),
    (refusals.NoSuchRoute(), 404, "10034", {}, "invalid_request"),
    (refusals.MethodNotAllowed("GET, POST"), 405, "10034", {"Allow": "GET, POST"}, "invalid_request"),
    (refusals.BodyTooLarge(), 413, "10034", {"Connection": "close"}, "invalid_request"),
    (refusals.UnsupportedMedia(), 415, "10034", {}, "invalid_request"),
    (refusals.MalformedRequest(), 400, "10034", {"Connection": "close"}, "invalid_request"),
    (refusals.BodyTooSlow(), 408, "10034", {"Connection": "close"}, "invalid_request"),
    (refusals.HeadTooSlow(), 408, "10034", {"Connection": "close"}, "invalid_request"),
    (refusals.TargetTooLong(), 414, "10034", {"Connection": "close"}, "invalid_request"),
    (refusals.HeadTooLarge(), 431, "10034", {"Connection": "close"}, "invalid_request"),
]
OF_EVERY_ANSWER = {
    "Content-Type": "application/json; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
NAMES = [f"{type(row[0]).__name__}-{row[1]}" for row in ROWS]


@pytest.mark.parametrize(("error", "status", "code", "headers", "_oauth"), ROWS, ids=NAMES)
async def test_an_error_of_the_rules_is_answered_as_its_row_says(
    api: Api, error: Exception, status: int, code: str, headers: dict[str, str], _oauth: str
) -> None:
    api.behind.error = error
    response = await api.post(f"/deviceAuthentications/{AUTH_ID}", {"deviceType": "TOTP", "otp": "123456"})
    assert response.status == status
    body = response.json
    assert body.pop("message")
    expected: dict[str, object] = {
        "status": "FAILURE",
        "code": code,
        "traceId": response.header("X-Trace-Id"),
        "timestamp": TIMESTAMP,
    }
    if isinstance(error, errors.InvalidInput):
        expected["errors"] = {"x": ["y"]}
    assert body == expected
    given = dict(response.headers)
    for name in ("Date", "X-Trace-Id", "Content-Length"):
        del given[name]
    assert given == OF_EVERY_ANSWER | headers
    assert api.behind.requests[-1]["status"] == status


@pytest.mark.parametrize(("error", "status", "code", "_headers", "oauth"), ROWS, ids=NAMES)
async def test_an_error_of_the_token_call_is_also_one_of_oauth(
    api: Api, error: Exception, status: int, code: str, _headers: dict[str, str], oauth: str
) -> None:
    api.behind.error = error
    request = {"grant_type": "client_credentials", "client_id": "client-1", "client_secret": "s3cret"}
    response = await api.post("/get/token", request, {})
    body = response.json
    assert (response.status, body["code"], body["error"]) == (status, code, oauth)
    assert re.fullmatch(r"[ !#-\[\]-~]+", str(body["error_description"]))


def test_the_rows_above_are_the_whole_table() -> None:
    assert {type(row[0]) for row in ROWS} == set(TABLE) | {RuntimeError, errors.ApplicationNotFound}


def test_a_special_case_of_an_error_is_answered_as_the_error() -> None:
    class StillWrong(errors.WrongOtp):
        pass

    assert problem_of(StillWrong()).code == "10008"


async def test_an_unknown_fault_is_told_to_operators_and_not_to_callers(api: Api) -> None:
    api.behind.error = RuntimeError("hunter2")
    response = await api.post(f"/deviceAuthentications/{AUTH_ID}", {"deviceType": "TOTP", "otp": "123456"})
    assert set(response.json) == {"status", "code", "message", "traceId", "timestamp"}
    assert b"hunter2" not in response.body
    [(event, fields)] = api.behind.faults
    assert event == "request_failed"
    assert fields["trace_id"] == response.json["traceId"]
    assert fields["exc_info"] is api.behind.error


@pytest.mark.parametrize("error", [errors.ClockSkewed(), errors.UnsealFailed()])
async def test_a_wrong_clock_and_a_secret_that_does_not_open_raise_an_alarm(api: Api, error: Exception) -> None:
    api.behind.error = error
    await api.post(f"/deviceAuthentications/{AUTH_ID}", {"deviceType": "TOTP", "otp": "123456"})
    assert [fields["fault"] for _, fields in api.behind.faults] == [type(error).__name__]


async def test_what_callers_do_wrong_raises_no_alarm(api: Api) -> None:
    api.behind.error = errors.WrongOtp()
    await api.post(f"/deviceAuthentications/{AUTH_ID}", {"deviceType": "TOTP", "otp": "123456"})
    assert api.behind.faults == []
