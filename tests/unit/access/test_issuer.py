"""`ClientCredentialsIssuer`: who gets a token, and what stands in it."""

import os

import pytest
from joserfc import jwt as other_jwt
from joserfc.jwk import KeySet

from mfa_service.access import issuer as issuer_module
from mfa_service.access.applications import rotate_secret
from mfa_service.errors import ClientRefused, ScopeRefused, StoreUnavailable
from mfa_service.model import SCOPE_ENROLL, TokenRequest
from tests.unit.access.conftest import AUDIENCE, ISSUER, LIFE_S, SCOPES, Access


def read(access: Access, token: str) -> other_jwt.Token:
    """A token as another library reads it, with nothing but the published keys."""
    return other_jwt.decode(token, KeySet.import_key_set(access.signing.jwks()))  # type: ignore[arg-type]  # JSON


async def test_a_token_has_the_header_and_claims_of_rfc_9068(access: Access) -> None:
    token = read(access, await access.token())
    now_s = access.clock.now_ms() // 1000
    jti = token.claims.pop("jti")
    assert token.header == {"alg": "RS256", "typ": "at+jwt", "kid": access.material.id}
    assert token.claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": access.application.client_id,
        "client_id": access.application.client_id,
        "iat": now_s,
        "exp": now_s + LIFE_S,
        "scope": "mfa:authenticate mfa:enroll",
    }
    assert len(bytes.fromhex(jti)) == 16


async def test_the_answer_says_how_long_and_for_what_the_token_is_good(access: Access) -> None:
    issued = await access.issuer.issue(access.request())
    assert issued.expires_in_s == LIFE_S
    assert issued.scopes == SCOPES
    assert issued.access_token not in repr(issued)


async def test_no_token_id_comes_twice(access: Access) -> None:
    assert len({read(access, await access.token()).claims["jti"] for _ in range(100)}) == 100


async def test_fewer_scopes_are_given_where_fewer_are_asked_for(access: Access) -> None:
    issued = await access.issuer.issue(access.request(scopes=frozenset({SCOPE_ENROLL})))
    assert issued.scopes == {SCOPE_ENROLL}
    assert read(access, issued.access_token).claims["scope"] == SCOPE_ENROLL


async def test_a_token_for_no_scope_has_no_scope_claim(access: Access) -> None:
    assert "scope" not in read(access, await access.token(scopes=frozenset())).claims


@pytest.mark.parametrize("scope", ["admin", "MFA:enroll", "mfa:enrol", ""])
async def test_a_scope_that_the_client_does_not_have_is_refused(access: Access, scope: str) -> None:
    with pytest.raises(ScopeRefused):
        await access.issuer.issue(access.request(scopes=SCOPES | {scope}))


@pytest.mark.parametrize("client_secret", ["", "wrong", "\ud800", "é"])
async def test_a_wrong_secret_is_refused(access: Access, client_secret: str) -> None:
    with pytest.raises(ClientRefused):
        await access.issuer.issue(access.request(client_secret=client_secret))


async def test_a_secret_counts_whole(access: Access) -> None:
    for near in (access.client_secret[:-1], access.client_secret + "A", access.client_secret.swapcase()):
        with pytest.raises(ClientRefused):
            await access.issuer.issue(access.request(client_secret=near))


@pytest.mark.parametrize("basic", [True, False])
async def test_a_refusal_says_only_how_the_credentials_came(access: Access, *, basic: bool) -> None:
    for client_id in (access.application.client_id, "nobody"):
        with pytest.raises(ClientRefused) as refusal:
            await access.issuer.issue(TokenRequest(client_id, "wrong", None, basic=basic))
        assert refusal.value.basic is basic
        assert str(refusal.value) == "client refused"


async def test_a_wrong_secret_and_an_unknown_client_are_both_compared_once(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    class CountingHmac:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return one == other

    monkeypatch.setattr(issuer_module, "hmac", CountingHmac)
    for client_id in (access.application.client_id, "nobody"):
        with pytest.raises(ClientRefused):
            await access.issuer.issue(TokenRequest(client_id, "wrong", None, basic=False))
    assert compared == [(32, 32), (32, 32)]


async def test_a_disabled_application_gets_no_token_from_the_next_call_on(access: Access) -> None:
    await access.applications.set_disabled(access.application.id, disabled=True)
    with pytest.raises(ClientRefused):
        await access.token()
    await access.applications.set_disabled(access.application.id, disabled=False)
    assert await access.token()


async def test_a_rotated_secret_holds_from_the_next_call_on(access: Access) -> None:
    hashes, client_secret = rotate_secret(access.application, grace_s=0, clock=access.clock, random_bytes=os.urandom)
    await access.applications.set_secrets(access.application.id, hashes)
    with pytest.raises(ClientRefused):
        await access.token()
    assert await access.issuer.issue(access.request(client_secret=client_secret))


async def test_the_old_secret_is_good_up_to_the_end_of_its_grace(access: Access) -> None:
    hashes, client_secret = rotate_secret(access.application, grace_s=60, clock=access.clock, random_bytes=os.urandom)
    await access.applications.set_secrets(access.application.id, hashes)
    access.clock.advance(59.999)
    assert await access.issuer.issue(access.request())
    assert await access.issuer.issue(access.request(client_secret=client_secret))
    access.clock.advance(0.001)
    with pytest.raises(ClientRefused):
        await access.issuer.issue(access.request())
    assert await access.issuer.issue(access.request(client_secret=client_secret))


async def test_an_application_without_a_secret_gets_no_token(access: Access) -> None:
    await access.applications.set_secrets(access.application.id, ())
    for client_secret in ("", access.client_secret):
        with pytest.raises(ClientRefused):
            await access.issuer.issue(access.request(client_secret=client_secret))


async def test_a_registry_out_of_reach_is_no_refusal(access: Access) -> None:
    access.applications.out_of_reach = True
    with pytest.raises(StoreUnavailable):
        await access.token()
