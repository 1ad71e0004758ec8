"""Bodies: JSON and forms, read strictly."""

import json

import pytest

from mfa_service.errors import InvalidInput
from mfa_service.web import bodies
from tests.unit.web.stand_ins import BASE, BEARER, Api

GOOD = b'{"userName":"alice","deviceName":"Phone","deviceType":"TOTP"}'

NOT_JSON = {
    "empty": b"",
    "blank": b"  ",
    "broken": b'{"a":',
    "trailing comma": b'{"a":1,}',
    "comment": b'{"a":1} // x',
    "single quotes": b"{'a':1}",
    "two texts": b"{}{}",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":[-Infinity]}',
    "float beyond range": b'{"a":1e999}',
    "negative float beyond range": b'{"a":-1e999}',
    "leading zero": b'{"a":01}',
    "integer of 5,000 digits": b'{"a":' + b"1" * 5000 + b"}",
    "nested arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "unclosed nesting": b"[" * 100_000,
    "byte-order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "lone high surrogate": rb'{"a":"\ud800"}',
    "lone low surrogate": rb'{"a":["x","\udc00"]}',
    "lone surrogate in a name": rb'{"a":{"\udfff":1}}',
    "surrogates the wrong way round": rb'{"a":"\udc00\ud800"}',
    "control character in a string": b'{"a":"\x01"}',
    "array": b"[]",
    "string": b'"a"',
    "number": b"1",
    "null": b"null",
    "true": b"true",
}


@pytest.mark.parametrize("octets", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_strict_json_object_is_refused(octets: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        bodies.json_object(octets)
    assert list(refused.value.errors) == ["body"]


@pytest.mark.parametrize(
    "octets", [b'{"otp":"000000","otp":"123456"}', b'{"a":{"otp":1,"otp":1}}', rb'{"otp":1,"\u006ftp":2}']
)
def test_a_repeated_property_is_refused_by_name(octets: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        bodies.json_object(octets)
    assert refused.value.errors == {"otp": ["must be given once"]}


@pytest.mark.parametrize(
    "content",
    [{}, {"a": "é"}, {"a": "\U0001f600"}, {"a": [1, 2.5, None, True, {"b": "\u0000"}]}, {"": ""}, {"__proto__": {}}],
)
def test_json_is_read_as_it_is(content: dict[str, object]) -> None:
    assert bodies.json_object(json.dumps(content).encode()) == content
    assert bodies.json_object(json.dumps(content, ensure_ascii=False).encode()) == content


@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&&b=", {"a": "1", "b": ""}),
        (b"a", {"a": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=x+y%20z%2B", {"a": "x y z+"}),
        (b"%C3%A9=%F0%9F%98%80", {"é": "\U0001f600"}),
    ],
)
def test_a_form_is_read_as_it_is(octets: bytes, fields: dict[str, str]) -> None:
    assert bodies.form(octets) == fields


@pytest.mark.parametrize(
    ("octets", "property_name"),
    [
        (b"a=%", "body"),
        (b"a=%4", "body"),
        (b"a=%zz", "body"),
        (b"a=%ff", "body"),
        (b"a=%c0%af", "body"),
        (b"a=%ed%a0%80", "body"),
        (b"a=\xc3\xa9", "body"),
        (b"&".join(b"a%d=1" % number for number in range(33)), "body"),
        (b"&" * 10_000, "body"),
        (b"a=1&b=2&a=1", "a"),
        (b"a=1&%61=2", "a"),
        (b"a&a", "a"),
    ],
)
def test_a_form_that_is_broken_or_repeats_a_field_is_refused(octets: bytes, property_name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        bodies.form(octets)
    assert list(refused.value.errors) == [property_name]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json ; charset="utf-8"',
    ],
)
async def test_json_is_taken_with_or_without_its_charset(api: Api, content_type: str) -> None:
    response = await api.post("/deviceAuthentications", GOOD, BEARER | {"Content-Type": content_type})
    assert response.status == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; boundary=x",
        "application/json, text/plain",
        "application/jsonx",
        "json",
        "",
    ],
)
async def test_another_content_type_is_refused(api: Api, content_type: str) -> None:
    response = await api.post("/deviceAuthentications", GOOD, BEARER | {"Content-Type": content_type})
    assert (response.status, response.json["code"]) == (415, "10034")
    assert api.behind.calls == [("verify",)]


async def test_a_body_without_a_content_type_is_refused(api: Api) -> None:
    response = await api.call("POST", f"{BASE}/deviceAuthentications", GOOD, BEARER)
    assert response.status == 415


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "made-up"])
async def test_an_encoded_body_is_refused_unopened(api: Api, encoding: str) -> None:
    headers = BEARER | {"Content-Encoding": encoding}
    response = await api.post("/deviceAuthentications", GOOD, headers)
    assert (response.status, response.json["code"]) == (415, "10034")


async def test_broken_json_is_refused_over_http(api: Api) -> None:
    response = await api.post("/deviceAuthentications", b'{"a":NaN}')
    assert (response.status, response.json["code"]) == (400, "10005")
    assert list(response.json["errors"]) == ["body"]  # type: ignore[call-overload]
    assert api.behind.calls == [("verify",)]
