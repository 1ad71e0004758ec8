"""What may pass, said once more and as simply as it can be: one device, one challenge and one moment at a time.

Nothing here is taken from the rules: a code is but its time step, and a wrong code is none.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from mfa_service.errors import (
    ActivatedWithAnotherCode,
    ChallengeNotFound,
    ChallengeSpent,
    DeviceNameTaken,
    DeviceNotFound,
    DeviceNotUsable,
    MfaError,
    NoActiveDevice,
    NoDevice,
    StoreUnavailable,
    TooManyDevices,
    UsedOtp,
    WrongOtp,
)
from mfa_service.model import Owner

WINDOW_STEPS = 1
MAX_ATTEMPTS = 4
MAX_DEVICES = 2
CHALLENGE_TTL_S = 300
ACTIVATION_TTL_S = 900
WAITS_S: Mapping[int, int] = {3: 30, 4: 60, 5: 100, 6: 100, 7: 100}
"""Wrong codes in a row → how long the device then waits."""
BLOCKED_AT = 7

PASSED = None
Outcome = type[MfaError] | tuple[str, int | None] | None
"""What becomes of a call: it passed, it was refused, or the device waits so many seconds (None: for good)."""


class Fault(enum.Enum):
    """What happens on the way to a device's row, once."""

    LOST = "the row was not reached"
    UNANSWERED = "it was, but its answer was not heard"


