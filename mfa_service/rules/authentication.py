"""Steps 2 and 3: open a challenge for a user's device, and validate the code given to it."""

from typing import Final

from mfa_service import identifiers
from mfa_service.errors import DeviceNotFound, DeviceNotUsable, NoActiveDevice, NoDevice
from mfa_service.model import Challenge, DeviceStatus, Owner, Purpose
from mfa_service.ports import Challenges, Devices, RandomBytes
from mfa_service.rules.acceptance import CodeScale
from mfa_service.rules.guessing import refuse_waiting

# Looked up once, for every challenge and code.
_AUTHENTICATION: Final = Purpose.AUTHENTICATION
_PENDING: Final = DeviceStatus.PENDING


class Authentication:
    """The two calls that authenticate a user.

    Args:
        challenges: where challenges are opened.
        devices: the registry.
        scale: weighs the codes.
        random_bytes: the source of challenge ids.
        challenge_ttl_s: how long a challenge lives, in seconds.
    """

    def __init__(
        self,
        *,
        challenges: Challenges,
        devices: Devices,
        scale: CodeScale,
        random_bytes: RandomBytes,
        challenge_ttl_s: int,
    ) -> None:
        self._challenges = challenges
        self._devices = devices
        self._scale = scale
        self._random_bytes = random_bytes
        self._challenge_ttl_s = challenge_ttl_s

    async def initiate(self, owner: Owner, device_name: str) -> str:
        """Open a challenge for an active device that does not wait.

        Args:
            owner: the application and its user.
            device_name: in its canonical form.

        Returns:
            The challenge's `authId`.

        Raises:
            NoDevice: the user has no device at all.
            NoActiveDevice: the user has devices, none of them active.
            DeviceNotUsable: the user has none of this name, or it is pending, while another one is active.
            DeviceWaits: the device waits or is blocked.
        """
        try:
            device = await self._devices.standing(owner, device_name)
        except DeviceNotFound:
            raise await self._unusable(owner) from None
        if device.status is _PENDING:
            raise await self._unusable(owner)
        refuse_waiting(device)
        return await self._open(owner, device.id)

    async def validate(self, application_id: str, auth_id: str, otp: str) -> None:
        """Validate a code for a challenge of this application; returning means that it was accepted.

        Args:
            application_id: whose token came with the call.
            auth_id: the challenge, in canonical form.
            otp: six or eight ASCII digits.

        Raises:
            ChallengeNotFound: unknown, expired, used with another code, or of another application.
            MfaError: every other refusal of `CodeScale.weigh`.
        """
        challenge = await self._challenges.peek(auth_id, application_id=application_id, purpose=_AUTHENTICATION)
        device = await self._scale.device_of(challenge)
        await self._scale.weigh(challenge, device, otp)

    async def _open(self, owner: Owner, device_id: str) -> str:
        auth_id = identifiers.auth_id(self._random_bytes)
        challenge = Challenge(
            auth_id=auth_id,
            application_id=owner.application_id,
            device_id=device_id,
            purpose=_AUTHENTICATION,
        )
        await self._challenges.open(challenge, ttl_s=self._challenge_ttl_s)
        return auth_id

    async def _unusable(self, owner: Owner) -> NoDevice | NoActiveDevice | DeviceNotUsable:
        devices = await self._devices.all_of(owner)
        if not devices:
            return NoDevice()
        if not any(device.status is DeviceStatus.ACTIVE for device in devices):
            return NoActiveDevice()
        return DeviceNotUsable()
