"""Attacks with JSON and what is nearly JSON."""

import io
from pathlib import Path

import orjson
import pytest

from tests.api.service import Caller, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import INVALID, OTHER_MEDIA, PASS, UNFIT
from tests.clocks import ManualClock

VALID = b'{"deviceType":"TOTP","otp":"@"}'
LONG_S = 15 * 1024


async def sent(caller: Caller, body: bytes, content_type: str = "application/json") -> tuple[int, str | None]:
    """What a validation with this body is answered, where `@` stands for the right code; the device stays uncharged."""
    phone = await caller.enrolled()
    path = f"/deviceAuthentications/{await caller.challenge()}"
    body = body.replace(b"@", phone.code().encode())
    outcome = (await caller.call("POST", path, body, {"Content-Type": content_type})).outcome
    row = await caller.row()
    assert row.failures == 0
    assert (outcome == PASS) is (row.last_step == max(row.last_step, step_of(caller, phone.totp.interval)))
    return outcome


def step_of(caller: Caller, period_s: int) -> int:
    return caller.service.clock.now_ms() // 1000 // period_s


@attack("N-01")
async def test_whole_json_is_read(caller: Caller) -> None:
    assert await sent(caller, VALID) == PASS


def unfit(**bodies: bytes) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("body", bodies.values(), ids=bodies)


@attack("N-01")
@unfit(
    cut=VALID[:-1],
    empty=b"",
    blank=b"  ",
    trailing_comma=VALID[:-1] + b",}",
    comment=VALID + b"/* */",
    line_comment=b"// a\n" + VALID,
    single_quotes=VALID.replace(b'"', b"'"),
    bare_names=b'{deviceType:"TOTP",otp:"@"}',
    two=VALID + VALID,
    nul=VALID + b"\0",
    control_character=b'{"deviceType":"TO\nTP","otp":"@"}',
    unknown_escape=b'{"deviceType":"\\TOTP","otp":"@"}',
    other_blank=b"\xc2\xa0" + VALID,
    form_feed=b"\x0c" + VALID,
)
async def test_broken_json_is_unfit(shop: Caller, body: bytes) -> None:
    assert await sent(shop, body) == UNFIT


@attack("N-02")
@unfit(
    arrays=b"[" * 8_000 + b"]" * 8_000,
    open_arrays=b"[" * 16_000,
    objects=b'{"a":' * 2_600 + b"1" + b"}" * 2_600,
    within=b'{"deviceType":"TOTP","otp":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
)
async def test_endless_nesting_is_unfit_and_harms_nobody(caller: Caller, body: bytes) -> None:
    assert await sent(caller, body) == UNFIT
    assert (await caller.devices()).status == 200


@attack("N-02")
async def test_nesting_beyond_the_largest_body_is_not_read(caller: Caller) -> None:
    await caller.bearer()
    answer = await caller.call("POST", "/deviceAuthentications", b"[" * 100_000)
    assert answer.outcome == (413, "10034")


@attack("N-03")
@unfit(
    wrong_first=b'{"deviceType":"TOTP","otp":"000000","otp":"@"}',
    right_first=b'{"deviceType":"TOTP","otp":"@","otp":"000000"}',
    equal=b'{"deviceType":"TOTP","otp":"@","otp":"@"}',
    escaped=b'{"deviceType":"TOTP","otp":"000000","\\u006ftp":"@"}',
    both_spellings=b'{"deviceType":"TOTP","otp":"000000","OTP":"@"}',
    both_spellings_of_the_type=b'{"deviceType":"TOTP","DeviceType":"TOTP","otp":"@"}',
    within=b'{"deviceType":"TOTP","otp":"@","x":{"a":1,"a":2}}',
)
async def test_a_property_twice_is_unfit(caller: Caller, body: bytes) -> None:
    assert await sent(caller, body) == UNFIT


@attack("N-04", "N-05")
@unfit(
    nan=b"NaN",
    infinity=b"Infinity",
    minus_infinity=b"-Infinity",
    minus_zero=b"-0",
    beyond=b"1e999",
    leading_zero=b"06",
    plus=b"+6",
    hexadecimal=b"0x6",
    point=b"6.",
    five_thousand_digits=b"6" * 5_000,
    fraction=b"0." + b"1" * 5_000,
    exponent=b"1e" + b"9" * 5_000,
)
async def test_a_number_that_is_none_or_no_choice_is_unfit(shop: Caller, body: bytes) -> None:
    await shop.bearer()
    content = b'{"deviceType":"TOTP","deviceName":"Phone","digits":@}'.replace(b"@", body)
    assert (await shop.call("POST", "/users/alice/mfadevices", content)).outcome == UNFIT
    content = VALID[:-1] + b',"x":' + body + b"}"
    assert await sent(shop, content) == UNFIT


