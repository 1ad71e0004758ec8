"""Request targets: what is at which path, and the names in it."""

import unicodedata

import pytest

from mfa_service.model import SCOPE_ENROLL, Owner
from mfa_service.web.answers import Answer
from mfa_service.web.routes import Call, Route, RouteTable
from tests.unit.web.stand_ins import AUTH_ID, BASE, BEARER, Api

LONGEST = "a" * 255


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("alice", "alice"),
        ("Alice", "Alice"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%61lice", "alice"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a;x=1", "a;x=1"),
        ("a%25b", "a%b"),
        ("a%2561", "a%61"),
        ("%3F%23", "?#"),
        ("..", ".."),
        ("%2e%2e", ".."),
        ("%C3%A9", "é"),
        ("e%CC%81", "é"),
        ("%F0%9F%98%80", "\U0001f600"),
        ("%E4%BD%A0", "你"),
        ("'%20OR%201=1--", "' OR 1=1--"),
        ("mfadevices", "mfadevices"),
        ("token", "token"),
        ("all", "all"),
        ("null", "null"),
        (LONGEST, LONGEST),
    ],
)
async def test_a_user_name_is_decoded_once_into_its_stored_form(api: Api, segment: str, name: str) -> None:
    response = await api.get(f"/users/{segment}/mfadevices")
    assert response.status == 200
    assert unicodedata.is_normalized("NFC", name)
    assert api.behind.calls[-1] == ("devices_of", Owner("app", name))


REFUSED = [
    "%",
    "a%",
    "a%2",
    "a%zz",
    "a%u0061",
    "%ff",
    "%ff%fe",
    "%c0%af",
    "%ed%a0%80",
    "%f5%80%80%80",
    "%00",
    "a%0d%0aX-Injected:1",
    "%1b[31m",
    "%7f",
    "%20",
    "%20alice",
    "alice%20",
    "%E2%80%8B",
    "a%E2%80%AEb",
    "%EF%BB%BF",
    "a%C2%AD",
    "a%E2%80%A8",
    "a" * 256,
    "a" * 8000,
]


@pytest.mark.parametrize("segment", REFUSED)
async def test_what_is_no_user_name_is_refused(api: Api, segment: str) -> None:
    response = await api.get(f"/users/{segment}/mfadevices")
    assert (response.status, response.json["code"]) == (400, "10005")
    assert list(response.json["errors"]) == ["userName"]  # type: ignore[call-overload]
    assert api.behind.calls == [("verify",)]
    assert response.header("X-Injected") is None


@pytest.mark.parametrize("segment", REFUSED)
async def test_what_is_no_device_name_is_not_removed(api: Api, segment: str) -> None:
    response = await api.call("DELETE", f"{BASE}/users/alice/mfadevices/TOTP/{segment}", None, BEARER)
    assert (response.status, response.json["code"]) == (400, "10005")
    assert list(response.json["errors"]) == ["deviceName"]  # type: ignore[call-overload]


@pytest.mark.parametrize("device_type", ["TOTP", "totp", "ToTp", "%54OTP"])
async def test_the_device_type_of_a_path_is_matched_in_any_case(api: Api, device_type: str) -> None:
    response = await api.call("DELETE", f"{BASE}/users/alice/mfadevices/{device_type}/a%2Fb", None, BEARER)
    assert (response.status, response.body, response.header("Content-Length")) == (204, b"", None)
    assert api.behind.calls[-1] == ("remove", Owner("app", "alice"), "a/b")


@pytest.mark.parametrize("device_type", ["SMS", "TOTP%20", "%00", "%ff", "TOTPX", "all"])
@pytest.mark.parametrize("device_name", ["Phone", "all"])
async def test_another_device_type_removes_nothing(api: Api, device_type: str, device_name: str) -> None:
    response = await api.call("DELETE", f"{BASE}/users/alice/mfadevices/{device_type}/{device_name}", None, BEARER)
    assert (response.status, response.json["code"]) == (400, "10005")
    assert list(response.json["errors"]) == ["deviceType"]  # type: ignore[call-overload]
    assert api.behind.calls == [("verify",)]


