"""What is asked of another issuer's tokens, and where they say what."""

from typing import Any

import pytest

from mfa_service.access.profiles import RFC_9068, TokenProfile, profile_of
from mfa_service.errors import AccessDenied
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.settings import Tokens
from tests.unit.access.conftest import AUDIENCE, SCOPES, Access
from tests.unit.access.forging import claims, forged, header, private_key, sign
from tests.unit.access.test_verifier import refused

OUTSIDE = "https://issuer.example"
KEYCLOAK = {"typ": "Bearer", "azp": "shop", "sid": "1", "realm_access": {"roles": []}}


def profile(**settings: Any) -> TokenProfile:  # noqa: ANN401  what the settings take
    return profile_of(Tokens(issuer=OUTSIDE, **settings), audience=AUDIENCE)


def relaxed(**settings: str) -> TokenProfile:
    return profile(profile="relaxed", **settings)


def as_client(profile: TokenProfile, **claims: object) -> str | None:
    """The client that a token is for; None where the token is refused."""
    try:
        return profile.client_id(claims)
    except AccessDenied:
        return None


# Which tokens


def test_the_embedded_issuer_s_tokens_are_of_rfc_9068_whatever_else_is_set() -> None:
    assert profile_of(Tokens(profile="relaxed", scope_map="a=mfa:enroll"), audience=AUDIENCE) is RFC_9068


@pytest.mark.parametrize("token_type", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_an_access_token_s_type_is_always_taken(token_type: str) -> None:
    assert RFC_9068.takes_type(token_type)
    assert profile().takes_type(token_type)
    assert relaxed().takes_type(token_type)


@pytest.mark.parametrize("token_type", [None, "JWT", "jwt", "application/jwt"])
def test_a_type_that_says_little_is_taken_by_the_relaxed_profile_alone(token_type: str | None) -> None:
    assert not profile().takes_type(token_type)
    assert relaxed().takes_type(token_type)


@pytest.mark.parametrize("token_type", ["", "dpop+jwt", "logout+jwt", "secevent+jwt", "id+jwt", 1, [], {}, True])
def test_other_types_are_never_taken(token_type: object) -> None:
    assert not profile().takes_type(token_type)
    assert not relaxed().takes_type(token_type)


async def test_the_relaxed_profile_asks_for_less(access: Access) -> None:
    bare = {"client_id": None, "jti": None, "azp": access.application.client_id}
    for protected in ({"typ": None}, {"typ": "JWT"}):
        token = forged(access, protected=protected, payload=bare)
        principal = await access.another_verifier(profile=relaxed()).verify(token)
        assert (principal.client_id, principal.scopes) == (access.application.client_id, SCOPES)
        await refused(access, token)
        with pytest.raises(AccessDenied):
            await access.another_verifier(profile=profile()).verify(token)


@pytest.mark.parametrize("claim", ["exp", "iat", "aud", "iss", "sub"])
async def test_some_claims_are_asked_for_by_every_profile(access: Access, claim: str) -> None:
    for given in (RFC_9068, profile(), relaxed()):
        with pytest.raises(AccessDenied):
            await access.another_verifier(profile=given).verify(forged(access, payload={claim: None}))


async def test_a_token_that_is_bound_to_a_key_is_refused_for_nobody_here_could_ask_for_the_key(access: Access) -> None:
    for given in (RFC_9068, profile(), relaxed()):
        for bound in ({"jkt": "a-thumbprint"}, {"x5t#S256": "a-thumbprint"}, {}, None):
            token = sign(header(access), {**claims(access), "cnf": bound}, private_key(access))
            await refused(access, token)
            with pytest.raises(AccessDenied):
                await access.another_verifier(profile=given).verify(token)


@pytest.mark.parametrize("claim", ["client_id", "jti"])
async def test_rfc_9068_asks_for_the_client_and_an_id_too(access: Access, claim: str) -> None:
    with pytest.raises(AccessDenied):
        await access.another_verifier(profile=profile()).verify(forged(access, payload={claim: None, "azp": "shop"}))


@pytest.mark.parametrize(
    "claims",
    [
        *({name: "x"} for name in ("nonce", "at_hash", "c_hash", "s_hash")),
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        *({**KEYCLOAK, "typ": kind} for kind in ("ID", "Refresh", "Offline", "Logout", "DPoP", "", None, ["Bearer"])),
        *({"token_use": use} for use in ("id", None, 1)),
    ],
    ids=repr,
)
def test_a_token_that_is_seen_to_be_of_another_kind_is_refused(claims: dict[str, Any]) -> None:
    assert as_client(relaxed(), **{"client_id": "shop", **claims}) is None
    assert as_client(RFC_9068, **{"client_id": "shop", **claims}) == "shop"  # whose type says what it is


def test_keycloak_s_and_cognito_s_access_tokens_are_taken() -> None:
    assert as_client(relaxed(), **KEYCLOAK) == "shop"
    assert as_client(relaxed(), client_id="shop", token_use="access") == "shop"


def test_a_token_whose_audience_is_its_own_client_may_be_an_id_token_and_is_refused() -> None:
    assert as_client(relaxed(), azp=AUDIENCE) is None
    assert as_client(profile(), client_id=AUDIENCE) == AUDIENCE


# Whose


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({"client_id": "shop"}, "shop"),
        ({"client_id": "shop", "azp": "bank"}, "shop"),
        ({"azp": "bank"}, "bank"),
        ({"client_id": None, "azp": "bank"}, None),
        ({"client_id": "", "azp": "bank"}, None),
        ({"client_id": ["shop"]}, None),
        ({"azp": 1}, None),
        ({"sub": "shop", "appid": "shop"}, None),
    ],
)
def test_the_client_is_in_client_id_or_else_in_azp(claims: dict[str, Any], client: str | None) -> None:
    assert as_client(relaxed(), **claims) == client


