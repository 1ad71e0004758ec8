"""How one code is weighed: compared, settled on its challenge, then charged to or accepted by its device's row.

Nothing the comparison says leaves the process but through the challenge's `settle`, and nothing is accepted but through
the device's conditional UPDATE. So any number of parallel guesses, on any number of workers, tells no more than the
limits allow, and a code counts once per device (RFC 6238 §5.2).
"""

from dataclasses import dataclass
from typing import NoReturn

from mfa_service.errors import (
    ActivatedWithAnotherCode,
    ChallengeNotFound,
    ChallengeSpent,
    ClockSkewed,
    DeviceNotFound,
    MalformedOtp,
    StoreUnavailable,
    UsedOtp,
    WrongOtp,
)
from mfa_service.model import Acceptance, Challenge, Device, DeviceStatus, Purpose, Settlement, Verdict
from mfa_service.otp import totp
from mfa_service.ports import Alerts, Challenges, Clock, Devices, NotAccepted, NotCharged, Sealing
from mfa_service.rules.guessing import calls_for_alert, refuse_waiting
from mfa_service.sealing import device_context


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """What the settings say about codes.

    Attributes:
        window_steps: how many time steps either side of now are accepted.
        clock_tolerance_ms: how far a worker's clock may be from the database's.
        max_attempts: how many wrong codes a challenge takes.
    """

    window_steps: int
    clock_tolerance_ms: int
    max_attempts: int


