"""The quick look at plain bodies, held against the schemas that decide."""

from collections.abc import Callable, Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mfa_service.errors import MfaError
from mfa_service.web import schemas

_NAMES = st.text(max_size=4) | st.sampled_from(["alice", "all", " a", "e\u0301", "a\u200b", "a" * 256, ""])
_OTPS = st.from_regex(r"[0-9]{5,9}", fullmatch=True) | st.sampled_from(["12345\u0661", "123456\n", " 123456"])
_VALUES = st.sampled_from(["TOTP", "totp", "SMS"]) | _NAMES | _OTPS | st.none() | st.booleans() | st.integers()
_ANY = _VALUES | st.lists(_VALUES, max_size=2) | st.dictionaries(st.text(max_size=3), _VALUES, max_size=2)
_PROPERTIES = ("userName", "deviceName", "deviceType", "otp", "OTP", "DeviceType", "more")


def bodies(**plain: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Bodies of which many are plain, or nearly so."""
    near = st.fixed_dictionaries(dict(plain))
    change = st.dictionaries(st.sampled_from(_PROPERTIES), _ANY, max_size=1)
    return near | st.builds(dict.__or__, near, change) | st.dictionaries(st.sampled_from(_PROPERTIES), _ANY)


def outcome(read: Callable[[Mapping[str, object]], object], content: Mapping[str, object]) -> object:
    try:
        return read(content)
    except MfaError as refusal:
        return type(refusal)


@settings(max_examples=300)
@given(bodies(userName=_NAMES, deviceName=_NAMES, deviceType=st.just("TOTP")))
@example({"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"})
@example({"userName": "e\u0301", "deviceName": "Phone", "deviceType": "TOTP"})
def test_what_the_look_at_an_initiation_takes_the_schema_takes_with_the_same_values(content: dict[str, object]) -> None:
    seen = schemas.plain_initiation(content)
    decided = outcome(schemas.initiation_by_schema, content)
    assert seen in (None, decided)
    assert outcome(schemas.initiation, content) == decided


@settings(max_examples=300)
@given(bodies(otp=_OTPS, deviceType=st.just("TOTP")))
@example({"otp": "523471", "deviceType": "TOTP"})
@example({"OTP": "523471", "DeviceType": "TOTP"})
def test_what_the_look_at_a_code_takes_the_schema_takes_with_the_same_value(content: dict[str, object]) -> None:
    seen = schemas.plain_one_time_password(content)
    decided = outcome(schemas.one_time_password_by_schema, content)
    assert seen in (None, decided)
    assert outcome(schemas.one_time_password, content) == decided


def test_plain_bodies_do_not_come_to_the_schemas() -> None:
    assert schemas.plain_initiation({"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}) is not None
    assert schemas.plain_one_time_password({"deviceType": "TOTP", "otp": "12345678"}) == "12345678"
