"""Call 1: how an application asks for an access token."""

import base64
from urllib.parse import urlencode

import pytest

from mfa_service.model import TokenRequest
from tests.unit.web.stand_ins import BASE, Api, Response, Serve

GRANT = {"grant_type": "client_credentials"}
CLIENT = {"client_id": "client-1", "client_secret": "s3cret"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def basic(credentials: str | bytes) -> dict[str, str]:
    octets = credentials.encode() if isinstance(credentials, str) else credentials
    return {"Authorization": f"Basic {base64.b64encode(octets).decode()}"}


async def send(api: Api, fields: dict[str, str] | str, headers: dict[str, str] | None = None) -> Response:
    body = fields if isinstance(fields, str) else urlencode(fields)
    return await api.call("POST", f"{BASE}/oauth2/token", body.encode(), FORM | (headers or {}))


def refused(response: Response) -> tuple[int, object, object]:
    assert response.json["error_description"] == response.json["message"]
    return response.status, response.json["code"], response.json["error"]


@pytest.mark.parametrize("path", ["/get/token", "/oauth2/token"])
@pytest.mark.parametrize("as_json", [False, True])
async def test_a_token_is_issued_on_both_paths_for_a_form_and_for_json(api: Api, path: str, as_json: bool) -> None:  # noqa: FBT001  a table's column
    if as_json:
        response = await api.post(path, GRANT | CLIENT, {})
    else:
        response = await api.call("POST", BASE + path, urlencode(GRANT | CLIENT).encode(), FORM)
    assert response.status == 200
    assert response.json == {
        "access_token": "signed",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "mfa:authenticate mfa:enroll",
    }
    assert response.header("Cache-Control") == "no-store"
    assert response.header("Pragma") == "no-cache"
    assert api.behind.token_requests == [TokenRequest("client-1", "s3cret", None, basic=False)]
    assert api.behind.requests[0]["application"] == "client-1"


@pytest.mark.parametrize(
    ("fields", "headers", "request_made"),
    [
        (GRANT | CLIENT | {"scope": "mfa:enroll"}, {}, ("client-1", "s3cret", {"mfa:enroll"}, False)),
        (GRANT | CLIENT | {"scope": "a b a"}, {}, ("client-1", "s3cret", {"a", "b"}, False)),
        (GRANT | CLIENT | {"scope": ""}, {}, ("client-1", "s3cret", None, False)),
        (GRANT | CLIENT | {"audience": "x", "resource": "y"}, {}, ("client-1", "s3cret", None, False)),
        (GRANT | {"client_id": "a b", "client_secret": "c+d%&="}, {}, ("a b", "c+d%&=", None, False)),
        (GRANT, basic("client-1:s3cret"), ("client-1", "s3cret", None, True)),
        (GRANT, {"Authorization": "bAsIc Y2xpZW50LTE6czNjcmV0"}, ("client-1", "s3cret", None, True)),
        (GRANT, basic("client-1:s3:cret"), ("client-1", "s3:cret", None, True)),
        (GRANT, basic("cl%69ent+1:s%3A%2Bcret"), ("client 1", "s:+cret", None, True)),
        (GRANT | {"client_id": "client-1"}, basic("client-1:s3cret"), ("client-1", "s3cret", None, True)),
        (GRANT | {"client_secret": ""}, basic("client-1:s3cret"), ("client-1", "s3cret", None, True)),
    ],
)
async def test_a_token_request_is_read(
    api: Api, fields: dict[str, str], headers: dict[str, str], request_made: tuple[str, str, set[str] | None, bool]
) -> None:
    assert (await send(api, fields, headers)).status == 200
    client_id, client_secret, scopes, is_basic = request_made
    expected = TokenRequest(client_id, client_secret, None if scopes is None else frozenset(scopes), is_basic)
    assert api.behind.token_requests == [expected]


REQUEST = (400, "10005", "invalid_request")
GRANT_MISSING = (400, "10028", "invalid_request")
GRANT_OTHER = (400, "10028", "unsupported_grant_type")
ID_MISSING = (400, "10030", "invalid_request")
SECRET_MISSING = (400, "10031", "invalid_request")
SCOPE = (400, "10032", "invalid_scope")
CLIENT_REFUSED = (401, "10002", "invalid_client")


@pytest.mark.parametrize(
    ("fields", "headers", "answer"),
    [
        # the first fault in the order of the contract
        ("", {}, GRANT_MISSING),
        (CLIENT, {}, GRANT_MISSING),
        (CLIENT | {"grant_type": ""}, {}, GRANT_MISSING),
        ({"grant_type": "password"}, {}, GRANT_OTHER),
        (CLIENT | {"grant_type": "authorization_code"}, {}, GRANT_OTHER),
        (CLIENT | {"grant_type": "CLIENT_CREDENTIALS"}, {}, GRANT_OTHER),
        (CLIENT | {"grant_type": "client_credentials "}, {}, GRANT_OTHER),
        (CLIENT | {"grant_type": "refresh_token"}, basic("broken"), GRANT_OTHER),
        (GRANT, {}, ID_MISSING),
        (GRANT | {"client_id": "", "client_secret": "x"}, {}, ID_MISSING),
        (GRANT | {"client_secret": "x"}, {}, ID_MISSING),
        (GRANT | {"client_id": "x"}, {}, SECRET_MISSING),
        (GRANT | {"client_id": "x", "client_secret": "", "scope": '"'}, {}, SECRET_MISSING),
        (GRANT, basic(":"), ID_MISSING),
        (GRANT, basic(":s3cret"), ID_MISSING),
        (GRANT, basic("client-1:"), SECRET_MISSING),
        # repeated, or in two places
        ("grant_type=client_credentials&grant_type=client_credentials", {}, REQUEST),
        ("grant_type=client_credentials&client_id=a&client_secret=b&scope=x&scope=y", {}, REQUEST),
        ("grant_type=client_credentials&client_id=a&client_id=a&client_secret=b", {}, REQUEST),
        ("grant_type=client_credentials&client_id=a&client_secret=&client_secret=b", {}, REQUEST),
        ("grant_type=client_credentials&client_id=a&client_secret=b&x=1&x=2", {}, REQUEST),
        ("&".join(f"x{number}=1" for number in range(1000)), {}, REQUEST),
        (GRANT | CLIENT, basic("client-1:s3cret"), REQUEST),
        (GRANT | {"client_secret": "s3cret"}, basic("client-1:s3cret"), REQUEST),
        (GRANT | {"client_id": "client-2"}, basic("client-1:s3cret"), REQUEST),
        (GRANT | {"client_id": "client-1"}, basic(":s3cret"), REQUEST),
        # broken encodings
        ("grant_type=client_credentials&client_id=%ff&client_secret=b", {}, REQUEST),
        ("grant_type=client_credentials&client_id=%&client_secret=b", {}, REQUEST),
        # a client that cannot be one
        (GRANT | CLIENT | {"client_id": "a\0"}, {}, CLIENT_REFUSED),
        (GRANT | CLIENT | {"client_id": "é"}, {}, CLIENT_REFUSED),
        (GRANT | CLIENT | {"client_secret": "a\r\nb"}, {}, CLIENT_REFUSED),
        # scopes that cannot be any
        (GRANT | CLIENT | {"scope": 'a"b'}, {}, SCOPE),
        (GRANT | CLIENT | {"scope": "a\\b"}, {}, SCOPE),
        (GRANT | CLIENT | {"scope": "a\r\nb"}, {}, SCOPE),
        (GRANT | CLIENT | {"scope": " "}, {}, SCOPE),
        (GRANT | CLIENT | {"scope": "a  b"}, {}, SCOPE),
        (GRANT | CLIENT | {"scope": "é"}, {}, SCOPE),
    ],
)
async def test_a_faulty_token_request_is_told_its_first_fault(
    api: Api, fields: dict[str, str] | str, headers: dict[str, str], answer: tuple[int, str, str]
) -> None:
    response = await send(api, fields, headers)
    assert refused(response) == answer
    assert response.header("WWW-Authenticate") is None
    assert api.behind.calls == []
    assert api.behind.requests[0]["application"] is None


@pytest.mark.parametrize(
    "headers",
    [
        basic("no colon"),
        basic(b"client-1:\xff"),
        basic("client-1:%ff"),
        basic("client-1:%zz"),
        basic("a%00:b"),
        basic("é:b"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!!"},
        {"Authorization": "Basic Y2xpZW50LTE6czNjcmV"},
        {"Authorization": "Basic  Y2xpZW50LTE6czNjcmV0"},
        {"Authorization": "Basic é"},
        {"Authorization": "Bearer both"},
        {"Authorization": "Digest x"},
    ],
)
async def test_a_broken_authorization_header_is_an_unknown_client(api: Api, headers: dict[str, str]) -> None:
    response = await send(api, GRANT, headers)
    assert refused(response) == CLIENT_REFUSED
    assert response.header("WWW-Authenticate") == 'Basic realm="mfa-service"'
    assert api.behind.calls == []


async def test_two_authorization_headers_are_credentials_in_two_places(api: Api) -> None:
    header = ("Authorization", basic("client-1:s3cret")["Authorization"])
    response = await api.call(
        "POST", f"{BASE}/get/token", b"grant_type=client_credentials", [*FORM.items(), header, header]
    )
    assert refused(response) == REQUEST


@pytest.mark.parametrize(
    ("content", "answer", "faulty"),
    [
        (GRANT | CLIENT | {"x": 1}, REQUEST, ["x"]),
        (GRANT | CLIENT | {"scope": ["a"]}, REQUEST, ["scope"]),
        (GRANT | CLIENT | {"client_id": 1, "client_secret": None}, REQUEST, ["client_id", "client_secret"]),
        ({"grant_type": True}, REQUEST, ["grant_type"]),
        ([], REQUEST, ["body"]),
        (b'{"grant_type":"a","grant_type":"b"}', REQUEST, ["grant_type"]),
        (b"grant_type=client_credentials", REQUEST, ["body"]),
        ({}, GRANT_MISSING, None),
        (GRANT, ID_MISSING, None),
        (GRANT | {"client_id": "a", "client_secret": ""}, SECRET_MISSING, None),
    ],
)
async def test_a_faulty_json_request_is_told_its_first_fault(
    api: Api, content: object, answer: tuple[int, str, str], faulty: list[str] | None
) -> None:
    response = await api.post("/get/token", content, {})
    assert refused(response) == answer
    errors = response.json.get("errors")
    assert (sorted(errors) if isinstance(errors, dict) else errors) == faulty


@pytest.mark.parametrize("query", ["client_id=a&client_secret=hunter2", "x", "grant_type=client_credentials"])
async def test_a_query_is_refused_and_its_values_are_not_repeated(api: Api, query: str) -> None:
    response = await api.call("POST", f"{BASE}/get/token?{query}", urlencode(GRANT | CLIENT).encode(), FORM)
    assert refused(response) == REQUEST
    assert b"hunter2" not in response.body
    assert "hunter2" not in repr(api.behind.requests)
    assert api.behind.calls == []


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "text/plain", None])
async def test_another_content_type_or_none_is_refused(api: Api, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await api.call("POST", f"{BASE}/get/token", urlencode(GRANT | CLIENT).encode(), headers)
    assert refused(response) == (415, "10034", "invalid_request")


async def test_a_form_with_its_charset_is_taken(api: Api) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    assert (await send(api, GRANT | CLIENT, headers)).status == 200


async def test_a_token_request_over_the_limit_is_refused(api: Api) -> None:
    response = await send(api, GRANT | CLIENT | {"scope": "x" * 100_000})
    assert refused(response) == (413, "10034", "invalid_request")


async def test_another_method_is_refused_as_an_oauth_error(api: Api) -> None:
    response = await api.call("GET", f"{BASE}/get/token")
    assert refused(response) == (405, "10034", "invalid_request")


@pytest.mark.parametrize("path", ["/get/token", "/oauth2/token"])
async def test_where_another_service_issues_tokens_the_call_is_not_there(serve: Serve, path: str) -> None:
    api = await serve(issuing=False)
    response = await api.post(path, GRANT | CLIENT, {})
    assert (response.status, response.json["code"]) == (404, "10034")
