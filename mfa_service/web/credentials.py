"""Who a request says it is from: bearer tokens and HTTP Basic, read from the `Authorization` header."""

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

from mfa_service.errors import AccessDenied, ClientRefused, InvalidInput
from mfa_service.web.urlencoded import form_decoded

_BEARER = "bearer"


def bearer_token(authorization: Sequence[str]) -> str:
    """Return the access token of a request (RFC 6750 §2.1).

    Args:
        authorization: the values of all its `Authorization` headers.

    Returns:
        What stands where the token should: any text, for the verifier to judge.

    Raises:
        AccessDenied: there is not exactly one, or it is of another scheme.
    """
    if len(authorization) != 1:
        raise AccessDenied(presented=bool(authorization))
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != _BEARER:
        raise AccessDenied(presented=False)
    return token


class BasicCredentials(NamedTuple):
    """A client's id and secret as HTTP Basic gave them; either may be empty."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return "BasicCredentials(...)"


def basic_credentials(authorization: Sequence[str]) -> BasicCredentials | None:
    """Return the client's credentials in a token request's header (RFC 6749 §2.3.1, RFC 7617).

    Args:
        authorization: the values of all its `Authorization` headers.

    Returns:
        The id and the secret, each form-decoded; None where there is no such header.

    Raises:
        InvalidInput: there are several.
        ClientRefused: it is of another scheme, or broken.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        raise InvalidInput({"Authorization": ["must be given once"]})
    scheme, _, encoded = authorization[0].partition(" ")
    if scheme.lower() != "basic":
        raise ClientRefused(basic=True)
    try:
        client_id, colon, client_secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
        if not colon:
            raise ClientRefused(basic=True)
        return BasicCredentials(form_decoded(client_id), form_decoded(client_secret))
    except (binascii.Error, ValueError):
        raise ClientRefused(basic=True) from None
