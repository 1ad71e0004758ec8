"""Attacks by methods, targets and header fields that would mean something else."""

import re
import time

import orjson
import pytest

from mfa_service.model import SCOPE_AUTHENTICATE
from tests.api.service import BASE, Caller
from tests.attack.cases import attack
from tests.attack.wires import (
    BODY,
    CHALLENGES,
    HOST,
    JSON,
    LISTING,
    connected,
    fields,
    head,
    raw,
    refuse_other,
    with_body,
)


@attack("H-03")
@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "HEAD", "OPTIONS", "PROPFIND", "PATCH", "PUT", "FOO", "post", "GET\t", "PO ST"]
)
async def test_no_other_method_reaches_a_handler(caller: Caller, known: bytes, method: str) -> None:
    for path, allow in ((CHALLENGES, "POST"), (LISTING, "GET, POST"), (f"{LISTING}/TOTP/Phone", "DELETE")):
        request = head(method, path, HOST, known, b"X-Note: a\r\n") + b"\r\n"
        response, _ = await raw(caller.service, request, head_only=method == "HEAD")
        assert response.status in (400, 404, 405)
        if response.status == 405:
            assert response.header("Allow") == allow
        if method != "HEAD":
            refuse_other(response, response.status)
            assert method.encode() not in response.body
    assert len((await caller.devices()).json) == 1


TARGETS = {
    "absolute": f"http://mfa.example{BASE}{LISTING}",
    "absolute, elsewhere": f"http://other.example{BASE}{LISTING}",
    "two slashes": f"/{BASE}{LISTING}",
    "slashes everywhere": f"{BASE}{LISTING}".replace("/", "//"),
    "parameter": f"{BASE}{LISTING};x=1",
    "parameter amid": f"{BASE};x=1{LISTING}",
    "fragment": f"{BASE}{LISTING}#f",
    "fragment of a name": f"{BASE}/users/alice#/mfadevices",
    "no query": f"{BASE}{LISTING}?",
    "unknown query": f"{BASE}{LISTING}?x=1",
    "slash at the end": f"{BASE}{LISTING}/",
    "upper case": f"{BASE.upper()}{LISTING}",
    "star": "*",
    "authority": "mfa.example:443",
}


@attack("H-13", "H-14")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_no_other_form_of_a_target_gets_around_the_token(caller: Caller, known: bytes, target: str) -> None:
    for line, statuses in ((known, (200, 400, 404, 405)), (b"", (401, 400, 404, 405))):
        response, _ = await raw(caller.service, f"GET {target} HTTP/1.1\r\n".encode() + HOST + line + b"\r\n")
        assert response.status in statuses
        if response.status == 200:
            content = orjson.loads(response.body)
            assert [device["deviceName"] for device in content] == ["Phone"]


@attack("H-13", "H-14")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_no_other_form_of_a_target_gets_around_the_scope(shop: Caller, target: str) -> None:
    await shop.enrolled()
    token = await shop.token(scope=SCOPE_AUTHENTICATE)
    line = f"Authorization: Bearer {token}\r\n".encode()
    response, _ = await raw(shop.service, f"GET {target} HTTP/1.1\r\n".encode() + HOST + line + b"\r\n")
    refuse_other(response, 403, 400, 404, 405)


@attack("H-15")
@pytest.mark.parametrize(
    ("line", "status"),
    [(b"Authorization: Bearer a.b.c\r\n", 401), (b"", 401), (None, 413)],
    ids=["bad token", "no token", "good token"],
)
async def test_a_body_that_will_be_refused_is_not_asked_for(
    caller: Caller, known: bytes, line: bytes | None, status: int
) -> None:
    expecting = b"Expect: 100-continue\r\nContent-Length: 10485760\r\n\r\n"
    request = head("POST", CHALLENGES, HOST, JSON, known if line is None else line) + expecting
    async with connected(caller.service) as wire:
        began_s = time.monotonic()
        await wire.send(request)
        response = await wire.response()
        refuse_other(response, status)
        assert time.monotonic() - began_s < 1
        assert await wire.is_closed()


@attack("H-16")
async def test_every_answer_s_head_says_what_it_is_and_nothing_of_the_server(caller: Caller, known: bytes) -> None:
    service = caller.service
    secret = caller.client_secret.encode()
    answers = [
        (await raw(service, octets))[0]
        for octets in (
            head("GET", LISTING, HOST, known) + b"\r\n",
            with_body(head("POST", CHALLENGES, HOST, JSON, known), BODY),
            with_body(head("POST", CHALLENGES, HOST, JSON, known), b"{}"),
            with_body(head("POST", "/get/token", HOST, JSON), caller.grant),
            head("DELETE", f"{LISTING}/TOTP/Phone", HOST, known) + b"\r\n",
            head("GET", LISTING, HOST) + b"\r\n",
            head("GET", "/nowhere", HOST) + b"\r\n",
            head("PUT", CHALLENGES, HOST) + b"\r\n",
            b"GET /.well-known/jwks.json HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\n" + HOST + b"\r\n",
            b"nonsense\r\n\r\n",
            head("GET", f"/{'a' * 9_000}", HOST) + b"\r\n",
        )
    ]
    assert {answer.status for answer in answers} == {200, 201, 204, 400, 401, 404, 405, 414}
    for answer in answers:
        found = fields(answer)
        if answer.status != 204:
            assert found["content-type"] == "application/json; charset=utf-8"
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"
        assert not found.keys() & {"server", "x-powered-by", "via", "set-cookie", "access-control-allow-origin"}
        assert not re.search(rb"aiohttp|[Pp]ython|uvloop|gunicorn", answer.body + str(answer.headers).encode())
        assert secret not in answer.body


@attack("H-17")
async def test_no_header_overrides_the_method_or_the_path(caller: Caller, known: bytes) -> None:
    overrides = b"".join(
        b"%s: DELETE\r\n" % name for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override")
    ) + b"".join(
        b"%s: %s%s/TOTP/all\r\n" % (name, BASE.encode(), LISTING.encode())
        for name in (b"X-Original-URL", b"X-Rewrite-URL", b"X-Forwarded-Prefix", b"X-Forwarded-Path")
    )
    for method, path, status in (("GET", LISTING, 200), ("POST", f"{LISTING}/TOTP/Phone", 405), ("GET", "/", 404)):
        response, _ = await raw(caller.service, head(method, path, HOST, known, overrides) + b"\r\n")
        assert response.status == status
    response, _ = await raw(caller.service, head("GET", f"{LISTING}?_method=DELETE", HOST, known) + b"\r\n")
    assert response.status == 400
    assert len((await caller.devices()).json) == 1


@attack("H-18")
async def test_no_header_overrides_where_the_service_is(caller: Caller) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/jwks.json"):
        plain = await caller.service.send("GET", path)
        answer = await caller.service.send("GET", path, headers={**forged, "Host": "evil.example"})
        assert (answer.status, b"evil" in answer.body) == (200, False)
        assert plain.status == 200
