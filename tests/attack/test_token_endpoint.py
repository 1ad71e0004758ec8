"""Attacks on the token call."""

import asyncio
import base64
import io
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from joserfc.jwk import ECKey
from yarl import URL

from mfa_service.errors import InvalidInput
from mfa_service.web import bodies
from tests.api.service import BASE, Caller, Response, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import NO_METHOD, OTHER_MEDIA, PASS, TOO_LARGE, told
from tests.attack.scale import times
from tests.attack.timing import medians_differ
from tests.attack.wires import HOST, head, raw
from tests.clocks import ManualClock

PATH = "/oauth2/token"
PAUSE = (429, "10035")
GRANT = {"grant_type": "client_credentials"}
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


def basic(text: bytes) -> dict[str, str]:
    """A header of HTTP Basic whose credentials are these octets."""
    return {"Authorization": f"Basic {base64.b64encode(text).decode()}"}


async def refused(caller: Caller, error: str, **given: Any) -> Response:  # noqa: ANN401  as `token_call`
    """Make a token call that is refused with this error of RFC 6749 §5.2."""
    answer = await caller.service.token_call(**given)
    assert answer.status in (400, 401)
    assert answer.json["error"] == error
    assert "access_token" not in answer.json
    return answer


def part(token: str, number: int) -> Mapping[str, Any]:
    """The JSON of one part of a token."""
    encoded = token.split(".")[number]
    content: Mapping[str, Any] = orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return content


@attack("T-01")
@pytest.mark.parametrize("path", ["/get/token", "/oauth2/token"])
async def test_the_right_credentials_get_a_token_that_nobody_keeps(caller: Caller, path: str) -> None:
    answer = await caller.service.token_call(path, data=caller.grant)
    assert answer.outcome == PASS
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json["token_type"], answer.headers["Cache-Control"]) == ("Bearer", "no-store")
    assert type(answer.json["expires_in"]) is int


@attack("T-02")
async def test_a_wrong_secret_is_refused_by_the_way_it_came(caller: Caller) -> None:
    wrong = caller.client_secret[:-1] + ("A" if caller.client_secret[-1] != "A" else "B")
    answer = await refused(caller, "invalid_client", data={**caller.grant, "client_secret": wrong})
    assert (answer.status, "WWW-Authenticate" in answer.headers) == (401, False)
    header = basic(f"{caller.application.client_id}:{wrong}".encode())
    answer = await refused(caller, "invalid_client", data=GRANT, headers=header)
    assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")


@attack("T-03")
async def test_an_unknown_client_cannot_be_told_from_a_wrong_secret(shop: Caller) -> None:
    wrong = {**shop.grant, "client_secret": "x" * 43}
    unknown = {**wrong, "client_id": "0" * len(shop.application.client_id)}
    grants = (wrong, unknown)
    answers = [await refused(shop, "invalid_client", data=grant) for grant in grants]
    assert told(answers[0]) == told(answers[1])
    headers = [basic(f"{grant['client_id']}:x".encode()) for grant in grants]
    answers += [await refused(shop, "invalid_client", data=GRANT, headers=header) for header in headers]
    assert told(answers[2]) == told(answers[3])
    acts = [partial(asked_slowly, shop, grant) for grant in grants]
    assert not await medians_differ(acts, by_more_than=0.05)


async def asked_slowly(caller: Caller, grant: Mapping[str, str]) -> None:
    """Make a token call so long after the last one that nobody is told to pause."""
    caller.service.clock.advance(6)
    await refused(caller, "invalid_client", data=grant)


@attack("T-04")
async def test_no_other_grant_is_given(caller: Caller) -> None:
    without = {name: value for name, value in caller.grant.items() if name != "grant_type"}
    await refused(caller, "invalid_request", data=without)
    await refused(caller, "invalid_request", data={**without, "grant_type": ""})
    for grant_type in (
        *("password", "authorization_code", "CLIENT_CREDENTIALS", "refresh_token", "implicit"),
        *(" client_credentials", "client_credentials ", "client_credentials\0", "client_credentials,password"),
    ):
        given = {**without, "grant_type": grant_type, "username": "alice", "password": "x", "code": "x"}
        await refused(caller, "unsupported_grant_type", data=given)


@attack("T-05")
async def test_a_repeated_parameter_is_refused(caller: Caller) -> None:
    for name in (*caller.grant, "scope"):
        body = urlencode([*caller.grant.items(), (name, "mfa:enroll"), *([(name, "x")] if name == "scope" else [])])
        answer = await refused(caller, "invalid_request", data=body, headers={"Content-Type": bodies.MediaType.FORM})
        assert set(answer.json["errors"]) == {name}
    twice = orjson.dumps(caller.grant)[:-1] + b',"grant_type":"client_credentials"}'
    await refused(caller, "invalid_request", data=twice, headers={"Content-Type": "application/json"})


