"""Attacks with user names, device names and paths."""

import io
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import orjson
import pytest

from mfa_service.access.applications import new_application
from tests.api.service import BOTH_SCOPES, Caller, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import INVALID, NO_DEVICE, NO_ROUTE, OPENED, PASS, UNFIT
from tests.attack.wires import HOST, JSON, authorization, fields, head, raw, with_body
from tests.clocks import ManualClock
from tests.fault.enrolment import new_user

PAIRING = {"deviceType": "TOTP", "deviceName": "Phone"}
CODE = {"deviceType": "TOTP", "otp": "123456"}
NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"


async def everywhere(caller: Caller, segment: str) -> set[tuple[int, str | None]]:
    """What every call says that has a user's name in its path, here written as a raw segment."""
    devices = f"/users/{segment}/mfadevices"
    answers = [
        await caller.call("POST", devices, PAIRING),
        await caller.call("GET", devices),
        await caller.call("POST", f"{devices}/{NOBODYS_ID}", CODE),
        await caller.call("DELETE", f"{devices}/TOTP/Phone"),
        await caller.call("DELETE", f"{devices}/TOTP/all"),
    ]
    return {answer.outcome for answer in answers}


async def in_a_body(caller: Caller, user: str) -> tuple[int, str | None]:
    """What the one call says that has a user's name in its body, here as any string."""
    content = orjson.dumps({"deviceName": "Phone", "deviceType": "TOTP"})[:-1] + b',"userName":'
    return (await caller.call("POST", "/deviceAuthentications", content + escaped(user) + b"}")).outcome


def escaped(text: str) -> bytes:
    """A JSON string of any code units, each of them escaped."""
    units = text.encode("utf-16-be", "surrogatepass")
    return b'"' + b"".join(b"\\u" + units[at : at + 2].hex().encode() for at in range(0, len(units), 2)) + b'"'