@attack("N-06")
@unfit(array=b"[]", pairs=b'[["otp","@"]]', string=b'"@"', number=b"123456", null=b"null", true=b"true", empty=b"{}")
async def test_json_that_is_no_object_is_unfit(shop: Caller, body: bytes) -> None:
    assert await sent(shop, body) == UNFIT


@attack("N-07", "N-10")
@pytest.mark.parametrize(
    "name",
    [
        *("x", "__proto__", "constructor", "prototype", "$where", "$ne", "__class__", "__init__", "hasOwnProperty"),
        *("", " ", "otp.", "otp[]", "otp[0]", "body", "errors", "null", "self", "data", "unknown", "many", "partial"),
    ],
)
async def test_an_unknown_property_is_refused_by_every_call_by_its_name(shop: Caller, name: str) -> None:
    phone = await shop.enrolled()
    path, user = f"/deviceAuthentications/{await shop.challenge()}", "/users/alice/mfadevices"
    code = {"deviceType": "TOTP", "otp": phone.code()}
    for target, content in (
        (path, code),
        (f"{user}/{path[-36:]}", code),
        (user, {"deviceType": "TOTP", "deviceName": "Tablet"}),
        ("/deviceAuthentications", {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}),
        ("/get/token", shop.grant),
    ):
        for value in ("x", {"otp": "x"}, None):
            answer = await shop.call("POST", target, {**content, name: value}, {"Accept": "*/*"})
            assert answer.outcome == UNFIT
            assert list(answer.json["errors"]) == [name]
    assert len((await shop.devices()).json) == 1
    assert (await shop.call("POST", path, code)).outcome == PASS


@attack("N-08")
@unfit(
    mark=b"\xef\xbb\xbf" + VALID,
    utf_16=VALID.decode().encode("utf-16"),
    utf_16_without_mark=VALID.decode().encode("utf-16-le"),
    utf_32=VALID.decode().encode("utf-32-be"),
    utf_7=b'+AHs-"deviceType":"TOTP","otp":"@"}',
    latin_1='{"deviceType":"TOTP","otp":"@","x":"\u00e9"}'.encode("latin-1"),
    overlong=VALID.replace(b"TOTP", b"TOT\xc1\x90"),
    surrogate=VALID.replace(b"TOTP", b"\xed\xa0\x80"),
    cut_character=VALID[:-1] + b',"x":"\xc3"}',
)
async def test_a_body_of_another_encoding_is_unfit(shop: Caller, body: bytes) -> None:
    assert await sent(shop, body) == UNFIT
    assert await sent_again(shop, body) == UNFIT


async def sent_again(shop: Caller, body: bytes) -> tuple[int, str | None]:
    """What a challenge is answered that is asked for with this body."""
    header = {"Content-Type": "application/json; charset=utf-8"}
    return (await shop.call("POST", "/deviceAuthentications", body, header)).outcome


@attack("N-09")
@pytest.mark.parametrize(
    "name",
    [
        "otp\0",
        "Otp",
        "oTP",
        "\uff4f\uff54\uff50",
        "o\u200btp",
        "\u043etp",
        " otp",
        "otp ",
        "ot\u0440",
        "OTP\0",
        "o\u0300tp",
    ],
    ids=ascii,
)
async def test_a_property_that_looks_like_another_is_unknown(shop: Caller, name: str) -> None:
    named = orjson.dumps(name)
    assert await sent(shop, b'{"deviceType":"TOTP",' + named + b':"@"}') == UNFIT
    await shop.unpair()
    assert await sent(shop, b'{"deviceType":"TOTP","otp":"@",' + named + b':"000000"}') == UNFIT


@attack("N-11")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_a_form_in_place_of_json_is_of_another_type(caller: Caller, content_type: str) -> None:
    assert await sent(caller, b"deviceType=TOTP&otp=@", content_type) == OTHER_MEDIA
    assert (await caller.call("POST", "/deviceAuthentications", VALID, {"Content-Type": content_type})).outcome == (
        OTHER_MEDIA
    )


@attack("N-12")
async def test_a_long_string_is_refused_and_not_logged(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            phone = await shop.enrolled()
            path = f"/deviceAuthentications/{await shop.challenge()}"
            content = {"deviceType": "TOTP", "otp": phone.code()}
            for name, value in (("note", "n" * LONG_S), ("n" * LONG_S, "x"), ("deviceType", "n" * LONG_S)):
                answer = await shop.call("POST", path, {**content, name: value})
                assert answer.outcome == UNFIT
                assert len(answer.body) < 1_000
            answer = await shop.call("POST", path, {**content, "otp": "n" * LONG_S})
            assert (answer.outcome, len(answer.body) < 1_000) == ((400, "10009"), True)
            assert (await shop.call("POST", path, {**content, "otp": phone.wrong_code()})).outcome == INVALID
            assert (await shop.call("POST", path, content)).outcome == PASS
    assert "n" * 100 not in stream.getvalue()