def test_the_client_may_be_in_a_claim_of_the_settings_and_is_then_nowhere_else() -> None:
    named = relaxed(client_claim="appid")
    assert as_client(named, appid="shop", client_id="bank") == "shop"
    assert as_client(named, client_id="bank", azp="bank") is None
    assert set(profile(client_claim="cid").required) == {"exp", "iat", "aud", "iss", "sub", "jti", "cid"}


def test_a_client_id_that_is_longer_than_any_application_s_is_none_and_takes_no_memory() -> None:
    for given in (RFC_9068, profile(), relaxed()):
        assert as_client(given, client_id="c" * 255) == "c" * 255
        assert as_client(given, client_id="c" * 256) is None


# What they allow


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": f"{SCOPE_ENROLL} {SCOPE_AUTHENTICATE}"}, {SCOPE_ENROLL, SCOPE_AUTHENTICATE}),
        ({"scope": SCOPE_ENROLL, "scp": SCOPE_AUTHENTICATE}, {SCOPE_ENROLL}),
        ({"scp": f"{SCOPE_ENROLL} {SCOPE_AUTHENTICATE}"}, {SCOPE_ENROLL, SCOPE_AUTHENTICATE}),
        ({"scp": [SCOPE_ENROLL, f"b {SCOPE_AUTHENTICATE}"]}, {SCOPE_ENROLL}),
        ({"scp": []}, set()),
    ],
)
def test_the_scope_is_in_scope_or_else_in_scp(claims: dict[str, Any], scopes: set[str]) -> None:
    assert profile().scopes(claims) == scopes


@pytest.mark.parametrize(
    "claims", [{"scope": ["a"]}, {"scope": None}, {"scope": 1}, {"scp": [1]}, {"scp": {"a": 1}}, {"scp": None}]
)
def test_a_scope_of_another_shape_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(AccessDenied):
        profile().scopes(claims)


def test_the_embedded_issuer_s_scope_is_in_scope_alone() -> None:
    assert RFC_9068.scopes({"scp": "a"}) == frozenset()


def test_the_scope_may_be_in_a_claim_of_the_settings_text_or_list() -> None:
    named = profile(scope_claim="roles")
    both = {SCOPE_ENROLL, SCOPE_AUTHENTICATE}
    assert named.scopes({"roles": [SCOPE_ENROLL, SCOPE_AUTHENTICATE], "scope": "c"}) == both
    assert named.scopes({"roles": f"{SCOPE_ENROLL} {SCOPE_AUTHENTICATE}"}) == both
    assert named.scopes({"scope": SCOPE_ENROLL, "scp": SCOPE_ENROLL}) == frozenset()


def test_of_a_token_s_scopes_only_those_are_kept_that_mean_something_here() -> None:
    many = " ".join(f"scope-{number}" for number in range(1_000))
    for given in (RFC_9068, profile(), relaxed()):
        assert given.scopes({"scope": f"{many} {SCOPE_ENROLL}"}) == {SCOPE_ENROLL}


def test_an_issuer_s_scopes_stand_for_what_the_settings_say_and_no_other_one_counts() -> None:
    mapped = profile(scope_map="api=mfa:enroll api=mfa:authenticate https://x.example/login=1=mfa:authenticate")
    assert mapped.scopes({"scope": "api"}) == {SCOPE_ENROLL, SCOPE_AUTHENTICATE}
    assert mapped.scopes({"scope": "https://x.example/login=1 other"}) == {SCOPE_AUTHENTICATE}
    assert mapped.scopes({"scope": "mfa:enroll"}) == frozenset()