def refused(*segments: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("segment", segments)


@attack("U-01")
@refused("%20", "%20%20alice", "alice%20", "%C2%A0alice", "alice%E3%80%80", "%09alice")
async def test_blanks_around_a_name_are_refused_everywhere(caller: Caller, segment: str) -> None:
    assert await everywhere(caller, segment) == {UNFIT}
    assert await in_a_body(caller, unquote_to_bytes(segment).decode()) == UNFIT
    assert (await caller.devices()).outcome == NO_DEVICE


@attack("U-02")
async def test_an_empty_name_is_no_path(caller: Caller) -> None:
    assert await everywhere(caller, "") == {NO_ROUTE}
    assert (await caller.call("GET", "/users/mfadevices")).outcome == NO_ROUTE
    assert await in_a_body(caller, "") == UNFIT


@attack("U-03")
async def test_an_encoded_slash_is_part_of_a_name_and_a_bare_one_is_not(caller: Caller) -> None:
    await caller.enrolled(user="a/b")
    assert (await caller.initiate(user="a/b")).outcome == OPENED
    assert (await caller.devices(user="a/b")).status == 200
    assert await everywhere(caller, "a/b") == {NO_ROUTE}
    assert await everywhere(caller, "a%252Fb") == {OPENED, (200, None), (404, "10007"), (204, None), NO_DEVICE}
    for other in ("a", "b"):
        assert (await caller.devices(user=other)).outcome == NO_DEVICE
    assert len((await caller.devices(user="a/b")).json) == 1


@attack("U-04", "H-14")
@pytest.mark.parametrize(
    "path",
    [
        *("/users/../users/alice/mfadevices", "/users/./alice/mfadevices", "/./users/alice/mfadevices"),
        *("/users/alice/../alice/mfadevices", "/users/alice/x/../mfadevices", "/../v2/users/alice/mfadevices"),
        *("/%2e%2e/v2/users/alice/mfadevices", "//users/alice/mfadevices", "/users/alice//mfadevices"),
        *(
            "/users/alice/mfadevices/",
            "/Users/alice/mfadevices",
            "/users/alice/MfaDevices",
            "/users/alice/mfadevices/.",
        ),
        *("/users/alice/mfadevices/..%2f", "/users%2Falice%2Fmfadevices", "/users/alice/mfadevices;x=1"),
        *("/users/alice/%6dfadevices", "/users/alice/mfadevices%20", "\\users\\alice\\mfadevices"),
    ],
)
async def test_no_path_is_repaired_into_another(caller: Caller, path: str) -> None:
    await caller.enrolled(user="alice")
    answer, _ = await raw(caller.service, head("GET", path, HOST, await authorization(caller)) + b"\r\n")
    assert answer.status in (400, 404, 405)
    assert b"Phone" not in answer.body


@attack("U-04")
@refused("..", ".", "%2e%2e", "%2e", "..%2Falice", "alice%2F..")
async def test_dots_are_names_like_others(caller: Caller, segment: str) -> None:
    await caller.enrolled(user="alice")
    begun = head("GET", f"/users/{segment}/mfadevices", HOST, await authorization(caller))
    answer, _ = await raw(caller.service, begun + b"\r\n")
    assert (answer.status, answer.json["code"]) == NO_DEVICE


@attack("U-05")
@refused("a%00", "%00", "a%0d%0aX-Injected:1", "%1b%5B31malice", "%7f", "a%0a", "%C2%85", "a%E2%80%A8b")
async def test_control_characters_are_refused_everywhere(caller: Caller, segment: str) -> None:
    assert await everywhere(caller, segment) == {UNFIT}
    assert await in_a_body(caller, unquote_to_bytes(segment).decode()) == UNFIT
    begun = head("GET", f"/users/{segment}/mfadevices", HOST, await authorization(caller))
    answer, _ = await raw(caller.service, begun + b"\r\n")
    assert "x-injected" not in fields(answer)
    assert not set(answer.body) & set(range(32))


@attack("U-06")
@pytest.mark.parametrize(
    "character",
    [
        *("\u202e", "\u202a", "\u2066", "\u2069", "\u200e", "\u061c", "\u200b", "\ufeff", "\u00ad"),
        *("\u2028", "\u2029"),
    ],
    ids=ascii,
)
async def test_characters_that_cannot_be_seen_are_refused_and_not_logged(
    tmp_path: Path, clock: ManualClock, character: str
) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            for user in (f"ali{character}ce", f"{character}alice", f"alice{character}"):
                assert await everywhere(shop, quote(user, safe="")) == {UNFIT}
                assert await in_a_body(shop, user) == UNFIT
    assert character not in stream.getvalue()
    assert all(orjson.loads(line) for line in stream.getvalue().splitlines())


@attack("U-07")
@refused("%ff%fe", "%c0%af", "%ed%a0%80", "%f4%90%80%80", "%80", "%", "%4", "%zz", "%u0061", "a%2")
async def test_what_is_no_utf_8_is_refused_everywhere(caller: Caller, segment: str) -> None:
    devices, known = f"/users/{segment}/mfadevices", await authorization(caller)
    for request in (
        head("GET", devices, HOST, known) + b"\r\n",
        with_body(head("POST", devices, HOST, JSON, known), PAIRING),
        with_body(head("POST", f"{devices}/{NOBODYS_ID}", HOST, JSON, known), CODE),
        head("DELETE", f"{devices}/TOTP/Phone", HOST, known) + b"\r\n",
        head("DELETE", f"/users/alice/mfadevices/TOTP/{segment}", HOST, known) + b"\r\n",
        head("DELETE", f"/users/alice/mfadevices/{segment}/Phone", HOST, known) + b"\r\n",
    ):
        answer, _ = await raw(caller.service, request)
        assert (answer.status, answer.json["code"]) == UNFIT


@attack("U-08")
@pytest.mark.parametrize("user", ["\ud800", "a\udfff", "\udc00\ud800", "ali\ud83dce"], ids=ascii)
async def test_a_lone_surrogate_is_refused(caller: Caller, user: str) -> None:
    assert await in_a_body(caller, user) == UNFIT
    content = b'{"deviceType":"TOTP","deviceName":' + escaped(user) + b"}"
    assert (await caller.call("POST", "/users/alice/mfadevices", content)).outcome == UNFIT


@attack("U-09")
async def test_a_name_has_255_characters_at_most(caller: Caller) -> None:
    for letter in ("a", "\u00e9", "\U0001f511"):
        assert (await caller.pair(user=letter * 255)).outcome == OPENED
        assert (await caller.pair(letter * 255)).outcome == OPENED
        assert (await caller.pair(letter * 256)).outcome == UNFIT
        for length in (256, 600):
            assert await everywhere(caller, quote(letter * length, safe="")) == {UNFIT}
            assert await in_a_body(caller, letter * length) == UNFIT
    known = await authorization(caller)
    for length, status in ((8_000, 400), (70_000, 414)):
        request = head("GET", f"/users/{'a' * length}/mfadevices", HOST, known) + b"\r\n"
        assert (await raw(caller.service, request))[0].status == status
    assert await in_a_body(caller, "a" * 2_000) == UNFIT


@attack("U-10")
async def test_two_spellings_of_a_character_are_one_user_and_one_device(caller: Caller) -> None:
    composed = "\u00e9l\u00e8ne"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    phone = await caller.enrolled(composed, user=decomposed)
    assert (await caller.validate(await caller.challenge(decomposed, user=composed), phone.wrong_code())).outcome == (
        INVALID
    )
    assert (await caller.validate(await caller.challenge(composed, user=decomposed), phone.code())).outcome == PASS
    for user in (composed, decomposed):
        assert [device["deviceName"] for device in (await caller.devices(user=user)).json] == [composed]
        assert (await caller.pair(decomposed, user=user)).outcome == (409, "10010")
    assert (await caller.row(composed, user=composed)).owner.user_name == composed
    assert (await caller.unpair(decomposed, user=decomposed)).status == 204


@attack("U-11")
async def test_letters_of_another_case_are_another_name(caller: Caller) -> None:
    phone, other = await caller.enrolled(user="Alice"), await caller.enrolled(user="alice")
    assert (await caller.validate(await caller.challenge(user="alice"), phone.code())).outcome == INVALID
    assert (await caller.row(user="Alice")).failures == 0
    assert (await caller.validate(await caller.challenge(user="alice"), other.code())).outcome == PASS
    assert (await caller.validate(await caller.challenge(user="Alice"), phone.code())).outcome == PASS
    assert (await caller.initiate("phone", user="alice")).outcome == (404, "100016")
    assert (await caller.initiate(user="ALICE")).outcome == NO_DEVICE


@attack("U-12")
@pytest.mark.parametrize("name", ["userName", "user", "username", "owner"])
async def test_a_body_does_not_name_another_user_than_the_path(caller: Caller, name: str) -> None:
    answer = await caller.call("POST", "/users/alice/mfadevices", {**PAIRING, name: "bob"})
    assert (answer.outcome, set(answer.json["errors"])) == (UNFIT, {name})
    phone, auth_id = await caller.pending(user="alice")
    content = {"deviceType": "TOTP", "otp": phone.code(), name: "bob"}
    assert (await caller.call("POST", f"/users/alice/mfadevices/{auth_id}", content)).outcome == UNFIT
    for user in ("alice", "bob"):
        assert len((await caller.devices(user=user)).json) == (1 if user == "alice" else 5)


PLAIN = {
    "sql": "' OR 1=1--",
    "star": "*",
    "percent": "%25",
    "any": "%",
    "one": "_",
    "document": "$ne",
    "quote": '"',
    "comment": "a/*b*/",
    "end": "a';DROP TABLE devices;--",
    "format": "{0.__class__}",
    "template": "{{7*7}}",
    "brackets": "[a]",
    "backslash": "a\\b",
    "question mark": "a?b#c",
}


@attack("U-13")
@pytest.mark.parametrize("name", PLAIN.values(), ids=PLAIN)
async def test_words_of_query_languages_are_names_like_others(shop: Caller, name: str) -> None:
    others = ("alice", "bob", "a")
    for user in others:
        assert (await shop.pair(user=user)).outcome == OPENED
    assert (await shop.devices(user=name)).outcome == NO_DEVICE
    assert (await shop.unpair("all", user=name)).outcome == NO_DEVICE
    phone = await shop.enrolled(name, user=name)
    assert (await shop.validate(await shop.challenge(name, user=name), phone.code())).outcome == PASS
    assert [device["deviceName"] for device in (await shop.devices(user=name)).json] == [name]
    assert (await shop.unpair(name, user=name)).status == 204
    for user in others:
        assert [device["deviceName"] for device in (await shop.devices(user=user)).json] == ["Phone"]


@attack("U-14")
@pytest.mark.parametrize(
    "name",
    [
        "\U0001f511\U0001f469\u200d\U0001f4bb",
        "\u65e5\u672c\u8a9e",
        "\U00020bb7",
        "\u05d0\u05d1",
        "\u0e01\u0e33",
        "\ud55c",
    ],
    ids=ascii,
)
async def test_names_beyond_the_letters_of_europe_go_the_whole_way(shop: Caller, name: str) -> None:
    phone = await shop.enrolled(name, user=name)
    assert phone.totp.name == unicodedata.normalize("NFC", name)
    assert (await shop.validate(await shop.challenge(name, user=name), phone.code())).outcome == PASS
    assert [device["deviceName"] for device in (await shop.devices(user=name)).json] == [
        unicodedata.normalize("NFC", name)
    ]
    assert (await shop.unpair(name, user=name)).status == 204


@attack("U-15")
@pytest.mark.parametrize(
    "name",
    [
        *("get", "token", "oauth2", "users", "mfadevices", "deviceAuthentications", "TOTP", "all"),
        *("null", "undefined", "0", "true", "None", ".well-known", "ciam-mfa", "__proto__"),
    ],
)
async def test_words_of_the_paths_are_names_like_others(shop: Caller, name: str) -> None:
    device = name if name != "all" else "Phone"  # the contract's one word that names no device
    phone = await shop.enrolled(device, user=name)
    assert (await shop.validate(await shop.challenge(device, user=name), phone.code())).outcome == PASS
    assert (await shop.unpair(device, user=name)).status == 204
    assert (await shop.devices(user=name)).outcome == NO_DEVICE


@attack("U-16", "T-13")
async def test_an_application_named_like_a_user_is_not_that_user(caller: Caller) -> None:
    service, user = caller.service, new_user()
    application, client_secret = new_application(
        f"named like {user}", BOTH_SCOPES, clock=service.clock, random_bytes=service.entropy, client_id=user
    )
    await service.registry.applications.add(application)
    await service.duties.do()
    namesake = type(caller)(service, application, client_secret)
    phone = await caller.enrolled(user=user)
    assert (await namesake.devices(user=user)).outcome == NO_DEVICE
    assert (await namesake.validate(await caller.challenge(user=user), phone.code())).outcome == (404, "10007")
    own = await caller.enrolled(user=caller.application.client_id)
    assert (await caller.validate(await caller.challenge(user=user), own.code())).outcome == INVALID
    assert (await caller.validate(await caller.challenge(user=user), phone.code())).outcome == PASS
