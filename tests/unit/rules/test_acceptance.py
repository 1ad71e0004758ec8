"""How one code is weighed where the row and the challenge do not agree, on the real registry and challenges."""

import asyncio
import dataclasses
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfa_service.errors import (
    ChallengeNotFound,
    ChallengeSpent,
    ClockSkewed,
    DeviceWaits,
    StoreUnavailable,
    UsedOtp,
    WrongOtp,
)
from mfa_service.model import Acceptance, Challenge, Credential, NewDevice, Owner, Purpose, SealedSecret, TotpParameters
from mfa_service.otp import totp
from mfa_service.rules.acceptance import CodePolicy, CodeScale
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.sql import open_registry
from mfa_service.stores.sql.devices import SqlDevices
from tests.clocks import ManualClock
from tests.contract.sql_stores import KEY, LIMITS, SHOP, sqlite_url

SECRET = b"an authenticator's secret"
PARAMETERS = TotpParameters()
DEVICE_ID = "d1" * 16


def auth_id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


AUTH_ID, RIGHT, WRONG = auth_id_of("any"), auth_id_of("right"), auth_id_of("wrong")


class Unsealed:
    """Sealing that keeps a secret as it is."""

    async def seal(self, secret: bytes, *, context: bytes) -> SealedSecret:
        del context
        return SealedSecret("k", secret)

    async def unseal(self, sealed: SealedSecret, *, context: bytes) -> bytes:
        del context
        return sealed.blob


class Told(list[tuple[str, int]]):
    """Alerts, as the names of devices and their wrong codes."""

    def many_wrong_codes(self, device: Credential, *, failures: int) -> None:
        self.append((device.name, failures))


