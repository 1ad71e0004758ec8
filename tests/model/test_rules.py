"""Whatever is called in whatever order, the rules let pass what may pass and nothing else."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mfa_service.errors import ChallengeNotFound, DeviceWaits, MalformedOtp
from mfa_service.model import Device, DeviceStatus, Enrolment, Owner, TotpParameters
from mfa_service.rules.guessing import refuse_waiting
from tests.model.expectations import (
    ACTIVATION_TTL_S,
    CHALLENGE_TTL_S,
    MAX_ATTEMPTS,
    PASSED,
    Challenge,
    Expectations,
    Fault,
    Outcome,
)
from tests.model.expectations import Device as Expected
from tests.model.site import Site

IS_FULL = os.environ.get("MFA_TEST_FULL") == "1"
SETTINGS = settings(
    max_examples=500 if IS_FULL else 30,
    stateful_step_count=80 if IS_FULL else 40,
    suppress_health_check=[HealthCheck.too_slow],  # every step is durable
)

OWNERS = st.sampled_from((Owner("shop", "alice"), Owner("shop", "bob"), Owner("bank", "alice")))
NAMES = st.sampled_from(("phone", "tablet", "watch"))
PARAMETERS = st.sampled_from((TotpParameters(), TotpParameters("SHA256", 8, 60), TotpParameters("SHA512", 6, 30)))
STEPS = st.integers(-3, 3)
FAULTS = st.sampled_from((None, None, None, *Fault))
_ANY = 7
PICKS = st.integers(0, _ANY)
PAUSES_MS = st.sampled_from(
    (250, 29_750, 30_000, 60_000, 99_750, 100_000, 299_750, 300_000, 900_000)
)  # exact in binary
_STEPS_OF_AN_ACTIVATION = ACTIVATION_TTL_S // 30


@dataclass(frozen=True, eq=False)
class Opened:
    """A challenge as its caller knows it, what is expected of it, and the device's authenticator."""

    auth_id: str
    expected: Challenge
    authenticator: pyotp.TOTP

    @property
    def device(self) -> Expected:
        return self.expected.device

    @property
    def is_activation(self) -> bool:
        return self.expected.is_activation

    def step_at(self, now_ms: int) -> int:
        return now_ms // (self.device.period_s * 1000)

    def code(self, step: int) -> str:
        return self.authenticator.at(step * self.device.period_s)

    def wrong_code(self, now_ms: int) -> str:
        """A code of no step that counts now, or has counted while the challenge has lived."""
        step = self.step_at(now_ms)
        right = {self.code(near) for near in range(step - _STEPS_OF_AN_ACTIVATION - 2, step + 3)}
        codes = (str(number).zfill(self.authenticator.digits) for number in itertools.count())
        return next(code for code in codes if code not in right)


