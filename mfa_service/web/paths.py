"""What stands in a request target: names and ids in its path, parameters in its query."""

from collections.abc import Callable, Mapping

from mfa_service import identifiers, names
from mfa_service.errors import ChallengeNotFound, InvalidInput, NameRefused
from mfa_service.web import naming
from mfa_service.web.urlencoded import form_pairs, percent_decoded

_MOST_PARAMETERS = 16

DEVICE_TYPE = "TOTP"
EVERY_DEVICE = "all"


def user_name(segment: str) -> str:
    """Return the user name that a raw path segment stands for, in its stored form.

    Raises:
        InvalidInput: it is not percent-encoded UTF-8, or no user name.
    """
    return _name(segment, "userName", names.canonical)


def removal(device_type: str, device_name: str) -> str | None:
    """Return which of a user's devices the last two raw segments of a removal mean.

    Args:
        device_type: the segment before the last.
        device_name: the last segment.

    Returns:
        The device's name in its stored form; None stands for every device.

    Raises:
        InvalidInput: the type is not TOTP, or the name is not percent-encoded UTF-8 or no device name.
    """
    if _decoded(device_type, "deviceType").upper() != DEVICE_TYPE:
        raise InvalidInput({"deviceType": [f"must be {DEVICE_TYPE}"]})
    if _decoded(device_name, "deviceName") == EVERY_DEVICE:
        return None
    return _name(device_name, "deviceName", names.canonical_device)


def auth_id(segment: str) -> str:
    """Return a raw path segment that is a challenge's id.

    Raises:
        ChallengeNotFound: it is not a UUID in lower-case canonical form, which every id is.
    """
    try:
        identifiers.octets_of_auth_id(segment)
    except ValueError:
        raise ChallengeNotFound from None
    return segment


def refuse_other_type(parameters: Mapping[str, str]) -> None:
    """Let a query pass that asks for no device type, or for TOTP in any case.

    Raises:
        InvalidInput: it asks for another one.
    """
    if parameters.get("type", DEVICE_TYPE).upper() != DEVICE_TYPE:
        raise InvalidInput({"type": [f"must be {DEVICE_TYPE}"]})


def query(text: str, *, known: frozenset[str]) -> Mapping[str, str]:
    """Return the parameters of a query.

    Args:
        text: what follows the first `?` of the target, not empty.
        known: the parameters that the call takes.

    Raises:
        InvalidInput: a parameter is unknown or repeated, or the query is not form-encoded UTF-8.
    """
    try:
        pairs = form_pairs(text, most=_MOST_PARAMETERS)
    except ValueError as fault:
        raise InvalidInput({"query": [str(fault)]}) from None
    unknown = [name for name, _ in pairs if name not in known]
    if unknown:
        raise InvalidInput(naming.each(unknown, "is no query parameter of this call"))
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise InvalidInput(naming.each(naming.repeated(pairs), "must be given once"))
    return parameters


def _decoded(segment: str, property_name: str) -> str:
    try:
        return percent_decoded(segment)
    except ValueError as fault:
        raise InvalidInput({property_name: [str(fault)]}) from None


def _name(segment: str, property_name: str, canonical: Callable[[str], str]) -> str:
    try:
        return canonical(_decoded(segment, property_name))
    except NameRefused as refused:
        raise InvalidInput({property_name: [str(refused)]}) from None