@dataclass
class Table:
    """A device, a challenge for it, the scale that weighs codes on them, and what operators were told."""

    clock: ManualClock
    devices: SqlDevices
    challenges: MemoryChallenges
    scale: CodeScale
    told: Told

    @property
    def step(self) -> int:
        return totp.step_at(self.clock.now_ms(), PARAMETERS.period_s)

    def code(self, steps: int = 0) -> str:
        return totp.code_at(SECRET, PARAMETERS, self.step + steps)

    def wrong_code(self) -> str:
        right = {self.code(steps) for steps in range(-2, 3)}
        return next(code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in right)

    async def open_taken(self, step: int) -> None:
        """A challenge that noted a step which the row never accepted, as after an acceptance that was refused."""
        await self.challenges.open(
            Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION, taken_step=step), ttl_s=300
        )

    async def weigh(self, otp: str, auth_id: str = AUTH_ID) -> None:
        challenge = await self.challenges.peek(auth_id, application_id=SHOP.id, purpose=Purpose.AUTHENTICATION)
        await self.scale.weigh(challenge, await self.scale.device_of(challenge), otp)

    async def mistype_once(self) -> None:
        """Give a wrong code to a challenge, and a step later the right one."""
        auth_id = auth_id_of(f"at {self.step}")
        await self.challenges.open(Challenge(auth_id, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
        with pytest.raises(WrongOtp):
            await self.weigh(self.wrong_code(), auth_id)
        self.clock.advance(PARAMETERS.period_s)
        await self.weigh(self.code(), auth_id)

    async def failures(self) -> int:
        return (await self.devices.get(DEVICE_ID)).failures


@pytest.fixture
async def table(tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Table]:
    clock = ManualClock()
    path = tmp_path / "registry.sqlite3"
    shutil.copy(sqlite_template, path)
    registry = await open_registry(sqlite_url(path), clock=clock, limits=LIMITS)
    await registry.applications.add(SHOP)
    await registry.keys.add(KEY)
    challenges = MemoryChallenges(clock)
    policy = CodePolicy(window_steps=1, clock_tolerance_ms=3_000, max_attempts=5)
    told = Told()
    scale = CodeScale(
        challenges=challenges, devices=registry.devices, sealing=Unsealed(), clock=clock, alerts=told, policy=policy
    )
    made = Table(clock, registry.devices, challenges, scale, told)
    device = NewDevice(DEVICE_ID, Owner(SHOP.id, "alice"), "phone", PARAMETERS, SealedSecret(KEY.id, SECRET), 1)
    await registry.devices.register(device, pending_ttl_s=900, max_per_user=5)
    opened = auth_id_of("activation")
    activation = Acceptance(DEVICE_ID, made.step - 10, opened, clock.now_ms(), Purpose.ACTIVATION, 3_000)
    await registry.devices.accept(activation)
    yield made
    await registry.close()


async def test_a_wrong_code_on_a_taken_challenge_that_was_never_accepted_is_charged(table: Table) -> None:
    await table.open_taken(table.step)
    with pytest.raises(WrongOtp):
        await table.weigh(table.wrong_code())
    assert await table.failures() == 1


async def test_a_right_code_of_another_step_there_is_charged_like_a_wrong_one(table: Table) -> None:
    await table.open_taken(table.step)
    with pytest.raises(WrongOtp):
        await table.weigh(table.code(+1))
    assert await table.failures() == 1


async def test_such_a_challenge_tells_nothing_while_its_device_waits(table: Table) -> None:
    await table.open_taken(table.step)
    for _ in range(3):
        await table.devices.charge(DEVICE_ID)
    for code in (table.wrong_code(), table.code()):
        with pytest.raises(DeviceWaits):
            await table.weigh(code)


async def test_the_code_that_took_it_is_accepted_within_its_window(table: Table) -> None:
    await table.open_taken(table.step)
    await table.weigh(table.code())
    assert (await table.devices.get(DEVICE_ID)).last_step == table.step


async def test_the_code_that_took_it_is_wrong_once_the_window_has_gone(table: Table) -> None:
    await table.open_taken(table.step)
    code = table.code()
    table.clock.advance(90)
    with pytest.raises(WrongOtp):
        await table.weigh(code)
    assert await table.failures() == 1


async def test_a_taken_challenge_whose_code_was_accepted_takes_that_code_alone_without_a_charge(table: Table) -> None:
    await table.open_taken(table.step)
    code = table.code()
    await table.weigh(code)
    with pytest.raises(ChallengeNotFound):
        await table.weigh(table.code(+1))
    table.clock.advance(90)
    await table.weigh(code)
    assert await table.failures() == 0


@pytest.mark.parametrize("meanwhile", ["a newer code", "wrong codes"])
async def test_what_the_row_has_accepted_counts_though_the_answer_was_no(
    table: Table, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    accept = table.devices.accept

    async def is_asked_twice(acceptance: Acceptance) -> None:
        await accept(acceptance)
        if meanwhile == "a newer code":
            await accept(dataclasses.replace(acceptance, step=acceptance.step + 1, auth_id=auth_id_of("newer")))
        else:
            for _ in range(3):
                await table.devices.charge(DEVICE_ID)
        await accept(acceptance)

    await table.challenges.open(Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
    monkeypatch.setattr(table.devices, "accept", is_asked_twice)
    await table.weigh(table.code())
    assert (await table.devices.get(DEVICE_ID)).has_accepted(table.step, AUTH_ID)


async def test_a_clock_that_is_not_the_databases_accepts_nothing(table: Table) -> None:
    await table.challenges.open(Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
    slow = _Behind(table.clock, 4_000)
    policy = CodePolicy(window_steps=1, clock_tolerance_ms=3_000, max_attempts=5)
    scale = CodeScale(
        challenges=table.challenges,
        devices=table.devices,
        sealing=Unsealed(),
        clock=slow,
        alerts=table.told,
        policy=policy,
    )
    challenge = await table.challenges.peek(AUTH_ID, application_id=SHOP.id, purpose=Purpose.AUTHENTICATION)
    with pytest.raises(ClockSkewed):
        await scale.weigh(challenge, await scale.device_of(challenge), table.code())
    assert (await table.devices.get(DEVICE_ID)).last_step < table.step


async def test_a_settlement_that_is_none_of_the_known_ones_accepts_nothing(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.challenges.open(Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)

    async def settle(*_: object, **__: object) -> str:
        return "taken"

    monkeypatch.setattr(table.challenges, "settle", settle)
    with pytest.raises(AssertionError):
        await table.weigh(table.code())
    assert (await table.devices.get(DEVICE_ID)).last_step < table.step


async def test_operators_are_told_of_the_twentieth_wrong_code_of_thirty_days_and_of_no_other_one(table: Table) -> None:
    for times, told in ((19, 0), (1, 1), (20, 1)):
        for _ in range(times):
            await table.mistype_once()
        assert table.told == [("phone", 20)] * told
    table.clock.advance(30 * 86_400)
    for times, told in ((19, 1), (1, 2)):
        for _ in range(times):
            await table.mistype_once()
        assert table.told == [("phone", 20)] * told


async def compared_before_the_wait(table: Table, auth_id: str, otp: str, *, times: int) -> None:
    """Give a code to a new challenge so many times, as on workers that had read the device before it began to wait."""
    await table.challenges.open(Challenge(auth_id, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
    challenge = await table.challenges.peek(auth_id, application_id=SHOP.id, purpose=Purpose.AUTHENTICATION)
    device = dataclasses.replace(await table.scale.device_of(challenge), locked_until_ms=0)
    for _ in range(times):
        with pytest.raises(DeviceWaits):
            await table.scale.weigh(challenge, device, otp)


async def test_codes_that_a_wait_refused_leave_their_challenges_alike_right_or_wrong(table: Table) -> None:
    for _ in range(3):
        await table.devices.charge(DEVICE_ID)
    await compared_before_the_wait(table, RIGHT, table.code(), times=5)
    await compared_before_the_wait(table, WRONG, table.wrong_code(), times=5)
    for auth_id in (RIGHT, WRONG):
        with pytest.raises(ChallengeSpent):
            await table.weigh(table.wrong_code(), auth_id)


async def test_a_used_code_does_not_tell_which_of_the_refused_ones_was_right(table: Table) -> None:
    await table.challenges.open(Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
    used = table.code()
    await table.weigh(used)
    for _ in range(3):
        await table.devices.charge(DEVICE_ID)
    await compared_before_the_wait(table, RIGHT, table.code(+1), times=1)
    await compared_before_the_wait(table, WRONG, table.wrong_code(), times=1)
    failures = await table.failures()
    row = await table.devices.get(DEVICE_ID)
    table.clock.advance((row.locked_until_ms - row.read_at_ms) / 1000)
    for auth_id in (RIGHT, WRONG):
        with pytest.raises(UsedOtp):
            await table.weigh(used, auth_id)
    assert await table.failures() == failures


async def test_a_right_code_whose_acceptance_was_lost_is_counted_and_may_be_sent_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.challenges.open(Challenge(AUTH_ID, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)

    async def breaks(*_: object, **__: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(table.devices, "accept", breaks)
        with pytest.raises(StoreUnavailable):
            await table.weigh(table.code())
    challenge = await table.challenges.peek(AUTH_ID, application_id=SHOP.id, purpose=Purpose.AUTHENTICATION)
    assert challenge.attempts == 1
    await table.weigh(table.code())
    assert (await table.devices.get(DEVICE_ID)).last_step == table.step


async def test_of_guesses_at_once_none_is_compared_behind_the_one_that_makes_the_device_wait(table: Table) -> None:
    for _ in range(2):
        await table.devices.charge(DEVICE_ID)
    opened = [auth_id_of(f"guess {number}") for number in range(50)]
    for auth_id in opened:
        await table.challenges.open(Challenge(auth_id, SHOP.id, DEVICE_ID, Purpose.AUTHENTICATION), ttl_s=300)
    outcomes = await asyncio.gather(
        *(table.weigh(table.wrong_code(), auth_id) for auth_id in opened), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [WrongOtp, *[DeviceWaits] * 49]
    peeked = [
        await table.challenges.peek(auth_id, application_id=SHOP.id, purpose=Purpose.AUTHENTICATION)
        for auth_id in opened
    ]
    assert sum(challenge.attempts for challenge in peeked) == 1


class _Behind:
    """A clock that is so many milliseconds behind another."""

    def __init__(self, clock: ManualClock, behind_ms: int) -> None:
        self._clock = clock
        self._behind_ms = behind_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() - self._behind_ms

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()
