"""Attacks on how a token comes, and on what a well-signed one may say."""

import io
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from mfa_service import settings as settings_module
from mfa_service.errors import SettingsInvalid
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from tests.api.conftest import Serve
from tests.api.service import Caller, serving
from tests.attack.cases import attack
from tests.attack.forging import INVALID_TOKEN, Insider, Members, asked, good, insider
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import EXPIRED, NO_DEVICE, NO_SCOPE, NO_TOKEN, UNFIT
from tests.attack.wires import HOST, LISTING, head, raw
from tests.clocks import ManualClock

LEEWAY_S = 10
NOT_THERE = (404, "10050")
DESCRIPTION = {chr(code) for code in range(0x20, 0x7F)} - {'"', "\\"}
"""What an error_description is made of (RFC 6749 §5.2, RFC 6750 §3)."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"
CALLS = (
    ("POST", LISTING, SCOPE_ENROLL),
    ("POST", f"{LISTING}/{NOBODYS_ID}", SCOPE_ENROLL),
    ("GET", LISTING, SCOPE_ENROLL),
    ("DELETE", f"{LISTING}/TOTP/Phone", SCOPE_ENROLL),
    ("DELETE", f"{LISTING}/TOTP/all", SCOPE_ENROLL),
    ("POST", "/deviceAuthentications", SCOPE_AUTHENTICATE),
    ("POST", f"/deviceAuthentications/{NOBODYS_ID}", SCOPE_AUTHENTICATE),
)
"""Every call that needs a token, and the scope that it needs."""


@pytest_asyncio.fixture(loop_scope="module")
async def mole(shop: Caller) -> Insider:
    """Somebody with the signing key of the one worker."""
    return await insider(shop)


def now_s(caller: Caller) -> int:
    return caller.service.clock.now_ms() // 1000


async def refuse(caller: Caller, token: str) -> None:
    """Fail where a token is not refused, or more is said than that."""
    answer = await asked(caller, token)
    assert (answer.outcome, answer.headers["WWW-Authenticate"]) == (NO_TOKEN, INVALID_TOKEN)


# How it comes


@attack("J-01")
async def test_without_a_token_no_call_is_made_and_no_error_is_named(caller: Caller) -> None:
    for method, path, _ in CALLS:
        answer = await caller.service.send(method, path)
        assert (answer.outcome, answer.headers["WWW-Authenticate"]) == (NO_TOKEN, "Bearer")


@attack("J-02")
async def test_the_scheme_is_bearer_in_any_case_and_nothing_else(caller: Caller) -> None:
    token = (await good(caller)).token
    for value, outcome in (
        *((f"{scheme} {token}", NO_DEVICE) for scheme in ("Bearer", "bearer", "BEARER", "bEaReR")),
        *((f"{scheme} {token}", NO_TOKEN) for scheme in ("Basic", "Token", "JWT", "DPoP", "Bearers", "Bear er", "")),
        *((value, NO_TOKEN) for value in ("Bearer", "Bearer  x", "Bearer x", f"Bearer{token}", token, f'"{token}"')),
        *((f"Bearer{gap}{token}", NO_TOKEN) for gap in ("\t", ":", ",", "=", " Bearer ", ' "', " token=")),
        *((f"Bearer {token}{end}", NO_TOKEN) for end in (" x", ",x", ";q=1", "=", '"', ", Basic eDp5")),
        (f"Basic eDp5, Bearer {token}", NO_TOKEN),
    ):
        answer = await caller.service.send("GET", LISTING, headers={"Authorization": value})
        assert answer.outcome == outcome
        if outcome == NO_TOKEN:
            assert answer.headers["WWW-Authenticate"] in ("Bearer", INVALID_TOKEN)


@attack("J-13")
async def test_a_token_in_the_query_or_in_a_form_is_none_and_not_logged(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            token = (await good(shop)).token
            carried = urlencode({"access_token": token})
            for method, path, _ in CALLS:
                for given in ({}, {"data": carried, "headers": FORM}, {"json": {"access_token": token}}):
                    answer = await service.send(method, f"{path}?{carried}", **given)
                    assert (answer.outcome, answer.headers["WWW-Authenticate"]) == (NO_TOKEN, "Bearer")
                    assert token.encode() not in answer.body
            assert (await service.send("GET", LISTING, cookies={"access_token": token})).outcome == NO_TOKEN
    assert stream.getvalue().count('"request"') == 2 + 3 * len(CALLS)
    assert not any(segment in stream.getvalue() for segment in token.split("."))


@attack("J-14")
async def test_two_tokens_are_none(caller: Caller) -> None:
    service, token = caller.service, (await good(caller)).token
    line = f"Authorization: Bearer {token}\r\n".encode()
    assert (await raw(service, head("GET", LISTING, HOST, line) + b"\r\n"))[0].status == NO_DEVICE[0]
    for lines in (
        (line, line),
        (line, b"Authorization: Bearer x\r\n"),
        (b"Authorization: Bearer x\r\n", line),
        (b"Authorization: Basic eDp5\r\n", line),
        (line, b"authorization:\r\n"),
        (b"AUTHORIZATION: \r\n", line),
        (f"Authorization: Bearer {token}, Bearer {token}\r\n".encode(),),
        (f"Authorization: Bearer {token},\r\n".encode(),),
    ):
        response, _ = await raw(service, head("GET", LISTING, HOST, *lines) + b"\r\n")
        assert (response.status, response.json["code"]) == NO_TOKEN
    proxy = f"Proxy-Authorization: Bearer {token}\r\nX-Authorization: Bearer {token}\r\n".encode()
    assert (await raw(service, head("GET", LISTING, HOST, proxy) + b"\r\n"))[0].status == 401


# When it is good


@attack("J-03", "J-21")
@pytest.mark.parametrize(("ago_s", "outcome"), [(9, NO_DEVICE), (LEEWAY_S, EXPIRED), (11, EXPIRED), (10**6, EXPIRED)])
async def test_a_token_is_good_to_the_end_of_the_leeway(
    shop: Caller, mole: Insider, ago_s: int, outcome: tuple[int, str]
) -> None:
    answer = await asked(shop, mole.forged(claims={"exp": now_s(shop) - ago_s}))
    assert answer.outcome == outcome
    if outcome == EXPIRED:
        assert answer.headers["WWW-Authenticate"] == INVALID_TOKEN


@attack("J-04")
@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_of_the_future_is_refused_beyond_the_leeway(shop: Caller, mole: Insider, claim: str) -> None:
    assert (await asked(shop, mole.forged(claims={claim: now_s(shop) + LEEWAY_S}))).outcome == NO_DEVICE
    for ahead_s in (LEEWAY_S + 1, 3_600, 10**9):
        await refuse(shop, mole.forged(claims={claim: now_s(shop) + ahead_s}))


@attack("J-21")
async def test_no_leeway_can_be_had_beyond_half_a_minute(serve: Serve) -> None:
    shop = await (await serve({"tokens.leeway_s": 0})).onboard()
    mole = await insider(shop)
    assert (await asked(shop, mole.forged(claims={"exp": now_s(shop) + 1}))).outcome == NO_DEVICE
    assert (await asked(shop, mole.forged(claims={"exp": now_s(shop)}))).outcome == EXPIRED
    for leeway_s in (31, 3_600, -1):
        with pytest.raises(SettingsInvalid, match=r"tokens\.leeway_s"):
            settings_module.load(config_path=None, environment={}, flags={"tokens.leeway_s": leeway_s})


# What it says


@attack("J-05")
@pytest.mark.parametrize("claim", ["exp", "aud", "iss", "sub", "client_id", "jti", "iat"])
async def test_a_token_without_one_of_its_claims_is_refused(shop: Caller, mole: Insider, claim: str) -> None:
    assert (await asked(shop, mole.forged())).outcome == NO_DEVICE
    await refuse(shop, mole.forged(claims={claim: None}))
    odds: tuple[object, ...] = ([], {}, True, [[mole.good.claims[claim]]])
    for odd in odds:
        await refuse(shop, mole.forged(claims={claim: odd}))


@attack("J-05")
async def test_another_issuer_s_token_is_refused(shop: Caller, mole: Insider) -> None:
    own = mole.good.claims["iss"]
    for iss in (own.upper(), f"{own}/", f" {own}", own[:-1], f"https://{own}", "*", [own], {own: own}):
        await refuse(shop, mole.forged(claims={"iss": iss}))


@attack("J-06")
async def test_a_token_is_for_this_service_or_refused(shop: Caller, mole: Insider) -> None:
    own = mole.good.claims["aud"]
    for aud in (own, [own], ["urn:other", own], [own, "urn:other"], [own, own]):
        assert (await asked(shop, mole.forged(claims={"aud": aud}))).outcome == NO_DEVICE
    for aud in ("urn:other", own.upper(), own[:-1], f"{own} urn:other", f"{own},urn:other", "*", [], ["urn:other"]):
        await refuse(shop, mole.forged(claims={"aud": aud}))
    for odd in ([[own]], {own: own}, [own, 1], [None, own]):
        await refuse(shop, mole.forged(claims={"aud": odd}))


@attack("J-15")
async def test_a_token_without_the_scope_is_told_which_one_it_lacks(caller: Caller) -> None:
    for method, path, scope in CALLS:
        other = SCOPE_AUTHENTICATE if scope == SCOPE_ENROLL else SCOPE_ENROLL
        bearer = {"Authorization": f"Bearer {await caller.token(scope=other)}"}
        answer = await caller.service.send(method, path, headers=bearer)
        assert answer.outcome == NO_SCOPE
        assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


@attack("J-15")
async def test_no_odd_scope_is_one(shop: Caller, mole: Insider) -> None:
    for scope in (None, "", "mfa", "mfa:*", "*", "MFA:ENROLL", "mfa:enroll,mfa:authenticate", "mfa:enroll\0", "admin"):
        assert (await asked(shop, mole.forged(claims={"scope": scope}))).outcome == NO_SCOPE
    for odd in (["mfa:enroll"], {"mfa:enroll": True}, True, 1):
        await refuse(shop, mole.forged(claims={"scope": odd}))


@attack("J-22")
@pytest.mark.parametrize("scope", [SCOPE_ENROLL, SCOPE_AUTHENTICATE])
async def test_a_token_of_one_scope_makes_the_calls_of_that_scope_alone(caller: Caller, scope: str) -> None:
    bearer = {"Authorization": f"Bearer {await caller.token(scope=scope)}"}
    for method, path, needed in CALLS:
        given: Members = {"json": {}} if method == "POST" else {}
        answer = await caller.service.send(method, path, headers=bearer, **given)
        assert answer.outcome in ((UNFIT, NO_DEVICE, NOT_THERE) if needed == scope else (NO_SCOPE,))


# What is said of it


HOSTILE = (
    '"',
    "\\",
    '", error="none',
    "\r\nX-Injected: 1",
    "\x1b[31m",
    "</script>",
    "\u2028",
    "\ud83d\ude00",
    "%0d%0a",
    "{0}",
)


@attack("J-19")
async def test_a_refusal_repeats_nothing_of_a_token(shop: Caller, mole: Insider) -> None:
    said = set()
    for text in HOSTILE:
        marked = f"marked{text}"
        for claim in ("iss", "aud", "client_id"):
            answer = await asked(shop, mole.forged(claims={claim: marked}))
            assert "X-Injected" not in answer.headers
            said.add((answer.outcome, answer.headers["WWW-Authenticate"], answer.json["message"]))
        for member in ("alg", "kid", "typ", "jku"):
            answer = await asked(shop, mole.forged(header={member: marked, **({"crit": [marked]} if text else {})}))
            said.add((answer.outcome, answer.headers["WWW-Authenticate"], answer.json["message"]))
    [(outcome, challenge, message)] = said
    assert (outcome, challenge) == (NO_TOKEN, INVALID_TOKEN)
    assert set(message) <= DESCRIPTION


@attack("J-19")
async def test_every_error_description_is_of_the_characters_that_one_may_have(caller: Caller) -> None:
    for text in HOSTILE:
        for given in (
            {**caller.grant, "scope": f"marked{text}"},
            {**caller.grant, "grant_type": f"marked{text}"},
            {**caller.grant, "client_id": f"marked{text}"},
            {**caller.grant, "client_secret": f"marked{text}"},
            {"grant_type": "client_credentials", f"marked{text}": "x"},
        ):
            for sent in ({"data": urlencode(given, errors="surrogatepass"), "headers": FORM}, {"json": given}):
                answer = await caller.service.token_call(**sent)
                assert answer.status in (400, 401, 429)  # after many wrong secrets a pause
                assert set(answer.json["error_description"]) <= DESCRIPTION
                assert answer.json["error_description"] == answer.json["message"]
                assert "marked" not in answer.json["error_description"] + str(answer.headers)