class CodeScale:
    """Weighs codes given to challenges.

    Args:
        challenges: where challenges are settled.
        devices: where codes are charged and accepted.
        sealing: opens the devices' secrets.
        clock: the time that codes are compared at.
        alerts: told of devices that are guessed at.
        policy: the limits.
    """

    def __init__(
        self,
        *,
        challenges: Challenges,
        devices: Devices,
        sealing: Sealing,
        clock: Clock,
        alerts: Alerts,
        policy: CodePolicy,
    ) -> None:
        self._challenges = challenges
        self._devices = devices
        self._sealing = sealing
        self._clock = clock
        self._alerts = alerts
        self._policy = policy

    async def device_of(self, challenge: Challenge) -> Device:
        """Return the device that a challenge is for.

        Raises:
            ChallengeSpent: the device is gone, as a pending one is after the last wrong code of its activation.
            ChallengeNotFound: the device is gone otherwise.
        """
        try:
            return await self._devices.get(challenge.device_id)
        except DeviceNotFound:
            raise (ChallengeSpent if self._is_spent(challenge) else ChallengeNotFound) from None

    async def weigh(self, challenge: Challenge, device: Device, otp: str) -> None:
        """Accept a code for a challenge's device, or refuse it with the reason.

        The code that took the challenge is accepted again without a second effect, so that a caller may repeat a
        request whose answer was lost. A challenge is over only when the device's row has accepted its step: until
        then, taken or not, every code given to it is a guess, compared with the whole window and charged where it is
        wrong. So a refused acceptance (the device waited, the database was away) tells nothing afterwards.

        Args:
            challenge: as peeked at.
            device: the challenge's device, read after the peek.
            otp: six or eight ASCII digits.

        Raises:
            ChallengeSpent: the challenge took its last wrong code.
            MalformedOtp: the device's codes have another length; not charged.
            DeviceWaits: the device waits or is blocked.
            WrongOtp: the code is wrong, and was charged.
            UsedOtp: a code of this step or a later one has been accepted before; not charged.
            ChallengeNotFound: the challenge expired, was used with another code, or its device is gone.
            ActivatedWithAnotherCode: the same, of an activation.
            UnsealFailed: the device's secret does not open.
            ClockSkewed: this machine's clock is not the database's.
        """
        if self._is_spent(challenge):
            raise ChallengeSpent
        if len(otp) != device.parameters.digits:
            raise MalformedOtp
        is_over = challenge.taken_step is not None and device.last_step >= challenge.taken_step
        if not is_over:
            refuse_waiting(device)
        context = device_context(device.id, device.owner, device.parameters)
        secret = await self._sealing.unseal(device.secret, context=context)
        now_ms = self._clock.now_ms()
        step = self._matching_step(challenge.taken_step if is_over else None, device, secret, otp, now_ms)
        settlement = await self._settle(challenge, device, step)
        match settlement:
            case Settlement.MISMATCH if is_over:
                if challenge.purpose is Purpose.ACTIVATION:
                    raise ActivatedWithAnotherCode
                raise ChallengeNotFound
            case Settlement.WRONG | Settlement.LAST_WRONG | Settlement.MISMATCH:
                await self._charge(device, is_last=settlement is Settlement.LAST_WRONG)
                raise WrongOtp
            case Settlement.USED:
                raise UsedOtp
            case Settlement.TAKEN | Settlement.REPEAT:
                assert step is not None  # noqa: S101  settle gives these two for a matching step alone
                if not device.has_accepted(step, challenge.auth_id):
                    await self._accept(
                        Acceptance(
                            device_id=device.id,
                            step=step,
                            auth_id=challenge.auth_id,
                            matched_at_ms=now_ms,
                            purpose=challenge.purpose,
                        )
                    )

    def _is_spent(self, challenge: Challenge) -> bool:
        return challenge.attempts >= self._policy.max_attempts

    def _matching_step(self, over_step: int | None, device: Device, secret: bytes, otp: str, now_ms: int) -> int | None:
        """Return the step whose code this is: of the whole window, or of a challenge's that is over its one step."""
        if over_step is None:
            return totp.match(secret, device.parameters, otp, now_ms=now_ms, window_steps=self._policy.window_steps)
        return over_step if totp.matches_step(secret, device.parameters, otp, over_step) else None

    async def _settle(self, challenge: Challenge, device: Device, step: int | None) -> Settlement:
        if step is None:
            verdict = Verdict.WRONG
        elif challenge.taken_step is None and step <= device.last_step:
            verdict = Verdict.USED
        else:
            verdict = Verdict.MATCH
        return await self._challenges.settle(
            challenge.auth_id, verdict, step=step, max_attempts=self._policy.max_attempts
        )

    async def _charge(self, device: Device, *, is_last: bool) -> None:
        """Charge a wrong code to its device; the last one that a pending device's activation takes removes it."""
        try:
            charged = await self._devices.charge(device.id)
        except NotCharged:
            await self._refuse_uncharged(device)
        if calls_for_alert(charged):
            self._alerts.many_wrong_codes(device, failures=charged.slow_failures)
        if is_last and device.status is DeviceStatus.PENDING:
            await self._devices.remove_pending(device.id)

    async def _refuse_uncharged(self, device: Device) -> NoReturn:
        try:
            refuse_waiting(await self._devices.get(device.id))
        except DeviceNotFound:
            raise ChallengeNotFound from None
        raise StoreUnavailable  # the wait ended between the two looks: nothing was told, the caller may try again

    async def _accept(self, acceptance: Acceptance) -> None:
        try:
            await self._devices.accept(acceptance, clock_tolerance_ms=self._policy.clock_tolerance_ms)
        except NotAccepted:
            await self._refuse_unaccepted(acceptance)

    async def _refuse_unaccepted(self, acceptance: Acceptance) -> NoReturn:
        """Read the row once more and say why it did not take the code."""
        try:
            device = await self._devices.get(acceptance.device_id)
        except DeviceNotFound:
            raise ChallengeNotFound from None
        refuse_waiting(device)
        if device.status is DeviceStatus.ACTIVE and acceptance.purpose is Purpose.ACTIVATION:
            raise ActivatedWithAnotherCode
        if device.last_step >= acceptance.step:
            raise UsedOtp
        if abs(device.read_at_ms - acceptance.matched_at_ms) > self._policy.clock_tolerance_ms:
            raise ClockSkewed
        raise StoreUnavailable  # the row changed between the two looks: the same request may be sent again
