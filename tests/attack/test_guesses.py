"""Attacks on the limits of guessing."""

import asyncio
import io
import unicodedata
from collections import Counter
from functools import partial
from pathlib import Path
from typing import cast

import orjson
import pytest

from mfa_service import app
from mfa_service import settings as settings_module
from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.model import Owner
from mfa_service.otp import totp
from tests.api.authenticator import Authenticator
from tests.api.conftest import Serve
from tests.api.service import DEVICE, USER, Caller, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import (
    GONE,
    INVALID,
    NO_CODE,
    NO_DEVICE,
    NO_ROUTE,
    OPENED,
    OUT_OF_REACH,
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

FREE_FAILURES = 5
OVER = (429, "10035")
NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"
ADDRESS_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP")


def most_attempts(caller: Caller) -> int:
    return caller.service.settings.challenge.max_attempts


async def made_to_wait(caller: Caller, phone: Authenticator, device: str = DEVICE, *, user: str = USER) -> None:
    """Give a device wrong codes, each on a challenge of its own, until it waits."""
    opened = [await caller.challenge(device, user=user) for _ in range(FREE_FAILURES)]
    for auth_id, code in zip(opened, phone.wrong_codes(FREE_FAILURES), strict=True):
        assert (await caller.validate(auth_id, code)).outcome == INVALID
    assert (await caller.initiate(device, user=user)).outcome == WAITS


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


@attack("L-08")
async def test_a_hundred_wrong_codes_over_ten_days_block_a_device_for_good(
    tmp_path: Path, clock: ManualClock, valkey: Deployment
) -> None:
    prefix = "a-hundred-wrong-codes"
    flags = {"redis.url": valkey.url, "redis.key_prefix": prefix}
    async with serving(tmp_path, clock, flags) as service:
        shop = await service.onboard()
        phone = await shop.enrolled()
        for number in range(100):
            assert (await shop.validate(await shop.challenge(), phone.wrong_code())).outcome == INVALID
            await service.advance(10 * 86_400 / 100)
            assert (await shop.row()).status == ("BLOCKED" if number == 99 else "ACTIVE")
        assert (await shop.initiate()).outcome == WAITS
    for key in valkey.servers[0].client.scan_iter(f"{prefix}*"):
        valkey.servers[0].client.delete(key)
    async with serving(tmp_path, clock, flags) as service:
        again = Caller(service, shop.application, shop.client_secret)
        await service.advance(365 * 86_400)
        answer = await again.initiate()
        assert (answer.outcome, "Retry-After" in answer.headers) == (WAITS, False)
        assert (await again.pair()).json["code"] == "10010"
        await service.registry.devices.unlock(Owner(shop.application.id, USER), DEVICE)
        fresh = Authenticator(phone.totp.provisioning_uri(), clock)
        assert (await again.validate(await again.challenge(), fresh.code())).outcome == PASS


@attack("L-09")
@pytest.mark.parametrize("users", [1, 10_000])
async def test_one_application_that_asks_too_much_is_told_so_and_no_other_one(serve: Serve, users: int) -> None:
    rate, burst, a_second = 50, 50, 500
    service = await serve({"quota.requests_per_s": rate, "quota.burst": burst})
    shop, bank = await service.onboard("shop"), await service.onboard("bank")
    await shop.enrolled(user="user 0")
    await bank.enrolled()
    await service.advance(10)
    outcomes: Counter[tuple[int, str | None]] = Counter()
    requests = max(a_second, times(users))
    for number in range(requests):
        answer = await shop.initiate(user=f"user {number % times(users)}")
        outcomes[answer.outcome] += 1
        if answer.outcome == OVER:
            assert int(answer.headers["Retry-After"]) >= 1
        service.clock.advance(1 / a_second)
        if number % 50 == 0:
            await service.duties.do()
            assert (await bank.devices()).status == 200
    assert outcomes.keys() <= {OPENED, NO_DEVICE, OVER}
    let_pass = requests - outcomes[OVER]
    allowed = burst + requests / a_second * rate
    assert allowed * 0.8 <= let_pass <= allowed + rate / 10 + 1


@attack("L-10", "H-18")
async def test_no_header_that_tells_a_client_address_widens_a_limit(caller: Caller) -> None:
    phone = await caller.enrolled()
    opened = [await caller.challenge() for _ in range(20)]
    outcomes = []
    for number, auth_id in enumerate(opened):
        headers = dict.fromkeys(ADDRESS_HEADERS, f"for=198.51.100.{number}")
        content = {"deviceType": "TOTP", "otp": phone.wrong_code()}
        outcomes.append((await caller.call("POST", f"/deviceAuthentications/{auth_id}", content, headers)).outcome)
    assert outcomes == [INVALID] * FREE_FAILURES + [WAITS] * 15


@attack("L-11")
async def test_the_spellings_of_a_name_are_one_budget_or_no_names(caller: Caller) -> None:
    user = "Ren\u00e9e"
    phone = await caller.enrolled(user=user)
    spellings = [user, unicodedata.normalize("NFD", user)] * 10
    opened = [await caller.challenge(user=spelling) for spelling in spellings]
    answers = [await caller.validate(auth_id, phone.wrong_code()) for auth_id in opened]
    assert [answer.outcome for answer in answers] == [INVALID] * FREE_FAILURES + [WAITS] * 15
    for other in (user.lower(), user.upper(), "Renee"):  # other users, who have no device
        assert (await caller.initiate(user=other)).outcome == NO_DEVICE
    for none in (f" {user}", f"{user} ", f"{user}\u200b", f"{user}\u00ad", f"\ufeff{user}", f"{user}\t"):
        assert (await caller.initiate(user=none)).outcome == UNFIT
    assert (await caller.row(user=user)).failures == FREE_FAILURES


@attack("L-12")
@pytest.mark.parametrize("topology", ["valkey", "valkey_sentinel", "valkey_cluster"])
def test_no_kind_of_redis_and_no_restart_gives_a_guess_more(
    request: pytest.FixtureRequest, topology: str, tmp_path: Path, clock: ManualClock
) -> None:
    deployment: Deployment = request.getfixturevalue(topology)
    flags = {"redis.url": deployment.url, "redis.key_prefix": f"guesses-{topology}", "redis.deadline_ms": 5_000}

    async def act() -> None:
        async with serving(tmp_path, clock, flags) as service:
            shop = await service.onboard()
            phone, tablet = await shop.enrolled(), await shop.enrolled("Tablet")
            one, many = await shop.challenge(), [await shop.challenge("Tablet") for _ in range(40)]
            for code in phone.wrong_codes(3):
                assert (await shop.validate(one, code)).outcome == INVALID
            for auth_id in many[:3]:
                assert (await shop.validate(auth_id, tablet.wrong_code())).outcome == INVALID
        async with serving(tmp_path, clock, flags) as service:
            again = Caller(service, shop.application, shop.client_secret)
            outcomes = [(await again.validate(one, code)).outcome for code in phone.wrong_codes(4)]
            assert outcomes == [INVALID] * 2 + [SPENT] * 2
            outcomes = [(await again.validate(auth_id, tablet.wrong_code())).outcome for auth_id in many[3:]]
            assert outcomes == [INVALID] * 2 + [WAITS] * 35
            assert (await again.row()).failures == (await again.row("Tablet")).failures == FREE_FAILURES

    asyncio.run(act())


@attack("L-13")
async def test_a_fault_after_a_wrong_code_gives_no_guess_back(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    devices = shop.service.registry.devices
    charge = devices.charge

    async def breaks(device_id: str) -> object:
        await charge(device_id)
        raise StoreUnavailable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(devices, "charge", breaks)
        for number, code in enumerate(phone.wrong_codes(4), start=1):
            assert (await shop.validate(auth_id, code)).outcome == OUT_OF_REACH
            assert (await shop.row()).failures == number
    assert (await shop.validate(auth_id, phone.wrong_code())).outcome == INVALID
    assert (await shop.validate(auth_id, phone.code())).outcome == SPENT
    assert (await shop.initiate()).outcome == WAITS


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


@attack("L-16")
async def test_an_operator_s_unlocking_clears_everything_on_every_node_at_once(caller: Caller) -> None:
    phone = await caller.enrolled()
    await made_to_wait(caller, phone)
    await caller.service.registry.devices.unlock(Owner(caller.application.id, USER), DEVICE)
    row = await caller.row()
    assert (row.failures, row.locked_until_ms, row.status) == (0, 0, "ACTIVE")
    for code in (phone.code(), phone.code(steps=1)):  # on one node, then on the other
        assert (await caller.initiate()).outcome == OPENED
        assert (await caller.validate(await caller.challenge(), code)).outcome == PASS
    await made_to_wait(caller, phone)
    assert 0 < int((await caller.initiate()).headers["Retry-After"]) <= 30  # the first wait again


@attack("L-17")
@pytest.mark.parametrize(
    "key",
    [
        *("challenge.max_attempts", "challenge.ttl_s", "challenge.activation_ttl_s"),
        *("guessing.free_failures", "guessing.first_wait_s", "guessing.longest_wait_s", "guessing.disable_after"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, 10**9, "x", 1.5])
def test_no_limit_can_be_set_to_none(key: str, value: object) -> None:
    with pytest.raises(SettingsInvalid, match=key.replace(".", r"\.")):
        settings_module.load(config_path=None, environment={}, flags={key: value})


@attack("L-17")
@pytest.mark.parametrize(
    "flags",
    [
        {"guessing.free_failures": 100, "guessing.first_wait_s": 1, "guessing.longest_wait_s": 1},
        {"guessing.free_failures": 50, "otp.window_steps": 2},
    ],
)
def test_limits_that_leave_a_guesser_too_much_are_refused_at_start(flags: dict[str, object]) -> None:
    settings = settings_module.load(config_path=None, environment={}, flags=flags).settings
    with pytest.raises(SettingsInvalid, match=r"guessing\.free_failures.*once in"):
        app.refuse_unfit(settings)


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