class Rules(RuleBasedStateMachine):
    """Calls of every kind, each with its outcome compared with what may pass, and the registry with what it did.

    Args:
        path: of an SQLite file with the schema and nothing else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.site = Site(path)
        self.expected = Expectations()
        self.authenticators: dict[Expected, pyotp.TOTP] = {}
        self.opened: list[Opened] = []

    def teardown(self) -> None:
        try:
            for owner in {device.owner for device in self.expected.devices}:
                self.compare(owner)
        finally:
            self.site.close()

    @property
    def now_ms(self) -> int:
        return self.site.clock.now_ms()

    def picked(self, number: int) -> Opened:
        """One of the newest challenges; most numbers mean one that still takes codes, where there is any."""
        live = [one for one in self.opened if self.expected.refuse(one.expected, self.now_ms) is PASSED]
        among = live if live and number < _ANY else self.opened
        return among[-1 - number % len(among)]

    # Devices

    @initialize(owner=OWNERS, name=NAMES, parameters=PARAMETERS)
    def enrol(self, owner: Owner, name: str, parameters: TotpParameters) -> None:
        self.register(owner, name, parameters)
        self.give(self.opened[-1], self.opened[-1].step_at(self.now_ms))

    @rule(owner=OWNERS, name=NAMES, parameters=PARAMETERS)
    def register(self, owner: Owner, name: str, parameters: TotpParameters) -> None:
        outcome, enrolment = self.site.call(self.site.registration.register(owner, name, parameters))
        assert outcome == self.expected.register(owner, name, self.now_ms)
        if enrolment is not None:
            ends_ms = self.now_ms + ACTIVATION_TTL_S * 1000
            device = Expected(owner, name, parameters.period_s, pending_until_ms=ends_ms)
            self.expected.devices.append(device)
            self.authenticators[device] = authenticator_of(enrolment, parameters)
            self.note(enrolment.auth_id, Challenge(device, is_activation=True, ends_ms=ends_ms))
        self.compare(owner)

    @rule(pick=PICKS)
    def register_again(self, pick: int) -> None:
        device = self.picked(pick).device
        self.register(device.owner, device.name, TotpParameters())

    @rule(owner=OWNERS, name=NAMES)
    def remove(self, owner: Owner, name: str) -> None:
        outcome, _ = self.site.call(self.site.registration.remove(owner, name))
        assert outcome == self.expected.remove(owner, name, self.now_ms)
        self.compare(owner)

    @rule(pick=PICKS)
    def unlock(self, pick: int) -> None:
        device = self.picked(pick).device
        outcome, _ = self.site.call(self.site.devices.unlock(device.owner, device.name))
        assert outcome == self.expected.unlock(device.owner, device.name, self.now_ms)
        self.compare(device.owner)

    @rule(act=st.sampled_from(("remove all", "lose challenges", "sweep")), owner=OWNERS)
    def do_what_is_seldom_done(self, act: str, owner: Owner) -> None:
        match act:
            case "remove all":
                outcome, _ = self.site.call(self.site.registration.remove_all(owner))
                assert outcome == self.expected.remove_all(owner, self.now_ms)
            case "lose challenges":
                self.site.call(self.site.challenges.close())
                for one in self.opened:
                    one.expected.ends_ms = 0
            case _:
                self.site.call(self.site.devices.sweep(limit=1))
        self.compare(owner)

    # Challenges

    @rule(owner=OWNERS, name=NAMES)
    def initiate(self, owner: Owner, name: str) -> None:
        outcome, auth_id = self.site.call(self.site.authentication.initiate(owner, name))
        assert outcome == self.expected.initiate(owner, name, self.now_ms)
        device = self.expected.named(owner, name, self.now_ms)
        if auth_id is not None and device is not None:
            ends_ms = self.now_ms + CHALLENGE_TTL_S * 1000
            self.note(auth_id, Challenge(device, is_activation=False, ends_ms=ends_ms))

    @rule(pick=PICKS)
    def initiate_again(self, pick: int) -> None:
        device = self.picked(pick).device
        self.initiate(device.owner, device.name)

    def note(self, auth_id: str, challenge: Challenge) -> None:
        self.opened.append(Opened(auth_id, challenge, self.authenticators[challenge.device]))

    # Codes

    @rule(pick=PICKS, steps=STEPS, fault=FAULTS, patient=st.booleans())
    def give_code_near_now(self, pick: int, steps: int, fault: Fault | None, *, patient: bool) -> None:
        known = self.picked(pick)
        if patient:
            self.wait_as_told(known)
        self.give(known, known.step_at(self.now_ms) + steps, fault)

    @rule(pick=PICKS, steps=st.integers(-1, 1), fault=FAULTS)
    def give_code_near_the_newest_accepted(self, pick: int, steps: int, fault: Fault | None) -> None:
        known = self.picked(pick)
        self.give(known, max(known.device.highest_step, 9) + steps, fault)

    @rule(pick=PICKS, fault=FAULTS)
    def give_the_same_again(self, pick: int, fault: Fault | None) -> None:
        known = self.picked(pick)
        self.give(known, known.expected.taken_step, fault)

    @rule(pick=PICKS, fault=FAULTS)
    def give_code_that_should_pass(self, pick: int, fault: Fault | None) -> None:
        known = self.picked(pick)
        self.wait_as_told(known)
        if known.step_at(self.now_ms) <= known.device.highest_step:
            self.site.clock.advance(known.device.period_s)
        self.give(known, known.step_at(self.now_ms), fault)

    @rule(pick=PICKS, steps=STEPS)
    def give_used_code_and_another(self, pick: int, steps: int) -> None:
        known = self.picked(pick)
        self.give(known, max(known.device.highest_step, 9))
        self.give(known, max(known.device.highest_step, 9) + steps)

    @rule(pick=PICKS, steps=STEPS)
    def lose_acceptance_and_give_another_code(self, pick: int, steps: int) -> None:
        known = self.picked(pick)
        self.give_code_that_should_pass(pick, Fault.LOST)
        self.give(known, known.step_at(self.now_ms) + steps)

    @rule(pick=PICKS, early=st.booleans())
    def give_code_around_the_end(self, pick: int, *, early: bool) -> None:
        known = self.picked(pick)
        left_ms = known.expected.ends_ms - self.now_ms - (250 if early else 0)
        self.site.clock.advance(max(0, left_ms) / 1000)
        self.give(known, known.step_at(self.now_ms))

    @rule(pick=PICKS, times=st.integers(1, 4), fault=FAULTS)
    def guess(self, pick: int, times: int, fault: Fault | None) -> None:
        known = self.picked(pick)
        for _ in range(times):
            self.give(known, None, fault)

    @rule(pick=PICKS, times=st.integers(1, 5))
    def guess_patiently(self, pick: int, times: int) -> None:
        known = self.picked(pick)
        for _ in range(times):
            self.wait_as_told(known)
            self.give(known, None)

    @rule(pick=PICKS, times=st.integers(1, 7))
    def guess_on_new_challenges(self, pick: int, times: int) -> None:
        known = self.picked(pick)
        for _ in range(times):
            self.wait_as_told(known)
            self.initiate(known.device.owner, known.device.name)
            self.give(self.opened[-1], None)

    @rule(pick=PICKS)
    def give_code_of_another_length(self, pick: int) -> None:
        known = self.picked(pick)
        outcome = self.outcome_of(known, "1" * (14 - known.authenticator.digits))
        assert outcome == (self.expected.refuse(known.expected, self.now_ms) or MalformedOtp)
        self.compare(known.device.owner)

    @rule(pick=PICKS)
    def give_right_code_to_what_is_not_its_own(self, pick: int) -> None:
        known = self.picked(pick)
        code, owner = known.code(known.step_at(self.now_ms)), known.device.owner
        strange = Owner("bank" if owner.application_id == "shop" else "shop", owner.user_name)
        for one, is_activation in ((strange, known.is_activation), (owner, not known.is_activation)):
            assert self.outcome_of(known, code, owner=one, is_activation=is_activation) is ChallengeNotFound
        if known.is_activation and known.device.is_there(self.now_ms):
            neighbour = Owner(owner.application_id, "mallory")
            assert self.outcome_of(known, code, owner=neighbour, is_activation=True) is ChallengeNotFound
        self.compare(owner)

    def give(self, known: Opened, step: int | None, fault: Fault | None = None) -> None:
        """Give the code of a step, or a wrong one."""
        code = known.wrong_code(self.now_ms) if step is None else known.code(step)
        outcome = self.outcome_of(known, code, fault=fault)
        assert outcome == self.expected.give(known.expected, step, self.now_ms, fault)
        self.compare(known.device.owner)

    def outcome_of(
        self,
        known: Opened,
        code: str,
        *,
        owner: Owner | None = None,
        is_activation: bool | None = None,
        fault: Fault | None = None,
    ) -> Outcome:
        by = owner or known.device.owner
        if known.is_activation if is_activation is None else is_activation:
            return self.site.call(self.site.registration.activate(by, known.auth_id, code), fault)[0]
        return self.site.call(self.site.authentication.validate(by.application_id, known.auth_id, code), fault)[0]

    # Time

    @rule(milliseconds=PAUSES_MS)
    def wait(self, milliseconds: int) -> None:
        self.site.clock.advance(milliseconds / 1000)

    def wait_as_told(self, known: Opened) -> None:
        self.site.clock.advance(max(0, known.device.waits_until_ms - self.now_ms) / 1000)

    def compare(self, owner: Owner) -> None:
        """Compare what the registry holds of a user with what it should."""
        outcome, found = self.site.call(self.site.devices.all_of(owner))
        assert outcome is PASSED
        assert found is not None
        held = {device.name: (device.status, device.last_step, device.failures, wait_of(device)) for device in found}
        assert held == {
            device.name: (status_of(device), device.highest_step, device.failures, device.wait(self.now_ms))
            for device in self.expected.of(owner, self.now_ms)
        }


def authenticator_of(enrolment: Enrolment, parameters: TotpParameters) -> pyotp.TOTP:
    """What a user's telephone has after a registration, by another implementation."""
    digest = getattr(hashlib, parameters.algorithm.lower())
    return pyotp.TOTP(enrolment.secret_base32, digits=parameters.digits, digest=digest, interval=parameters.period_s)


