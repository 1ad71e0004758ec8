"""Attacks on the limits of guessing and asking: over days, restarts, faults, addresses and settings."""

import asyncio
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from mfa_service import app
from mfa_service import settings as settings_module
from mfa_service.errors import SettingsInvalid, StoreUnavailable
from mfa_service.model import Owner
from tests.api.authenticator import Authenticator
from tests.api.conftest import Serve
from tests.api.service import DEVICE, USER, Caller, serving
from tests.attack.cases import attack
from tests.attack.guessing import FREE_FAILURES, made_to_wait
from tests.attack.outcomes import (
    INVALID,
    NO_DEVICE,
    OPENED,
    OUT_OF_REACH,
    PASS,
    SPENT,
    UNFIT,
    WAITS,
)
from tests.attack.scale import times
from tests.clocks import ManualClock
from tests.servers.valkey import Deployment

OVER = (429, "10035")
ADDRESS_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP")


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