@dataclass(eq=False)
class Device:
    """A device, and what it has seen.

    Attributes:
        pending_until_ms: when it vanishes; None once it is active.
        highest_step: that it has accepted.
        failures: wrong codes in a row.
        waits_until_ms: before which no code counts.
    """

    owner: Owner
    name: str
    period_s: int
    pending_until_ms: int | None
    highest_step: int = -1
    failures: int = 0
    waits_until_ms: int = 0
    is_removed: bool = False

    def is_there(self, now_ms: int) -> bool:
        """Whether it exists: one that nobody activated in time does not."""
        return not self.is_removed and (self.pending_until_ms is None or now_ms < self.pending_until_ms)

    @property
    def is_blocked(self) -> bool:
        """Whether an operator has to unlock it."""
        return self.failures >= BLOCKED_AT

    def wait(self, now_ms: int) -> Outcome:
        """What it says while it waits or is blocked; PASSED where it answers codes."""
        if self.is_blocked:
            return "waits", None
        left_ms = self.waits_until_ms - now_ms
        return ("waits", -(-left_ms // 1000)) if left_ms > 0 else PASSED

    def charge(self, now_ms: int) -> None:
        """Count a wrong code."""
        self.failures += 1
        self.waits_until_ms = now_ms + WAITS_S.get(self.failures, 0) * 1000

    def accept(self, step: int) -> None:
        """Take a right code."""
        self.highest_step, self.failures, self.waits_until_ms, self.pending_until_ms = step, 0, 0, None


@dataclass(eq=False)
class Challenge:
    """A challenge, and what was given to it.

    Attributes:
        attempts: wrong codes.
        taken_step: of the right code that it was given.
        is_done: whether its device has accepted that code.
    """

    device: Device
    is_activation: bool
    ends_ms: int
    attempts: int = 0
    taken_step: int | None = None
    is_done: bool = False


@dataclass
class Expectations:
    """Everything that exists, and what becomes of each call at a moment."""

    devices: list[Device] = field(default_factory=list)

    def of(self, owner: Owner, now_ms: int) -> list[Device]:
        """The devices of a user."""
        return [device for device in self.devices if device.owner == owner and device.is_there(now_ms)]

    def named(self, owner: Owner, name: str, now_ms: int) -> Device | None:
        """The user's device of a name."""
        return next((device for device in self.of(owner, now_ms) if device.name == name), None)

    def register(self, owner: Owner, name: str, now_ms: int) -> Outcome:
        """Say what becomes of a registration; one that passes removes the pending device that it replaces."""
        same = self.named(owner, name, now_ms)
        if same is not None and same.pending_until_ms is None:
            return DeviceNameTaken
        if same is None and len(self.of(owner, now_ms)) >= MAX_DEVICES:
            return TooManyDevices
        if same is not None:
            same.is_removed = True
        return PASSED

    def initiate(self, owner: Owner, name: str, now_ms: int) -> Outcome:
        """Say what becomes of a challenge for a device."""
        device = self.named(owner, name, now_ms)
        if device is not None and device.pending_until_ms is None:
            return device.wait(now_ms)
        others = self.of(owner, now_ms)
        if not others:
            return NoDevice
        is_any_active = any(other.pending_until_ms is None and not other.is_blocked for other in others)
        return DeviceNotUsable if is_any_active else NoActiveDevice

    def remove(self, owner: Owner, name: str, now_ms: int) -> Outcome:
        """Remove a device."""
        device = self.named(owner, name, now_ms)
        if device is None:
            return DeviceNotFound
        device.is_removed = True
        return PASSED

    def remove_all(self, owner: Owner, now_ms: int) -> Outcome:
        """Remove a user's devices."""
        found = self.of(owner, now_ms)
        for device in found:
            device.is_removed = True
        return PASSED if found else NoDevice

    def unlock(self, owner: Owner, name: str, now_ms: int) -> Outcome:
        """Unlock a device."""
        device = self.named(owner, name, now_ms)
        if device is None:
            return DeviceNotFound
        device.failures, device.waits_until_ms = 0, 0
        return PASSED

    def refuse(self, challenge: Challenge, now_ms: int) -> Outcome:
        """Say what becomes of any code where the challenge takes none."""
        if now_ms >= challenge.ends_ms:
            return ChallengeNotFound
        if challenge.attempts >= MAX_ATTEMPTS:
            return ChallengeSpent
        return PASSED if challenge.device.is_there(now_ms) else ChallengeNotFound

    def give(self, challenge: Challenge, step: int | None, now_ms: int, fault: Fault | None = None) -> Outcome:
        """Give the code of a step, or one of no step, to a challenge of the caller's own."""
        device = challenge.device
        if challenge.taken_step is None or device.highest_step < challenge.taken_step:
            refusal = self.refuse(challenge, now_ms) or device.wait(now_ms)
            return _give_first(challenge, step, now_ms, fault) if refusal is PASSED else refusal
        return self.refuse(challenge, now_ms) or _give_again(challenge, step, now_ms, fault)


def _give_first(challenge: Challenge, step: int | None, now_ms: int, fault: Fault | None) -> Outcome:
    """Give a code to a challenge that no code has ended yet: each is a guess."""
    device = challenge.device
    is_in_window = step is not None and abs(step - now_ms // (device.period_s * 1000)) <= WINDOW_STEPS
    if step is None or not is_in_window:
        return _give_wrong(challenge, now_ms, fault)
    if step <= device.highest_step:
        return UsedOtp
    if challenge.taken_step not in {None, step}:
        return _give_wrong(challenge, now_ms, fault)
    challenge.taken_step = step
    if fault is not Fault.LOST:
        challenge.is_done = True
        device.accept(step)
    if fault is None:
        return PASSED
    challenge.attempts += 1  # as if it had been wrong, so that it cannot be tried again and again
    return StoreUnavailable


def _give_wrong(challenge: Challenge, now_ms: int, fault: Fault | None) -> Outcome:
    """Give a code that is charged; the last one that an activation takes removes its device."""
    challenge.attempts += 1
    if fault is Fault.LOST:
        return StoreUnavailable
    challenge.device.charge(now_ms)
    if fault is Fault.UNANSWERED:
        return StoreUnavailable
    if challenge.attempts == MAX_ATTEMPTS and challenge.device.pending_until_ms is not None:
        challenge.device.is_removed = True
    return WrongOtp


def _give_again(challenge: Challenge, step: int | None, now_ms: int, fault: Fault | None) -> Outcome:
    """Give a code to a challenge that is over: its own passes once more, and no other one is a guess."""
    if step != challenge.taken_step:
        challenge.attempts += 1
        return ActivatedWithAnotherCode if challenge.is_activation else ChallengeNotFound
    if challenge.is_done:
        return PASSED
    wait = StoreUnavailable if fault is Fault.LOST else challenge.device.wait(now_ms)
    if wait is not PASSED:
        challenge.attempts += 1
    return wait or UsedOtp
