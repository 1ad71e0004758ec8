"""`JwtVerifier`: which tokens stand for whom, and for how long that is remembered."""

from dataclasses import replace
from typing import Any

import jwt
import pytest

from mfa_service.access import verifier as verifier_module
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import AccessDenied, StoreUnavailable, TokenExpired
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, Principal
from tests.unit.access.conftest import AUDIENCE, ISSUER, LEEWAY_S, LIFE_S, SCOPES, Access
from tests.unit.access.forging import claims, forged, header, private_key, sign


async def refused(access: Access, token: str) -> None:
    with pytest.raises(AccessDenied) as refusal:
        await access.verifier.verify(token)
    assert refusal.value.presented
    assert str(refusal.value) == "access denied"
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every token whose signature is checked."""
    checked: list[str] = []
    decode = jwt.decode

    def noting(token: str, *args: Any, **options: Any) -> object:  # noqa: ANN401  whatever PyJWT takes
        checked.append(token)
        return decode(token, *args, **options)

    monkeypatch.setattr(jwt, "decode", noting)
    return checked


# Good tokens


async def test_a_token_of_the_embedded_issuer_stands_for_its_application(access: Access) -> None:
    principal = await access.verifier.verify(await access.token())
    assert principal == Principal(access.application.id, access.application.client_id, SCOPES)


async def test_a_token_allows_the_scopes_it_was_asked_with(access: Access) -> None:
    token = await access.token(scopes=frozenset({SCOPE_ENROLL}))
    assert (await access.verifier.verify(token)).scopes == {SCOPE_ENROLL}


async def test_a_token_of_another_library_is_as_good(access: Access) -> None:
    assert (await access.verifier.verify(forged(access))).scopes == SCOPES


@pytest.mark.parametrize("token_type", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/at+JWT"])
async def test_an_access_token_s_type_is_a_media_type(access: Access, token_type: str) -> None:
    assert await access.verifier.verify(forged(access, protected={"typ": token_type}))


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["urn:other", AUDIENCE]])
async def test_the_audience_may_be_one_of_several(access: Access, aud: object) -> None:
    assert await access.verifier.verify(forged(access, payload={"aud": aud}))


async def test_a_token_without_a_scope_allows_nothing(access: Access) -> None:
    assert (await access.verifier.verify(forged(access, payload={"scope": None}))).scopes == frozenset()


async def test_a_token_allows_no_scope_that_its_application_does_not_have(access: Access) -> None:
    token = forged(access, payload={"scope": f"admin {SCOPE_ENROLL}"})
    assert (await access.verifier.verify(token)).scopes == {SCOPE_ENROLL}


async def test_a_scope_taken_from_an_application_is_gone_from_its_remembered_tokens(access: Access) -> None:
    token = await access.token()
    assert (await access.verifier.verify(token)).scopes == SCOPES
    access.applications.by_id[access.application.id] = replace(
        access.application, scopes=frozenset({SCOPE_AUTHENTICATE})
    )
    await access.table.refresh()
    assert (await access.verifier.verify(token)).scopes == {SCOPE_AUTHENTICATE}


# Time


async def test_a_token_is_good_to_the_end_of_the_leeway_and_no_longer(access: Access) -> None:
    token = await access.token()
    await access.pass_time(LIFE_S + LEEWAY_S - 0.001)
    assert await access.verifier.verify(token)
    await access.pass_time(0.001)
    with pytest.raises(TokenExpired):
        await access.verifier.verify(token)


@pytest.mark.parametrize("age_s", [LEEWAY_S, LEEWAY_S + 1, 100_000])
async def test_a_token_that_was_never_seen_before_it_expired_is_called_expired(access: Access, age_s: int) -> None:
    token = forged(access, payload={"exp": access.clock.now_ms() // 1000 - age_s})
    with pytest.raises(TokenExpired):
        await access.verifier.verify(token)


async def test_a_token_just_expired_is_good_within_the_leeway(access: Access) -> None:
    assert await access.verifier.verify(forged(access, payload={"exp": access.clock.now_ms() // 1000 - LEEWAY_S + 1}))


async def test_a_token_that_expires_while_it_is_remembered_is_refused_without_a_signature_check(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = count_decoding(monkeypatch)
    token = forged(access, payload={"exp": access.clock.now_ms() // 1000 + 5})
    await access.verifier.verify(token)
    await access.pass_time(5 + LEEWAY_S)
    with pytest.raises(TokenExpired):
        await access.verifier.verify(token)
    assert checked == [token]


async def test_an_expiry_between_two_seconds_counts_in_milliseconds(access: Access) -> None:
    token = forged(access, payload={"exp": access.clock.now_ms() / 1000 + 0.5})
    await access.pass_time(LEEWAY_S + 0.499)
    assert await access.verifier.verify(token)
    await access.pass_time(0.001)
    with pytest.raises(TokenExpired):
        await access.verifier.verify(token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_of_the_future_is_refused_beyond_the_leeway(access: Access, claim: str) -> None:
    now_s = access.clock.now_ms() // 1000
    assert await access.verifier.verify(forged(access, payload={claim: now_s + LEEWAY_S}))
    await refused(access, forged(access, payload={claim: now_s + LEEWAY_S + 1}))


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("moment", ["1800003600", True, [], {}, -1, 10**20, 10**400, float("inf"), float("nan")])
async def test_a_moment_that_is_no_number_of_this_age_is_refused(access: Access, claim: str, moment: object) -> None:
    await refused(access, forged(access, payload={claim: moment}))


async def test_a_forged_token_is_not_called_expired(access: Access) -> None:
    past = {"exp": access.clock.now_ms() // 1000 - 1000}
    await refused(access, forged(access, payload=past)[:-4] + "AAAA")
    await refused(access, forged(access, payload={**past, "aud": "urn:other"}))
    await refused(access, forged(access, payload={**past, "client_id": "nobody"}))


@pytest.mark.parametrize("leeway_s", [-1, 31])
async def test_a_leeway_over_thirty_seconds_is_refused(access: Access, leeway_s: int) -> None:
    with pytest.raises(ValueError, match="0 to 30 s"):
        access.another_verifier(leeway_s=leeway_s)


@pytest.mark.parametrize(("issuer", "audience"), [("", AUDIENCE), (ISSUER, "")])
async def test_a_verifier_needs_an_issuer_and_an_audience(access: Access, issuer: str, audience: str) -> None:
    with pytest.raises(ValueError, match="needed"):
        JwtVerifier(
            keys=access.signing,
            applications=access.table,
            clock=access.clock,
            issuer=issuer,
            audience=audience,
            leeway_s=0,
        )


# Applications


async def test_a_remembered_token_of_a_disabled_application_is_refused(access: Access) -> None:
    token = await access.token()
    await access.verifier.verify(token)
    await access.disable()
    await refused(access, token)
    await access.applications.set_disabled(access.application.id, disabled=False)
    await access.table.refresh()
    assert await access.verifier.verify(token)


async def test_a_remembered_token_of_a_removed_application_is_refused(access: Access) -> None:
    token = await access.token()
    await access.verifier.verify(token)
    await access.applications.remove(access.application.id, with_devices=True)
    await access.table.refresh()
    await refused(access, token)


async def test_a_well_signed_token_of_an_unknown_client_is_refused(access: Access) -> None:
    await refused(access, forged(access, payload={"client_id": "nobody", "sub": "nobody"}))


async def test_an_expired_token_of_a_disabled_application_is_not_called_expired(access: Access) -> None:
    token = await access.token()
    await access.pass_time(LIFE_S + LEEWAY_S)
    await access.disable()
    await refused(access, token)


async def test_an_outdated_table_of_applications_lets_nobody_in(access: Access) -> None:
    token = await access.token()
    await access.verifier.verify(token)
    access.clock.advance(5.001)
    with pytest.raises(StoreUnavailable):
        await access.verifier.verify(token)


# What is remembered


async def test_a_token_is_checked_once_a_minute(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = count_decoding(monkeypatch)
    token = await access.token()
    for _ in range(100):
        await access.verifier.verify(token)
    assert checked == [token]
    await access.pass_time(60)
    await access.verifier.verify(token)
    assert checked == [token, token]


async def test_a_key_that_leaves_the_set_takes_its_remembered_tokens_with_it(access: Access) -> None:
    token = await access.token()
    await access.verifier.verify(token)
    access.keys.remove(access.material.id)
    await access.keyring.refresh()
    await refused(access, token)


async def test_no_more_than_so_many_tokens_are_remembered(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_REMEMBERED", 5)
    checked = count_decoding(monkeypatch)
    tokens = [await access.token() for _ in range(8)]
    for token in tokens:
        await access.verifier.verify(token)
    assert len(access.verifier._verdicts) == 5
    for token in tokens[3:]:
        await access.verifier.verify(token)
    assert len(checked) == 8
    await access.verifier.verify(tokens[0])
    assert len(checked) == 9


async def test_a_refused_token_is_not_remembered(access: Access) -> None:
    await refused(access, forged(access, payload={"aud": "urn:other"}))
    assert not access.verifier._verdicts


async def test_no_token_is_kept_or_shown(access: Access) -> None:
    token = await access.token()
    principal = await access.verifier.verify(token)
    ((digest, verdict),) = access.verifier._verdicts.items()
    assert len(digest) == 32
    shown = repr((verdict, principal, access.verifier))
    assert not any(segment in shown for segment in token.split("."))


async def test_two_tokens_that_differ_in_their_signature_alone_are_told_apart(access: Access) -> None:
    good = await access.token()
    await access.verifier.verify(good)
    other = sign(header(access), claims(access), private_key(access))
    head, payload, _ = good.split(".")
    await refused(access, f"{head}.{payload}.{other.rsplit('.', 1)[1]}")


async def test_a_token_of_the_second_of_its_application_s_onboarding_is_good_without_a_leeway_too(
    access: Access,
) -> None:
    now_s = access.clock.now_ms() // 1000
    onboarded = replace(access.application, created_at_ms=now_s * 1000 + 999)
    access.applications.by_id[onboarded.id] = onboarded
    await access.table.refresh()
    verifier = access.another_verifier(leeway_s=0)
    assert await verifier.verify(forged(access, payload={"iat": now_s}))
    with pytest.raises(AccessDenied):
        await verifier.verify(forged(access, payload={"iat": now_s - 1}))
