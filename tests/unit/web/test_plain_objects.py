"""Plain JSON objects are read quickly, and never otherwise than the standard parser reads them."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mfa_service.errors import InvalidInput
from mfa_service.web import bodies

_NAMES = st.sampled_from(["userName", "otp", "deviceType", "", "é", "\u2028", "a:b", "a,b", "{}", "[]"])
_VALUES = (
    st.text(max_size=5)
    | st.integers()
    | st.none()
    | st.lists(st.text(max_size=2), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1)
)
_PAIRS = st.lists(st.tuples(_NAMES, st.text(max_size=5) | _VALUES), max_size=4)
_BLANKS = st.sampled_from(["", " ", "\n", "\t ", "\ufeff", "\x00", "\xa0"])
_MARKS = st.text(alphabet='{}[]":,\\ au0e1-', max_size=24)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """JSON objects, repeats included, and what looks like them."""
    pairs = draw(_PAIRS)
    plain = draw(st.booleans())
    written = (
        f"{json.dumps(name, ensure_ascii=plain)}:{json.dumps(value, ensure_ascii=plain)}" for name, value in pairs
    )
    text = draw(_BLANKS) + "{" + draw(_BLANKS) + ",".join(written) + draw(_BLANKS) + "}" + draw(_BLANKS)
    return text.encode("utf-8", "surrogatepass")


def read_at_length(octets: bytes) -> object:
    try:
        return bodies.json_object_at_length(octets)
    except InvalidInput as refusal:
        return type(refusal)


@settings(max_examples=500)
@given(texts() | _MARKS.map(str.encode) | st.binary(max_size=12))
@example(b'{"a":1,"a":1}')
@example(b'{"a":["x"],"a":"y"}')
@example(b'{"a":1,"a":1,"b":"x"}')
@example(b'{"a":"x","a":"x"}')
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'{"a":"\x7f"}')
@example(b'{"a":"x"}x')
@example(b'\xef\xbb\xbf{"a":"x"}')
@example(b'{"a":"\x1f"}')
@example(b'{"a":NaN}')
@example(b"{}")
def test_what_is_read_quickly_is_what_the_standard_parser_reads(octets: bytes) -> None:
    plain = bodies.plain_object(octets)
    assert plain in (None, read_at_length(octets))


@pytest.mark.parametrize("content", [{"otp": "123456", "deviceType": "TOTP"}, {"userName": "élise", "a": ""}])
def test_plain_objects_are_read_quickly(content: dict[str, str]) -> None:
    assert bodies.plain_object(json.dumps(content, ensure_ascii=False).encode()) == content


@pytest.mark.parametrize("octets", [b'{"a":1}', b'{"a":"x","a":"x"}', b'["a"]', b'{"a":"\\u0041"}', b'{"a":["x"]}'])
def test_anything_else_is_left_to_the_standard_parser(octets: bytes) -> None:
    assert bodies.plain_object(octets) is None