@attack("T-05")
async def test_countless_parameters_are_refused_in_no_time(caller: Caller) -> None:
    body = "&".join(f"{number:x}=" for number in range(10_000))
    answer = await caller.service.token_call(data=body, headers={"Content-Type": bodies.MediaType.FORM})
    assert answer.outcome == TOO_LARGE
    most = "&".join(["a"] * 8_000)
    await refused(caller, "invalid_request", data=most, headers={"Content-Type": bodies.MediaType.FORM})
    taken_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        with pytest.raises(InvalidInput):
            bodies.form(body.encode())
        taken_s.append(time.perf_counter() - began_s)
    assert min(taken_s) < 0.005


@attack("T-06")
async def test_credentials_in_two_places_are_refused(caller: Caller) -> None:
    header = {"Authorization": caller.basic}
    for given in (
        {"data": caller.grant},
        {"json": caller.grant},
        {"data": {**GRANT, "client_secret": caller.client_secret}},
        {"data": {**GRANT, "client_id": "another"}},
    ):
        await refused(caller, "invalid_request", headers=header, **given)
    assert (await caller.service.token_call(data=GRANT, headers=header)).outcome == PASS


@attack("T-07")
async def test_credentials_in_the_query_are_refused_and_not_logged(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            query = urlencode(shop.grant)
            for given in ({"data": GRANT}, {"data": shop.grant}, {}):
                answer = await service.token_call(f"{PATH}?{query}", **given)
                assert answer.status in (400, 415)
                assert shop.client_secret.encode() not in answer.body
    assert stream.getvalue().count('"request"') == 3
    assert shop.client_secret not in stream.getvalue()


@attack("T-08")
@pytest.mark.parametrize(
    "scope",
    [
        *("mfa:admin", "mfa:enroll mfa:admin", "mfa:enroll  mfa:authenticate", " mfa:enroll", "mfa:enroll "),
        *('mfa:"enroll"', "mfa:enroll\r", "mfa:enroll\n", "mfa\\enroll", "MFA:ENROLL", "mfa:enroll\0", "*", "\u00e9"),
        "mfa:enroll " * 1_000,
        "x" * 12_000,
    ],
    ids=lambda scope: ascii(scope[:30]),
)
async def test_no_scope_is_given_that_the_client_does_not_have(shop: Caller, scope: str) -> None:
    began_s = time.perf_counter()
    answer = await refused(shop, "invalid_scope", data={**shop.grant, "scope": scope})
    assert (answer.json["code"], time.perf_counter() - began_s < 0.05) == ("10032", True)


@attack("T-08")
async def test_a_scope_longer_than_a_body_may_be_is_refused_unread(shop: Caller) -> None:
    answer = await shop.service.token_call(data={**shop.grant, "scope": "mfa:enroll " * 9_400})
    assert answer.outcome == TOO_LARGE


@attack("T-09")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
async def test_the_token_call_has_one_method(caller: Caller, method: str) -> None:
    for path in ("/get/token", PATH):
        request = head(method, f"{path}?{urlencode(caller.grant)}", HOST) + b"\r\n"
        answer, _ = await raw(caller.service, request, head_only=method == "HEAD")
        assert (answer.status, answer.header("Allow")) == (NO_METHOD[0], "POST")


@attack("T-10")
@pytest.mark.parametrize(
    "value",
    [
        *("Basic", "Basic ", "Basic !!!", "Basic YQ", "Basic YTpi=", "Basic YTpi YTpi", "Basic \u00e9", "Bearer YTpi"),
        *(
            "Basic " + base64.b64encode(text).decode()
            for text in (b"", b":", b"nocolon", b":secret", b"id:", b"\xff:x")
        ),
        *(
            "Basic " + base64.b64encode(text).decode()
            for text in (b"id:%zz", b"id:%ff", b"id:a b", b"i\0d:x", b"a:b:c")
        ),
    ],
    ids=ascii,
)
async def test_broken_credentials_are_refused(caller: Caller, value: str) -> None:
    answer = await caller.service.token_call(data=GRANT, headers={"Authorization": value})
    assert answer.status in (400, 401)
    assert answer.json["error"] in ("invalid_client", "invalid_request")


@attack("T-10")
async def test_credentials_are_decoded_once_as_a_form_s(caller: Caller) -> None:
    client_id, secret = caller.application.client_id, caller.client_secret
    encoded = "".join(f"%{ord(letter):02X}" for letter in secret)
    for text, status in (
        (f"{client_id}:{secret}", 200),
        (f"{client_id}:{encoded}", 200),
        (f"{quote(client_id)}:{quote(secret)}", 200),
        (f"{client_id}:{encoded.replace('%', '%25')}", 401),
        (f"{client_id}:{secret}:", 401),
        (f"{client_id}:+{secret}", 401),
    ):
        answer = await caller.service.token_call(data=GRANT, headers=basic(text.encode()))
        assert answer.status == status
    answer = await caller.service.token_call(data=GRANT, headers={"Authorization": caller.basic.replace("B", "b", 1)})
    assert answer.outcome == PASS  # the scheme is matched without regard to case


@attack("T-11")
async def test_countless_wrong_secrets_are_told_to_pause_and_the_right_one_is_not(shop: Caller) -> None:
    count, a_second = times(10_000), 200
    wrong = {**shop.grant, "client_secret": "x" * 43}
    outcomes: Counter[tuple[int, str | None]] = Counter()
    for number in range(count):
        shop.service.clock.advance(1 / a_second)
        answer = await shop.service.token_call(data=wrong)
        outcomes[answer.outcome] += 1
        if answer.outcome == PAUSE:
            assert int(answer.headers["Retry-After"]) >= 1
        if number % 10 == 0:
            assert (await shop.service.token_call(data=shop.grant)).outcome == PASS
    assert outcomes.keys() == {(401, "10002"), PAUSE}
    assert outcomes[401, "10002"] <= 10 + count / a_second / 6 + 1
    assert (await shop.service.token_call(data={**wrong, "client_id": "another"})).status == 401
    await shop.service.advance(60)
    assert (await shop.service.token_call(data=wrong)).status == 401


@attack("T-12")
async def test_a_token_lives_an_hour_at_most_and_cannot_be_renewed(caller: Caller) -> None:
    answer = await caller.service.token_call(data=caller.grant)
    claims = part(answer.json["access_token"], 1)
    assert claims["exp"] - claims["iat"] == answer.json["expires_in"] <= 3_600
    assert "refresh_token" not in answer.json
    assert claims.keys() == {"iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope"}
    await refused(caller, "unsupported_grant_type", data={**caller.grant, "grant_type": "refresh_token"})


@attack("T-14")
async def test_tokens_are_unique_and_name_a_published_key(shop: Caller) -> None:
    tokens: list[str] = []
    for _ in range(times(10_000) // 50):
        tokens += await asyncio.gather(*(shop.token() for _ in range(50)))
    ids = [part(token, 1)["jti"] for token in tokens]
    assert len(set(ids)) == len(ids) == times(10_000)
    heads = {tuple(sorted(part(token, 0).items())) for token in tokens}
    [key] = (await shop.service.send("GET", "/.well-known/jwks.json")).json["keys"]
    assert heads == {(("alg", "ES256"), ("kid", key["kid"]), ("typ", "at+jwt"))}
    bare = {name: value for name, value in key.items() if name != "kid"}
    assert key["kid"] == ECKey.import_key(bare).thumbprint()


@attack("T-16")
async def test_no_body_of_another_media_type_is_read(caller: Caller) -> None:
    body = urlencode(caller.grant).encode()
    multipart = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value.encode())
        for name, value in caller.grant.items()
    )
    for line, content in (
        (b"Content-Type: multipart/form-data; boundary=x\r\n", multipart + b"--x--\r\n"),
        (b"", body),
        (b"Content-Type: \r\n", body),
        (b"Content-Type: text/plain\r\n", body),
        (b"Content-Type: application/x-www-form-urlencoded; charset=iso-8859-1\r\n", body),
        (b"Content-Type: application/xml\r\n", body),
    ):
        request = head("POST", PATH, HOST, line) + b"Content-Length: %d\r\n\r\n" % len(content) + content
        answer, _ = await raw(caller.service, request)
        assert (answer.status, answer.json["code"]) == OTHER_MEDIA
    request = head("POST", PATH, HOST, FORM) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert (await raw(caller.service, request))[0].status == 200


@attack("T-07", "H-13")
async def test_a_token_call_by_an_absolute_target_is_the_same(caller: Caller) -> None:
    body = urlencode({**caller.grant, "client_secret": "wrong"}).encode()
    target = str(URL("http://mfa.example") / f"{BASE}{PATH}".lstrip("/"))
    request = b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n" % (target.encode(), HOST, FORM, len(body)) + body
    answer, _ = await raw(caller.service, request)
    assert answer.status in (400, 401, 404)
