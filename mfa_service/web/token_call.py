"""Call 1: an application's credentials for an access token (RFC 6749 §4.4)."""

import re
from collections.abc import Mapping, Sequence

from mfa_service.errors import (
    ClientIdMissing,
    ClientRefused,
    ClientSecretMissing,
    GrantTypeMissing,
    GrantTypeUnsupported,
    InvalidInput,
    ScopeRefused,
)
from mfa_service.model import TokenRequest
from mfa_service.ports import TokenIssuer
from mfa_service.web import answers, bodies, naming
from mfa_service.web.answers import Answer
from mfa_service.web.bodies import Body, MediaType
from mfa_service.web.credentials import BasicCredentials, basic_credentials
from mfa_service.web.routes import Call

_PARAMETERS = frozenset({"grant_type", "client_id", "client_secret", "scope"})
_VISIBLE = re.compile(r"[ -~]+", re.ASCII)  # RFC 6749 appendices A.1, A.2
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*", re.ASCII)  # appendix A.4
_NO_STORE = (("Pragma", "no-cache"),)


class TokenCall:
    """Answers the token call.

    Args:
        issuer: checks the credentials and signs the tokens.
    """

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    async def issue(self, call: Call) -> Answer:
        """Answer a token request with a token (RFC 6749 §5.1)."""
        request = token_request(call.content, call.authorization)
        issued = await self._issuer.issue(request)
        call.client_id = request.client_id
        content: dict[str, object] = {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in_s,
        }
        if issued.scopes:
            content["scope"] = " ".join(sorted(issued.scopes))
        return answers.answer(200, content, _NO_STORE)


def token_request(body: Body, authorization: Sequence[str]) -> TokenRequest:
    """Return the token request that a body and its headers make.

    Args:
        body: a form or JSON.
        authorization: the values of all `Authorization` headers.

    Raises:
        InvalidInput: a parameter is repeated, of a wrong type, or unknown in JSON; or credentials are in two places.
        GrantTypeMissing: no grant type is named; the first fault in this order, from here on.
        GrantTypeUnsupported: another one than `client_credentials` is.
        ClientIdMissing: no client is named.
        ClientSecretMissing: no secret is given.
        ClientRefused: the `Authorization` header is broken, or no client can have these credentials.
        ScopeRefused: the scope is malformed.
    """
    parameters = _parameters(body)
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise GrantTypeMissing
    if grant_type != "client_credentials":
        raise GrantTypeUnsupported
    basic = basic_credentials(authorization)
    client_id, client_secret = _client(parameters, basic)
    if not client_id:
        raise ClientIdMissing
    if not client_secret:
        raise ClientSecretMissing
    if not (_VISIBLE.fullmatch(client_id) and _VISIBLE.fullmatch(client_secret)):
        raise ClientRefused(basic=basic is not None)
    return TokenRequest(
        client_id=client_id,
        client_secret=client_secret,
        scopes=_scopes(parameters.get("scope")),
        basic=basic is not None,
    )


def _parameters(body: Body) -> Mapping[str, str]:
    """Return the parameters that have a value; one without counts as left out (RFC 6749 §3.2)."""
    if body.media_type is MediaType.FORM:
        fields = bodies.form(body.octets)
        return {name: value for name, value in fields.items() if value and name in _PARAMETERS}
    parameters: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    content = bodies.json_object(body.octets)
    for name in content.keys() & _PARAMETERS:
        value = content[name]
        if type(value) is not str:
            errors[name] = ["must be a string"]
        elif value:
            parameters[name] = value
    errors |= naming.each((name for name in content if name not in _PARAMETERS), "is no parameter of this call")
    if errors:
        raise InvalidInput(errors)
    return parameters


def _client(parameters: Mapping[str, str], basic: BasicCredentials | None) -> tuple[str, str]:
    """Return the client's id and secret from the one place where they are (RFC 6749 §2.3)."""
    client_id = parameters.get("client_id", "")
    client_secret = parameters.get("client_secret", "")
    if basic is None:
        return client_id, client_secret
    if client_secret:
        raise InvalidInput({"client_secret": ["must not be in the body beside HTTP Basic"]})
    if client_id and client_id != basic.client_id:
        raise InvalidInput({"client_id": ["must be the one that HTTP Basic gives"]})
    return basic


def _scopes(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    if not _SCOPE.fullmatch(text):
        raise ScopeRefused
    return frozenset(text.split(" "))
