"""Attacks on what a guess costs, on one challenge and on one device."""

import asyncio
import io
from collections import Counter
from functools import partial
from pathlib import Path
from typing import cast

import orjson
import pytest

from mfa_service.otp import totp
from tests.api.conftest import Serve
from tests.api.service import DEVICE, USER, Caller, serving
from tests.attack.cases import attack
from tests.attack.guessing import FREE_FAILURES, NOBODYS_ID, made_to_wait, most_attempts
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import (
    GONE,
    INVALID,
    NO_CODE,
    NO_ROUTE,
    PASS,
    SPENT,
    UNFIT,
    WAITS,
    told,
)
from tests.attack.scale import times
from tests.attack.setups import TwoNodes, neighbour
from tests.clocks import ManualClock
from tests.servers.valkey import Deployment


@attack("L-01")
async def test_a_challenge_takes_so_many_wrong_codes_and_is_dead(caller: Caller) -> None:
    phone = await caller.enrolled()
    auth_id = await caller.challenge()
    for code in phone.wrong_codes(most_attempts(caller)):
        assert (await caller.validate(auth_id, code)).outcome == INVALID
    for code in (phone.wrong_code(), phone.code(), phone.code()):
        answer = await caller.validate(auth_id, code)
        assert (answer.outcome, "Retry-After" in answer.headers) == (SPENT, False)