@pytest.mark.parametrize("segment", ["all", "%61ll", "%61%6C%6c"])
async def test_all_removes_every_device_however_it_is_encoded(api: Api, segment: str) -> None:
    response = await api.call("DELETE", f"{BASE}/users/alice/mfadevices/TOTP/{segment}", None, BEARER)
    assert response.status == 204
    assert api.behind.calls[-1] == ("remove_all", Owner("app", "alice"))


@pytest.mark.parametrize("segment", ["ALL", "All", "all%2F"])
async def test_only_all_is_all(api: Api, segment: str) -> None:
    await api.call("DELETE", f"{BASE}/users/alice/mfadevices/TOTP/{segment}", None, BEARER)
    assert api.behind.calls[-1][0] == "remove"


@pytest.mark.parametrize(
    "auth_id",
    [
        AUTH_ID.upper(),
        AUTH_ID[:-1],
        AUTH_ID + "0",
        AUTH_ID.replace("-", ""),
        "%33" + AUTH_ID[1:],
        AUTH_ID + "%0a",
        "{" + AUTH_ID + "}",
        AUTH_ID.replace("a", "g"),
        "*",
        "%00",
        "%ff",
        "a" * 4000,
    ],
)
@pytest.mark.parametrize("path", ["/deviceAuthentications", "/users/alice/mfadevices"])
async def test_what_cannot_be_an_auth_id_is_not_found_without_asking_a_store(api: Api, path: str, auth_id: str) -> None:
    response = await api.post(f"{path}/{auth_id}", {"deviceType": "TOTP", "otp": "123456"})
    assert (response.status, response.json["code"]) == (404, "10007")
    assert api.behind.calls == [("verify",)]


async def test_a_bad_body_is_told_before_an_impossible_auth_id(api: Api) -> None:
    response = await api.post("/deviceAuthentications/x", {"deviceType": "TOTP"})
    assert (response.status, response.json["code"]) == (400, "10005")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "*x",
        BASE,
        f"{BASE}/",
        f"{BASE}/users",
        f"{BASE}/users/alice",
        f"{BASE}/users//mfadevices",
        f"{BASE}/users/a/b/mfadevices",
        f"{BASE}/users/alice/mfadevices/",
        f"{BASE}/users/alice/mfadevices/TOTP/",
        f"{BASE}/users/alice/mfadevices//Phone",
        f"{BASE}/users/alice/MfaDevices",
        f"{BASE}/Users/alice/mfadevices",
        f"{BASE.upper()}/users/alice/mfadevices",
        f"/{BASE}/users/alice/mfadevices",
        f"{BASE}//users/alice/mfadevices",
        f"{BASE}/./users/alice/mfadevices",
        f"{BASE}/../v2/users/alice/mfadevices",
        f"{BASE}/users/../users/alice/mfadevices",
        f"{BASE}/%75sers/alice/mfadevices",
        f"{BASE}/users/alice/mfadevices#f",
        f"{BASE}/users/al#ice/mfadevices",
        f"{BASE}/users/alice/mfadevices;x=1",
        f"http://mfa.example{BASE}/users/alice/mfadevices",
        f"{BASE}/deviceAuthentications/",
        f"{BASE}/deviceauthentications",
        "/users/alice/mfadevices",
        "/.well-known/jwks.json/",
        "/.well-known/",
    ],
)
async def test_nothing_is_at_a_path_that_is_not_spelled_so(api: Api, target: str) -> None:
    response = await api.call("GET", target, None, BEARER)
    assert response.status in {404, 400}
    assert response.json["code"] == "10034"
    assert api.behind.calls == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/get/token", "POST"),
        ("PUT", "/oauth2/token", "POST"),
        ("OPTIONS", "/get/token", "POST"),
        ("PATCH", "/users/alice/mfadevices", "GET, POST"),
        ("HEAD", "/users/alice/mfadevices", "GET, POST"),
        ("DELETE", "/users/alice/mfadevices", "GET, POST"),
        ("GET", f"/users/alice/mfadevices/{AUTH_ID}", "POST"),
        ("GET", "/users/alice/mfadevices/TOTP/Phone", "DELETE"),
        ("GET", f"/deviceAuthentications/{AUTH_ID}", "POST"),
        ("DELETE", f"/deviceAuthentications/{AUTH_ID}", "POST"),
        ("TRACE", "/deviceAuthentications", "POST"),
        ("PROPFIND", "/deviceAuthentications", "POST"),
        ("HEAD", "/deviceAuthentications", "POST"),
    ],
)
async def test_another_method_is_told_which_ones_there_are_before_any_token_is_looked_at(
    api: Api, method: str, path: str, allow: str
) -> None:
    response = await api.call(method, BASE + path)
    assert (response.status, response.header("Allow")) == (405, allow)
    assert api.behind.calls == []
    if method != "HEAD":
        assert response.json["code"] == "10034"
        assert ("error" in response.json) == ("token" in path)


