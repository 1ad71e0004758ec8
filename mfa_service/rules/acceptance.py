"""How one code is weighed: compared, settled on its challenge, then charged to or accepted by its device's row.

Nothing the comparison says leaves the process but through the challenge's `settle`, and nothing is accepted but through
the device's conditional UPDATE. So any number of parallel guesses, on any number of workers, tells no more than the
limits allow, and a code counts once per device (RFC 6238 §5.2).
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, assert_never

from mfa_service.errors import (
    ActivatedWithAnotherCode,
    ChallengeNotFound,
    ChallengeSpent,
    DeviceNotFound,
    DeviceWaits,
    MalformedOtp,
    StoreUnavailable,
    UsedOtp,
    WrongOtp,
)
from mfa_service.model import Acceptance, Challenge, Credential, Purpose, Settlement, Verdict
from mfa_service.otp import totp
from mfa_service.ports import Alerts, Challenges, Clock, Devices, Sealing
from mfa_service.rules.guessing import refuse_waiting
from mfa_service.rules.judgement import Judge
from mfa_service.sealing import device_context

# Looked up once, what every right code meets: a member of an enumeration takes CPython 3.11 as long as a small call.
_MATCH: Final = Verdict.MATCH
_TAKEN: Final = Settlement.TAKEN
_REPEAT: Final = Settlement.REPEAT


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


@dataclass(slots=True)
class _Line:
    """The codes of one device that are here now, of which one is weighed and another one waits behind it.

    Attributes:
        turn: held by the code that is weighed.
        codes: how many there are.
    """

    turn: asyncio.Lock
    codes: int = 1


class CodeScale:
    """Weighs codes given to challenges, those of one device one after another.

    So of the codes that reach a worker at once, those behind the one that makes the device wait are not compared.

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
        self._judge = Judge(devices=devices, alerts=alerts)
        self._policy = policy
        self._lines: dict[str, _Line | None] = {}  # by device with codes here: None for a single one

    async def device_of(self, challenge: Challenge) -> Credential:
        """Return the device that a challenge is for.

        Raises:
            ChallengeSpent: the device is gone, as a pending one is after the last wrong code of its activation.
            ChallengeNotFound: the device is gone otherwise.
        """
        try:
            return await self._devices.credential(challenge.device_id)
        except DeviceNotFound:
            raise (ChallengeSpent if self._is_spent(challenge) else ChallengeNotFound) from None

    async def weigh(self, challenge: Challenge, device: Credential, otp: str) -> None:
        """Accept a code for a challenge's device, or refuse it with the reason.

        The code that took the challenge is accepted again without a second effect, so that a caller may repeat a
        request whose answer was lost. A challenge is over only when the device's row has accepted its step: until
        then, taken or not, every code given to it is a guess, compared with the whole window and charged where it is
        wrong. A refused acceptance (the device waited, the database was away) is counted on it as a wrong code is, so
        that it tells nothing afterwards.

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
        self._refuse_unweighed(challenge, device, otp)
        if device.id in self._lines:
            await self._weigh_behind(challenge, device.id, otp)
            return
        self._lines[device.id] = None
        try:
            await self._weigh(challenge, device, otp)
        finally:
            line = self._lines[device.id]
            if line is None:
                del self._lines[device.id]
            else:
                line.turn.release()
                self._leave(line, device.id)

    async def _weigh_behind(self, challenge: Challenge, device_id: str, otp: str) -> None:
        """Weigh a code when its turn has come, against the device as the codes before it have left it."""
        line = self._lines[device_id]
        if line is None:
            line = self._lines[device_id] = _Line(asyncio.Lock())
            await line.turn.acquire()  # at once, for the code that is weighed now, and releases it
        line.codes += 1
        try:
            async with line.turn:
                device = await self.device_of(challenge)
                self._refuse_unweighed(challenge, device, otp)
                await self._weigh(challenge, device, otp)
        finally:
            self._leave(line, device_id)

    def _leave(self, line: _Line, device_id: str) -> None:
        line.codes -= 1
        if not line.codes:
            del self._lines[device_id]

    def _refuse_unweighed(self, challenge: Challenge, device: Credential, otp: str) -> None:
        if self._is_spent(challenge):
            raise ChallengeSpent
        if len(otp) != device.parameters.digits:
            raise MalformedOtp
        if not _is_over(challenge, device):
            refuse_waiting(device)

    async def _weigh(self, challenge: Challenge, device: Credential, otp: str) -> None:
        is_over = _is_over(challenge, device)
        context = device_context(device.id, device.owner, device.parameters)
        secret = await self._sealing.unseal(device.secret, context=context)
        now_ms = self._clock.now_ms()
        step = self._matching_step(challenge.taken_step if is_over else None, device, secret, otp, now_ms)
        settlement = await self._settle(challenge, device, step)
        if settlement is _TAKEN or settlement is _REPEAT:
            assert step is not None  # noqa: S101  settle gives these two for a matching step alone
            if settlement is _REPEAT and await self._judge.has_accepted(device, step, challenge.auth_id):
                return
            acceptance = Acceptance(
                device.id, step, challenge.auth_id, now_ms, challenge.purpose, self._policy.clock_tolerance_ms
            )
            try:
                await self._judge.accept(acceptance)
            except (DeviceWaits, StoreUnavailable):
                await self._count(challenge)
                raise
            return
        match settlement:
            case Settlement.USED:
                raise UsedOtp
            case Settlement.MISMATCH if is_over:
                if challenge.purpose is Purpose.ACTIVATION:
                    raise ActivatedWithAnotherCode
                raise ChallengeNotFound
            case Settlement.WRONG | Settlement.LAST_WRONG | Settlement.MISMATCH:
                await self._judge.charge(device, is_last=self._is_last(settlement, challenge))
                raise WrongOtp
            case _:
                assert_never(settlement)  # to return is to accept

    def _is_spent(self, challenge: Challenge) -> bool:
        return challenge.attempts >= self._policy.max_attempts

    def _is_last(self, settlement: Settlement, challenge: Challenge) -> bool:
        """Whether a challenge took its last wrong code; one that a right code has taken does not say so itself."""
        if settlement is Settlement.MISMATCH:
            return challenge.attempts + 1 >= self._policy.max_attempts
        return settlement is Settlement.LAST_WRONG

    def _matching_step(
        self, over_step: int | None, device: Credential, secret: bytes, otp: str, now_ms: int
    ) -> int | None:
        """Return the step whose code this is: of the whole window, or of a challenge's that is over its one step."""
        if over_step is None:
            return totp.match(secret, device.parameters, otp, now_ms=now_ms, window_steps=self._policy.window_steps)
        return over_step if totp.matches_step(secret, device.parameters, otp, over_step) else None

    def _settle(self, challenge: Challenge, device: Credential, step: int | None) -> Awaitable[Settlement]:
        if step is None:
            verdict = Verdict.WRONG
        elif step <= device.last_step:
            verdict = Verdict.USED
        else:
            verdict = _MATCH
        return self._challenges.settle(challenge.auth_id, verdict, step=step, max_attempts=self._policy.max_attempts)

    async def _count(self, challenge: Challenge) -> None:
        """Count a right code that was refused as the wrong one that it could have been for all the caller knows."""
        with contextlib.suppress(ChallengeNotFound, ChallengeSpent, StoreUnavailable):
            await self._challenges.settle(
                challenge.auth_id, Verdict.WRONG, step=None, max_attempts=self._policy.max_attempts
            )


def _is_over(challenge: Challenge, device: Credential) -> bool:
    """Whether the device's row has accepted the step that a challenge holds, or one after it."""
    return challenge.taken_step is not None and device.last_step >= challenge.taken_step