@attack("L-02")
async def test_no_guess_keeps_a_challenge_alive(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    for _ in range(3):
        await shop.service.advance(99.9)
        assert (await shop.validate(auth_id, phone.wrong_code())).outcome == INVALID
    await shop.service.advance(0.3)
    assert (await shop.validate(auth_id, phone.code())).outcome == GONE


@attack("L-02")
async def test_no_guess_moves_a_challenge_s_deadline_in_redis(nodes: TwoNodes, valkey: Deployment) -> None:
    caller = await nodes.onboard()
    phone = await caller.enrolled()
    key = f"{nodes.site.key_prefix}:c:{await caller.challenge()}"
    before_ms = cast("int", valkey.servers[0].command("PEXPIRETIME", key))
    assert (await caller.validate(key.rpartition(":")[2], phone.wrong_code())).outcome == INVALID
    assert (await caller.validate(key.rpartition(":")[2], phone.code())).outcome == PASS
    assert valkey.servers[0].command("PEXPIRETIME", key) == before_ms


@attack("L-03")
async def test_forty_challenges_are_one_budget(caller: Caller) -> None:
    phone = await caller.enrolled()
    opened = [await caller.challenge() for _ in range(40)]
    answers = [await caller.validate(auth_id, phone.wrong_code()) for auth_id in opened]
    assert [answer.outcome for answer in answers] == [INVALID] * FREE_FAILURES + [WAITS] * 35
    assert all(0 < int(answer.headers["Retry-After"]) <= 30 for answer in answers[FREE_FAILURES:])
    assert (await caller.row()).failures == FREE_FAILURES


@attack("L-04")
async def test_a_right_code_begins_the_count_in_a_row_anew(caller: Caller) -> None:
    phone = await caller.enrolled()
    for code in (phone.code(), phone.code(steps=1)):
        for wrong in phone.wrong_codes(FREE_FAILURES - 1):
            assert (await caller.validate(await caller.challenge(), wrong)).outcome == INVALID
        assert (await caller.row()).failures == FREE_FAILURES - 1
        assert (await caller.validate(await caller.challenge(), code)).outcome == PASS
    row = await caller.row()
    assert (row.failures, row.slow_failures) == (0, 2 * (FREE_FAILURES - 1))


@attack("L-04")
async def test_guesses_between_right_codes_are_told_to_operators(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            phone = await shop.enrolled()
            for _ in range(6):
                for wrong in phone.wrong_codes(4):
                    assert (await shop.validate(await shop.challenge(), wrong)).outcome == INVALID
                assert (await shop.validate(await shop.challenge(), phone.code())).outcome == PASS
                await service.advance(86_400)
    alerts = [orjson.loads(line) for line in stream.getvalue().splitlines() if "device_guessed_at" in line]
    assert [(alert["level"], alert["failures"]) for alert in alerts] == [("warning", 20)]


@attack("L-05")
async def test_after_a_wait_one_wrong_code_makes_a_longer_one(shop: Caller) -> None:
    phone = await shop.enrolled()
    spent = await shop.challenge()
    for code in phone.wrong_codes(5):
        assert (await shop.validate(spent, code)).outcome == INVALID
    for wait_s in (30, 60, 120, 240):
        assert (await shop.initiate()).headers["Retry-After"] == str(wait_s)
        await shop.service.advance(wait_s)
        assert (await shop.validate(spent, phone.code())).outcome in (SPENT, GONE)
        assert (await shop.validate(await shop.challenge(), phone.wrong_code())).outcome == INVALID


@attack("L-06")
async def test_no_way_in_weighs_a_code_of_a_waiting_device(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await shop.enrolled()
    tablet, activation = await shop.pending("Tablet")
    before = await shop.challenge()
    await made_to_wait(shop, phone)
    with monkeypatch.context() as patch:
        patch.setattr(totp, "match", _refuse_to_weigh)
        patch.setattr(totp, "matches_step", _refuse_to_weigh)
        for code in (phone.code(), phone.wrong_code()):
            assert (await shop.validate(before, code)).outcome == WAITS
            content = {"userName": USER, "deviceName": DEVICE, "deviceType": "TOTP"}
            for explicit in ("deviceId", "id", "authId"):
                answer = await shop.call("POST", "/deviceAuthentications", {**content, explicit: NOBODYS_ID})
                assert answer.outcome == UNFIT
            assert (await shop.initiate()).outcome == WAITS
            for path in ("/deviceAuthentication", "/devices/authenticate", f"/deviceAuthentications/{before}/verify"):
                assert (await shop.call("POST", path, {"deviceType": "TOTP", "otp": code})).outcome == NO_ROUTE
            assert (await shop.activate(before, code)).outcome == GONE
            assert (await shop.activate(activation, code[:5])).outcome == NO_CODE
        url = f"{shop.service.url}/ciam-mfa/v1/deviceAuthentications/{before}"
        async with shop.service.session.post(url, json={}, headers=await shop.bearer()) as other_version:
            assert other_version.status == 404
    assert (await shop.row()).failures == FREE_FAILURES
    assert (await shop.activate(activation, tablet.code())).outcome == PASS  # it waits for itself alone


def _refuse_to_weigh(*_: object, **__: object) -> None:
    raise AssertionError("a code was weighed")


@attack("L-07")
async def test_nobody_else_waits_with_a_device(caller: Caller) -> None:
    phone, tablet = await caller.enrolled(), await caller.enrolled("Tablet")
    bobs = await caller.enrolled(user="bob")
    elsewhere = await neighbour(caller)
    namesake = await elsewhere.enrolled()
    await made_to_wait(caller, phone)
    assert (await caller.validate(await caller.challenge("Tablet"), tablet.code())).outcome == PASS
    assert (await caller.validate(await caller.challenge(user="bob"), bobs.code())).outcome == PASS
    assert (await elsewhere.validate(await elsewhere.challenge(), namesake.code())).outcome == PASS


@attack("L-14")
async def test_what_is_no_guess_costs_nobody_anything(caller: Caller) -> None:
    phone = await caller.enrolled()
    bank = await neighbour(caller)
    auth_id, before = await caller.challenge(), await caller.row()
    await bank.bearer()
    acts = [
        partial(caller.validate, auth_id, "12345"),
        partial(caller.validate, auth_id, "abcdef"),
        partial(caller.validate, NOBODYS_ID, phone.wrong_code()),
        partial(bank.validate, auth_id, phone.wrong_code()),
        partial(caller.activate, auth_id, phone.wrong_code()),
    ]
    for _ in range(times(10_000) // len(acts) // 4):
        await asyncio.gather(*(act() for act in acts * 4))
    after = await caller.row()
    assert (after.failures, after.locked_until_ms) == (before.failures, before.locked_until_ms) == (0, 0)
    assert (await caller.validate(auth_id, phone.code())).outcome == PASS


@attack("L-15")
async def test_refusals_tell_no_more_than_what_they_are(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id, other = await shop.challenge(), await shop.challenge()
    wrong = [await shop.validate(auth_id, code) for code in phone.wrong_codes(5)]
    assert len({(answer.status, str(sorted(told(answer)[1].items()))) for answer in wrong}) == 1
    spent, waits = await shop.validate(auth_id, phone.code()), await shop.validate(other, phone.code())
    assert (spent.outcome, waits.outcome) == (SPENT, WAITS)
    for answer in (*wrong, spent, waits):
        assert answer.json.keys() == {"status", "code", "message", "traceId", "timestamp"}
    documented = {"Retry-After"}
    assert waits.headers.keys() - spent.headers.keys() == documented
    assert spent.headers.keys() == wrong[0].headers.keys()
    right_on_a_waiting, wrong_on_a_waiting = waits, await shop.validate(other, phone.wrong_code())
    assert told(right_on_a_waiting) == told(wrong_on_a_waiting)


@attack("L-18")
async def test_wrong_activation_codes_end_the_pending_device_alone(caller: Caller) -> None:
    phone = await caller.enrolled()
    tablet, auth_id = await caller.pending("Tablet")
    outcomes = [(await caller.activate(auth_id, code)).outcome for code in tablet.wrong_codes(most_attempts(caller))]
    assert outcomes == [INVALID] * most_attempts(caller)
    assert (await caller.activate(auth_id, tablet.code())).outcome in (SPENT, GONE)
    assert [device["deviceName"] for device in (await caller.devices()).json] == [DEVICE]
    assert (await caller.row()).failures == 0
    assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS


@attack("L-18")
async def test_activations_anew_make_no_way_to_guess_on(serve: Serve) -> None:
    shop = await (await serve({"device.max_per_user": 1})).onboard()
    outcomes: Counter[tuple[int, str | None]] = Counter()
    secrets = set()
    for _ in range(10):
        phone, auth_id = await shop.pending()
        secrets.add(phone.totp.secret)
        for code in phone.wrong_codes(6):
            outcomes[(await shop.activate(auth_id, code)).outcome] += 1
    assert outcomes == {INVALID: 50, SPENT: 10}
    assert len(secrets) == 10