async def test_headers_do_not_change_method_or_path(api: Api) -> None:
    headers = BEARER | {"X-HTTP-Method-Override": "POST", "X-Original-URL": "/", "X-Rewrite-URL": "/"}
    assert (await api.get("/users/alice/mfadevices", headers)).status == 200


@pytest.mark.parametrize("query", ["", "?", "?&", "?type=TOTP", "?type=totp", "?ty%70e=%54OTP", "?&type=TOTP&"])
async def test_the_listing_takes_the_one_device_type(api: Api, query: str) -> None:
    assert (await api.get(f"/users/alice/mfadevices{query}")).status == 200


@pytest.mark.parametrize(
    ("query", "property_name"),
    [
        ("type=SMS", "type"),
        ("type=", "type"),
        ("type", "type"),
        ("type=TOTP&type=TOTP", "type"),
        ("type=%ff", "query"),
        ("type=%", "query"),
        ("Type=TOTP", "Type"),
        ("access_token=hunter2", "access_token"),
        ("otp=hunter2&window=9", "otp"),
        ("%1b%5b31m=1", r"\x1b[31m"),
        ("a" * 60 + "=1", "a" * 40 + "..."),
        ("&".join(["x"] * 17), "query"),
    ],
)
async def test_another_query_is_refused_by_name(api: Api, query: str, property_name: str) -> None:
    response = await api.get(f"/users/alice/mfadevices?{query}")
    assert (response.status, response.json["code"]) == (400, "10005")
    assert property_name in response.json["errors"]  # type: ignore[operator]
    assert b"hunter2" not in response.body
    assert api.behind.calls == [("verify",)]


async def test_a_query_is_refused_where_the_call_takes_none(api: Api) -> None:
    response = await api.post("/deviceAuthentications?type=TOTP", {})
    assert response.json["errors"] == {"type": ["is no query parameter of this call"]}


async def _answer(_: Call) -> Answer:
    return Answer(204)


def test_a_route_that_needs_no_scope_and_is_not_public_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="must either need a scope or be public"):
        Route("GET", "/x", _answer)


def test_a_public_route_needs_no_scope() -> None:
    with pytest.raises(ValueError, match="must either need a scope or be public"):
        Route("GET", "/x", _answer, scope=SCOPE_ENROLL, public=True)


@pytest.mark.parametrize(("first", "second"), [("/x", "/x"), ("/x/{a}", "/x/{a}"), ("/x/{a}", "/x/{b}")])
def test_two_routes_cannot_share_a_path_and_a_method(first: str, second: str) -> None:
    routes = [Route("GET", pattern, _answer, public=True) for pattern in (first, second)]
    with pytest.raises(ValueError, match="is there twice"):
        RouteTable(routes)
