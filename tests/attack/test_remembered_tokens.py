"""Attacks on what is remembered of tokens."""

import os

import pytest

from mfa_service.access import verifier as verifier_module
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.verifier import JwtVerifier
from tests.api.service import Caller
from tests.attack.cases import attack
from tests.attack.forging import INVALID_TOKEN, Insider, asked, insider, signing_keys
from tests.attack.memory import resident_bytes
from tests.attack.outcomes import EXPIRED, NO_DEVICE
from tests.attack.scale import times
from tests.unit.access.forging import sign

LEEWAY_S = 10


@attack("J-17")
async def test_a_token_that_ends_while_it_is_remembered_is_refused(shop: Caller) -> None:
    mole = await insider(shop)
    token = mole.forged(claims={"exp": shop.service.clock.now_ms() // 1000 + 5})
    for passing_s in (0, 5, LEEWAY_S - 0.001):
        await shop.service.advance(passing_s)
        assert (await asked(shop, token)).outcome == NO_DEVICE
    await shop.service.advance(0.001)
    answer = await asked(shop, token)
    assert (answer.outcome, answer.headers["WWW-Authenticate"]) == (EXPIRED, INVALID_TOKEN)


@attack("J-18")
async def test_a_million_tokens_are_not_all_remembered(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    mole = await insider(shop)
    most = times(verifier_module._REMEMBERED)
    monkeypatch.setattr(verifier_module, "_REMEMBERED", most)
    verifier = await verifier_like(shop, mole)
    header, claims = mole.good.header, mole.good.claims
    before = resident_bytes(os.getpid())
    for number in range(times(1_000_000)):
        token = sign(header, {**claims, "jti": f"{number:032x}"}, mole.key, algorithm="ES256")
        assert (await verifier.verify(token)).client_id == claims["client_id"]
        assert len(verifier._verdicts) <= most
    assert len(verifier._verdicts) == most
    assert resident_bytes(os.getpid()) - before < 64 * 2**20


async def verifier_like(caller: Caller, mole: Insider) -> JwtVerifier:
    """A verifier that takes what the service takes, and whose verdicts can be counted."""
    table = ApplicationTable(caller.service.registry.applications, clock=caller.service.clock)
    await table.refresh()
    return JwtVerifier(
        keys=await signing_keys(caller),
        applications=table,
        clock=caller.service.clock,
        issuer=mole.good.claims["iss"],
        audience=mole.good.claims["aud"],
        leeway_s=LEEWAY_S,
    )
