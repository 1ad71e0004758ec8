"""How an issuer writes its access tokens: which claims they have, and what those mean here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mfa_service.access.applications import is_client_id
from mfa_service.errors import AccessDenied
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.settings import Tokens

_ACCESS_TOKEN: Final = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 §4, RFC 7515 §4.1.9
_ANY_TOKEN: Final = _ACCESS_TOKEN | {"jwt", "application/jwt", ""}
_CLIENT: Final = "client_id"
_REQUIRED: Final = ("exp", "iat", "aud", "iss", "sub")  # of every token
_ID: Final = "jti"
_BOUND: Final = "cnf"  # to a key (RFC 7800 §3.1), by DPoP or mutual TLS: nothing here could tell who has it
_SCOPES: Final = frozenset({SCOPE_AUTHENTICATE, SCOPE_ENROLL})  # no other one means anything here, nor is it kept
_LISTED: Final = frozenset({"scp"})  # claims that may also be lists

# Claims that no access token has: of ID tokens (OpenID Connect Core 1.0 §2, §3.3.2.11) and of logout tokens.
_OTHER_TOKENS_CLAIMS: Final = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
# Claims by which Keycloak and Amazon Cognito tell their tokens apart, and what they say of an access token.
_KIND_CLAIMS: Final = (("typ", "bearer"), ("token_use", "access"))


@dataclass(frozen=True, slots=True)
class TokenProfile:
    """What is asked of an issuer's tokens, and where they say what; as it comes, RFC 9068 to the letter.

    Attributes:
        types: of tokens, in lower case; empty text stands for none.
        required: the claims that a token must have.
        client_claims: where the client's id is: in the first of these that is there.
        scope_claims: where the scope is, the same.
        listed: those of them that may also be a list.
        meanings: what an issuer's scope stands for here; None where each stands for itself.
        no_client: a client id that is none; empty where there is no such.
        tells_kinds: whether tokens of other kinds are told by their claims, for their type does not tell them.
    """

    types: frozenset[str] = _ACCESS_TOKEN
    required: tuple[str, ...] = (*_REQUIRED, _CLIENT, _ID)
    client_claims: tuple[str, ...] = (_CLIENT,)
    scope_claims: tuple[str, ...] = ("scope",)
    listed: frozenset[str] = frozenset()
    meanings: Mapping[str, frozenset[str]] | None = None
    no_client: str = ""
    tells_kinds: bool = False

    def takes_type(self, token_type: object) -> bool:
        """Whether tokens may have this type; None is that they name none."""
        given = "" if token_type is None else token_type
        return isinstance(given, str) and given.lower() in self.types and (given != "" or token_type is None)

    def client_id(self, claims: Mapping[str, Any]) -> str:
        """Return the client that a token is for.

        Raises:
            AccessDenied: it names none, it is no access token, or one that whoever presents it has to prove a key for.
        """
        if _BOUND in claims:
            raise AccessDenied(presented=True)
        if self.tells_kinds and _is_other_kind(claims):
            raise AccessDenied(presented=True)
        client_id = next((claims[name] for name in self.client_claims if name in claims), None)
        # What no application can be called is not remembered in vain either.
        if not isinstance(client_id, str) or not is_client_id(client_id) or client_id == self.no_client:
            raise AccessDenied(presented=True)
        return client_id

    def scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return what a token allows here.

        Raises:
            AccessDenied: its scope is malformed.
        """
        name = next((name for name in self.scope_claims if name in claims), None)
        given = "" if name is None else claims[name]
        if isinstance(given, str):
            scopes = frozenset(given.split())
        elif name in self.listed and isinstance(given, list) and all(isinstance(one, str) for one in given):
            scopes = frozenset(given)
        else:
            raise AccessDenied(presented=True)
        if self.meanings is None:
            return scopes & _SCOPES
        return frozenset().union(*(self.meanings.get(one, frozenset()) for one in scopes))


RFC_9068: Final = TokenProfile()
"""The profile of this service's own tokens."""


def profile_of(tokens: Tokens, *, audience: str) -> TokenProfile:
    """Return how the issuer of these settings writes its tokens.

    Args:
        tokens: the settings.
        audience: what tokens must name as `aud`.
    """
    if tokens.is_embedded:
        return RFC_9068
    relaxed = tokens.profile == "relaxed"
    client_claims = (tokens.client_claim,) if tokens.client_claim else (_CLIENT, "azp")
    scope_claims = (tokens.scope_claim,) if tokens.scope_claim else ("scope", "scp")
    return TokenProfile(
        types=_ANY_TOKEN if relaxed else _ACCESS_TOKEN,
        required=_REQUIRED if relaxed else (*_REQUIRED, client_claims[0], _ID),
        client_claims=client_claims,
        scope_claims=scope_claims,
        listed=_LISTED | {tokens.scope_claim},
        meanings=_meanings(tokens.scope_map) if tokens.scope_map else None,
        # An ID token names its client as audience (OpenID Connect Core 1.0 §2), which an access token does not.
        no_client=audience if relaxed else "",
        tells_kinds=relaxed,
    )


def _meanings(scope_map: str) -> Mapping[str, frozenset[str]]:
    """Return what the setting `tokens.scope_map` says: each of the issuer's scopes, and all that it stands for."""
    meanings: dict[str, frozenset[str]] = {}
    for pair in scope_map.split():
        theirs, _, ours = pair.rpartition("=")
        meanings[theirs] = meanings.get(theirs, frozenset()) | {ours}
    return meanings


def _is_other_kind(claims: Mapping[str, Any]) -> bool:
    """Whether claims show that a token is no access token."""
    if not _OTHER_TOKENS_CLAIMS.isdisjoint(claims):
        return True
    return any(name in claims and str(claims[name]).lower() != kind for name, kind in _KIND_CLAIMS)
