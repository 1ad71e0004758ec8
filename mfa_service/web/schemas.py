"""What the JSON bodies of the calls must be, and the values that they become.

The schemas decide. Before them stands a look at the plain form of the bodies of calls 6 and 7, at a tenth of the cost:
what it takes, the schema takes too and with the same values, and all else is the schema's to judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from marshmallow import RAISE, Schema, ValidationError, fields

from mfa_service import names
from mfa_service.errors import InvalidInput, MalformedOtp, NameRefused
from mfa_service.model import TotpParameters
from mfa_service.values import value
from mfa_service.web import naming
from mfa_service.web.paths import DEVICE_TYPE

_OTP_LENGTHS = 6, 8
_UNKNOWN = "is no property of this call"
_SPELLINGS = {"DeviceType": "deviceType", "OTP": "otp"}


@dataclass(frozen=True, slots=True)
class Pairing:
    """What call 2 asks for."""

    device_name: str
    parameters: TotpParameters


@value
class Initiation:
    """What call 6 asks for."""

    user_name: str
    device_name: str


def pairing(content: Mapping[str, object]) -> Pairing:
    """Return what the body of call 2 asks for.

    Raises:
        InvalidInput: a property is unknown, missing, or not as the contract has it.
    """
    loaded = _loaded(_PAIRING, content)
    parameters = TotpParameters(algorithm=loaded["algorithm"], digits=loaded["digits"], period_s=loaded["period"])
    return Pairing(device_name=loaded["deviceName"], parameters=parameters)


def initiation(content: Mapping[str, object]) -> Initiation:
    """Return what the body of call 6 asks for.

    Raises:
        InvalidInput: a property is unknown, missing, or not as the contract has it.
    """
    return plain_initiation(content) or initiation_by_schema(content)


def plain_initiation(content: Mapping[str, object]) -> Initiation | None:
    """Return what the body of call 6 asks for where it is of its three strings and nothing else."""
    user_name, device_name = content.get("userName"), content.get("deviceName")
    if (
        len(content) == len(_INITIATION.fields)
        and content.get("deviceType") == DEVICE_TYPE
        and type(user_name) is str
        and type(device_name) is str
    ):
        try:
            return Initiation(names.canonical(user_name), names.canonical_device(device_name))
        except NameRefused:
            return None
    return None


def initiation_by_schema(content: Mapping[str, object]) -> Initiation:
    """Return what the body of call 6 asks for; as `initiation`."""
    loaded = _loaded(_INITIATION, content)
    return Initiation(user_name=loaded["userName"], device_name=loaded["deviceName"])


def one_time_password(content: Mapping[str, object]) -> str:
    """Return the one-time password in the body of calls 3 and 7, which know two spellings of each property.

    Returns:
        Six or eight ASCII digits.

    Raises:
        InvalidInput: a property is unknown, missing, of another type, or there in both spellings.
        MalformedOtp: all is well but for the one-time password, which is a string of something else.
    """
    return plain_one_time_password(content) or one_time_password_by_schema(content)


def plain_one_time_password(content: Mapping[str, object]) -> str | None:
    """Return the one-time password of a body that is of the two strings in their first spelling and nothing else."""
    otp = content.get("otp")
    if (
        len(content) == len(_CODE.fields)
        and content.get("deviceType") == DEVICE_TYPE
        and type(otp) is str
        and _is_otp(otp)
    ):
        return otp
    return None


def one_time_password_by_schema(content: Mapping[str, object]) -> str:
    """Return the one-time password in the body of calls 3 and 7; as `one_time_password`."""
    otp: str = _loaded(_CODE, _respelled(content))["otp"]
    if not _is_otp(otp):
        raise MalformedOtp
    return otp


def _is_otp(text: str) -> bool:
    """Whether a text is six or eight ASCII digits."""
    return len(text) in _OTP_LENGTHS and text.isascii() and text.isdigit()


def _respelled(content: Mapping[str, object]) -> Mapping[str, object]:
    twice = [name for other, name in _SPELLINGS.items() if other in content and name in content]
    if twice:
        raise InvalidInput(naming.each(twice, "must be given once, in one spelling"))
    return {_SPELLINGS.get(name, name): value for name, value in content.items()}


def _loaded(schema: Schema, content: Mapping[str, object]) -> Mapping[str, Any]:
    try:
        return cast("Mapping[str, Any]", schema.load(content))
    except ValidationError as invalid:
        faults = cast("Mapping[str, list[str]]", invalid.messages_dict)
    known = {name: messages for name, messages in faults.items() if name in schema.fields}
    unknown = naming.each((name for name in faults if name not in schema.fields), _UNKNOWN)
    raise InvalidInput(unknown | known)


def _required(must: str) -> dict[str, str | list[Any] | dict[Any, Any]]:
    return {"required": f"is missing; it {must}", "null": must}


class _Text(fields.Field[str]):
    """A string, checked and brought into its one form.

    Args:
        form: returns the form; raises `NameRefused` with the reason.
    """

    def __init__(self, form: Callable[[str], str]) -> None:
        super().__init__(required=True, error_messages=_required("must be a string"))
        self._form = form

    def _deserialize(self, value: object, *_: object, **__: object) -> str:
        if type(value) is not str:
            raise ValidationError("must be a string")
        try:
            return self._form(value)
        except NameRefused as refused:
            raise ValidationError(str(refused)) from None


class _DeviceType(fields.Field[str]):
    """The one device type there is, in any case."""

    def __init__(self) -> None:
        super().__init__(required=True, error_messages=_required(f"must be {DEVICE_TYPE}"))

    def _deserialize(self, value: object, *_: object, **__: object) -> str:
        if type(value) is not str or value.upper() != DEVICE_TYPE:
            raise ValidationError(f"must be {DEVICE_TYPE}")
        return DEVICE_TYPE


class _OneOf(fields.Field[object]):
    """A value that is exactly one of a few, in type too; the first where it is left out."""

    def __init__(self, *choices: str | int) -> None:
        self._must = f"must be {' or '.join(str(choice) for choice in choices)}, as a {_JSON_TYPES[type(choices[0])]}"
        super().__init__(load_default=choices[0], error_messages={"null": self._must})
        self._choices = choices

    def _deserialize(self, value: object, *_: object, **__: object) -> object:
        for choice in self._choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValidationError(self._must)


_JSON_TYPES = {str: "string", int: "number"}


def _schema(**properties: fields.Field[Any]) -> Schema:
    return Schema.from_dict(dict(properties))(unknown=RAISE)


_PAIRING = _schema(
    deviceType=_DeviceType(),
    deviceName=_Text(names.canonical_device),
    algorithm=_OneOf("SHA1", "SHA256", "SHA512"),
    digits=_OneOf(6, 8),
    period=_OneOf(30, 60),
)
_INITIATION = _schema(
    userName=_Text(names.canonical), deviceName=_Text(names.canonical_device), deviceType=_DeviceType()
)
_CODE = _schema(deviceType=_DeviceType(), otp=_Text(str))
