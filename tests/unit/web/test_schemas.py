"""The properties of the calls' JSON bodies, one row a body."""

import pytest

from mfa_service.errors import InvalidInput, MalformedOtp
from mfa_service.model import TotpParameters
from mfa_service.web import schemas
from mfa_service.web.schemas import Initiation, Pairing

PAIRING = {"deviceType": "TOTP", "deviceName": "Phone"}
INITIATION = {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"}
CODE = {"deviceType": "TOTP", "otp": "523471"}


@pytest.mark.parametrize(
    ("content", "device_name", "parameters"),
    [
        (PAIRING, "Phone", TotpParameters("SHA1", 6, 30)),
        (PAIRING | {"deviceType": "totp"}, "Phone", TotpParameters()),
        (PAIRING | {"deviceName": "e\u0301"}, "é", TotpParameters()),
        (PAIRING | {"algorithm": "SHA256", "digits": 8, "period": 60}, "Phone", TotpParameters("SHA256", 8, 60)),
        (PAIRING | {"algorithm": "SHA512", "digits": 6, "period": 30}, "Phone", TotpParameters("SHA512", 6, 30)),
    ],
)
def test_a_pairing_is_read(content: dict[str, object], device_name: str, parameters: TotpParameters) -> None:
    assert schemas.pairing(content) == Pairing(device_name, parameters)


@pytest.mark.parametrize(
    ("change", "faulty"),
    [
        ({"deviceType": None}, ["deviceType"]),
        ({"deviceType": "SMS"}, ["deviceType"]),
        ({"deviceType": "TOTP "}, ["deviceType"]),
        ({"deviceType": "\uff34\uff2f\uff34\uff30"}, ["deviceType"]),
        ({"deviceType": ["TOTP"]}, ["deviceType"]),
        ({"deviceType": 1}, ["deviceType"]),
        ({"deviceName": None}, ["deviceName"]),
        ({"deviceName": 1}, ["deviceName"]),
        ({"deviceName": True}, ["deviceName"]),
        ({"deviceName": ["Phone"]}, ["deviceName"]),
        ({"deviceName": {}}, ["deviceName"]),
        ({"deviceName": ""}, ["deviceName"]),
        ({"deviceName": " Phone"}, ["deviceName"]),
        ({"deviceName": "a" * 256}, ["deviceName"]),
        ({"deviceName": "a\u0000"}, ["deviceName"]),
        ({"deviceName": "all"}, ["deviceName"]),
        ({"algorithm": "sha1"}, ["algorithm"]),
        ({"algorithm": "MD5"}, ["algorithm"]),
        ({"algorithm": "SHA-1"}, ["algorithm"]),
        ({"algorithm": ""}, ["algorithm"]),
        ({"algorithm": None}, ["algorithm"]),
        ({"algorithm": 1}, ["algorithm"]),
        ({"algorithm": ["SHA1"]}, ["algorithm"]),
        ({"digits": 7}, ["digits"]),
        ({"digits": 1}, ["digits"]),
        ({"digits": "6"}, ["digits"]),
        ({"digits": 6.0}, ["digits"]),
        ({"digits": True}, ["digits"]),
        ({"digits": None}, ["digits"]),
        ({"digits": {}}, ["digits"]),
        ({"period": 31}, ["period"]),
        ({"period": 86400}, ["period"]),
        ({"period": "30"}, ["period"]),
        ({"period": 30.0}, ["period"]),
        ({"period": None}, ["period"]),
        ({"deviceType": "SMS", "deviceName": "", "digits": 7}, ["deviceName", "deviceType", "digits"]),
        ({"secret": "AAAA", "status": "ACTIVE", "id": 1, "lastStep": 9, "userId": "b"}, None),
        ({"DeviceType": "TOTP"}, ["DeviceType"]),
        ({"Algorithm": "SHA1"}, ["Algorithm"]),
        ({"__proto__": {}, "__class__": 1, "$where": ""}, None),
        ({"_schema": 1}, ["_schema"]),
        ({"": 1}, [""]),
        ({"deviceName\u0000": "x"}, [r"deviceName\x00"]),
        ({"\uff4f\uff54\uff50": "x"}, ["\uff4f\uff54\uff50"]),
        ({"x" * 5000: 1}, ["x" * 40 + "..."]),
        ({"unknown": 1, "digits": 7}, ["digits", "unknown"]),
    ],
)
def test_a_faulty_pairing_is_refused_by_property(change: dict[str, object], faulty: list[str] | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.pairing(PAIRING | change)
    assert sorted(refused.value.errors) == (sorted(change) if faulty is None else faulty)


@pytest.mark.parametrize("missing", PAIRING)
def test_a_pairing_needs_its_properties(missing: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.pairing({name: value for name, value in PAIRING.items() if name != missing})
    assert list(refused.value.errors) == [missing]


def test_of_very_many_unknown_properties_twenty_are_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.pairing(PAIRING | {f"x{number}": 1 for number in range(2000)})
    assert len(refused.value.errors) == 20


def test_an_initiation_is_read() -> None:
    assert schemas.initiation(INITIATION | {"userName": "e\u0301", "deviceType": "Totp"}) == Initiation("é", "Phone")


def test_all_is_a_user_name() -> None:
    assert schemas.initiation(INITIATION | {"userName": "all"}).user_name == "all"


@pytest.mark.parametrize(
    ("change", "faulty"),
    [
        ({"userName": ""}, "userName"),
        ({"userName": 1}, "userName"),
        ({"userName": "\u202ealice"}, "userName"),
        ({"deviceName": "all"}, "deviceName"),
        ({"deviceType": "SMS"}, "deviceType"),
        ({"DeviceType": "TOTP"}, "DeviceType"),
        ({"deviceId": "x"}, "deviceId"),
    ],
)
def test_a_faulty_initiation_is_refused_by_property(change: dict[str, object], faulty: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.initiation(INITIATION | change)
    assert list(refused.value.errors) == [faulty]


@pytest.mark.parametrize("missing", INITIATION)
def test_an_initiation_needs_its_properties(missing: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.initiation({name: value for name, value in INITIATION.items() if name != missing})
    assert list(refused.value.errors) == [missing]


@pytest.mark.parametrize(
    ("content", "otp"),
    [
        (CODE, "523471"),
        ({"deviceType": "totp", "otp": "000000"}, "000000"),
        ({"deviceType": "TOTP", "otp": "12345678"}, "12345678"),
        ({"DeviceType": "TOTP", "OTP": "523471"}, "523471"),
        ({"DeviceType": "TOTP", "otp": "523471"}, "523471"),
        ({"deviceType": "TOTP", "OTP": "523471"}, "523471"),
    ],
)
def test_a_code_is_read_in_either_spelling(content: dict[str, object], otp: str) -> None:
    assert schemas.one_time_password(content) == otp


@pytest.mark.parametrize(
    ("content", "faulty"),
    [
        ({"deviceType": "TOTP"}, "otp"),
        (CODE | {"otp": None}, "otp"),
        (CODE | {"otp": 523471}, "otp"),
        (CODE | {"otp": 1.5}, "otp"),
        (CODE | {"otp": True}, "otp"),
        (CODE | {"otp": []}, "otp"),
        (CODE | {"otp": {}}, "otp"),
        (CODE | {"otp": ["523471"]}, "otp"),
        ({"otp": "523471"}, "deviceType"),
        (CODE | {"OTP": "523471"}, "otp"),
        (CODE | {"DeviceType": "TOTP"}, "deviceType"),
        (CODE | {"Otp": "523471"}, "Otp"),
        (CODE | {"devicetype": "TOTP"}, "devicetype"),
        (CODE | {"otp\u0000": "523471"}, r"otp\x00"),
        (CODE | {"initTime": 1}, "initTime"),
        (CODE | {"window": 9}, "window"),
        (CODE | {"deviceId": "x"}, "deviceId"),
        ({"deviceType": "SMS", "otp": "x"}, "deviceType"),
        (CODE | {"otp": "12", "window": 9}, "window"),
    ],
)
def test_a_body_without_a_code_that_is_a_string_is_invalid_input(content: dict[str, object], faulty: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.one_time_password(content)
    assert list(refused.value.errors) == [faulty]


@pytest.mark.parametrize(
    "otp",
    [
        "",
        "5",
        "12345",
        "1234567",
        "123456789",
        "1" * 16_000,
        "12345a",
        "-12345",
        "+12345",
        "1e5000",
        "0x1234",
        "12 456",
        " 123456",
        "123456 ",
        "123456\n",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "\uff15\uff12\uff13\uff14\uff17\uff11",
        "52347\u0661",
        "523_471",
    ],
)
def test_a_code_of_other_characters_or_another_length_is_malformed(otp: str) -> None:
    with pytest.raises(MalformedOtp):
        schemas.one_time_password(CODE | {"otp": otp})


def test_no_message_repeats_a_value() -> None:
    with pytest.raises(InvalidInput) as refused:
        schemas.pairing({"deviceType": "hunter2", "deviceName": " hunter2", "algorithm": "hunter2", "x": "hunter2"})
    assert "hunter2" not in repr(refused.value.errors)