def wait_of(device: Device) -> Outcome:
    """What a row says of waiting."""
    try:
        refuse_waiting(device)
    except DeviceWaits as waits:
        return "waits", waits.retry_after_s
    return PASSED


def status_of(device: Expected) -> DeviceStatus:
    if device.is_blocked:
        return DeviceStatus.BLOCKED
    return DeviceStatus.ACTIVE if device.pending_until_ms is None else DeviceStatus.PENDING


@pytest.fixture
def rules(tmp_path: Path, sqlite_template: Path) -> type[Rules]:
    """The machine, each on a registry of its own."""
    numbers = itertools.count()

    class Here(Rules):
        def __init__(self) -> None:
            path = tmp_path / f"{next(numbers)}.sqlite3"
            shutil.copy(sqlite_template, path)
            super().__init__(path)

    return Here


def test_nothing_passes_but_what_may(rules: type[Rules]) -> None:
    run_state_machine_as_test(rules, settings=SETTINGS)


@pytest.fixture
def one(rules: Callable[[], Rules]) -> Iterator[Rules]:
    """A machine whose calls a test makes itself."""
    made = rules()
    yield made
    made.site.close()


def test_the_last_wrong_code_of_an_activation_whose_right_one_was_lost_removes_its_device(one: Rules) -> None:
    one.register(Owner("shop", "alice"), "phone", TotpParameters())
    one.give_code_that_should_pass(0, Fault.LOST)
    one.guess_patiently(0, MAX_ATTEMPTS)
    assert not one.opened[0].device.is_there(one.now_ms)
