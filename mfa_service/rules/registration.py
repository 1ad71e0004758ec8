"""A device's life: registered, activated by its first code, listed, removed."""

from collections.abc import Sequence

from mfa_service import identifiers
from mfa_service.errors import ChallengeNotFound, NoDevice
from mfa_service.model import Challenge, Device, Enrolment, NewDevice, Owner, Purpose, TotpParameters
from mfa_service.otp import keyuri
from mfa_service.ports import Challenges, Clock, Devices, RandomBytes, Sealing
from mfa_service.rules.acceptance import CodeScale
from mfa_service.sealing import device_context

# As long as the hash's output, which RFC 6238 §5.1 and RFC 4226 R6 recommend.
SECRET_BYTES = {"SHA1": 20, "SHA256": 32, "SHA512": 64}


class Registration:
    """The calls that manage a user's devices.

    Args:
        challenges: where activations are opened.
        devices: the registry.
        sealing: seals the new secrets.
        scale: weighs the activation codes.
        clock: stamps the new devices.
        random_bytes: the source of ids and secrets.
        issuer_name: what authenticators show beside the user's name.
        activation_ttl_s: how long a device stays pending, in seconds.
        max_per_user: the most devices of a user.
    """

    def __init__(
        self,
        *,
        challenges: Challenges,
        devices: Devices,
        sealing: Sealing,
        scale: CodeScale,
        clock: Clock,
        random_bytes: RandomBytes,
        issuer_name: str,
        activation_ttl_s: int,
        max_per_user: int,
    ) -> None:
        self._challenges = challenges
        self._devices = devices
        self._sealing = sealing
        self._scale = scale
        self._clock = clock
        self._random_bytes = random_bytes
        self._issuer_name = issuer_name
        self._activation_ttl_s = activation_ttl_s
        self._max_per_user = max_per_user

    async def register(self, owner: Owner, device_name: str, parameters: TotpParameters) -> Enrolment:
        """Register a pending device with a new secret, in place of a pending one of the same name.

        Args:
            owner: the application and its user.
            device_name: in its canonical form.
            parameters: how the device will make its codes.

        Returns:
            What the user's authenticator needs; the secret is not shown again.

        Raises:
            DeviceNameTaken: the user has an activated device of this name.
            TooManyDevices: the user has the most devices allowed.
        """
        device_id = identifiers.device_id(self._random_bytes)
        secret = self._random_bytes(SECRET_BYTES[parameters.algorithm])
        context = device_context(device_id, owner, parameters)
        device = NewDevice(
            id=device_id,
            owner=owner,
            name=device_name,
            parameters=parameters,
            secret=await self._sealing.seal(secret, context=context),
            created_at_ms=self._clock.now_ms(),
        )
        challenge = Challenge(
            auth_id=identifiers.auth_id(self._random_bytes),
            application_id=owner.application_id,
            device_id=device_id,
            purpose=Purpose.ACTIVATION,
        )
        # The challenge first: a pending device whose activation nobody can finish must not be left behind.
        await self._challenges.open(challenge, ttl_s=self._activation_ttl_s)
        await self._devices.register(device, pending_ttl_s=self._activation_ttl_s, max_per_user=self._max_per_user)
        secret_base32 = keyuri.base32_unpadded(secret)
        return Enrolment(
            auth_id=challenge.auth_id,
            device_name=device_name,
            secret_base32=secret_base32,
            registration_uri=keyuri.registration_uri(
                issuer=self._issuer_name,
                user_name=owner.user_name,
                secret_base32=secret_base32,
                parameters=parameters,
            ),
        )

    async def activate(self, owner: Owner, auth_id: str, otp: str) -> str:
        """Activate a pending device by its first code, which then counts as used.

        Args:
            owner: the application and its user.
            auth_id: the activation, in canonical form.
            otp: six or eight ASCII digits.

        Returns:
            The device's name.

        Raises:
            ChallengeNotFound: unknown, expired, or of another application or user.
            ActivatedWithAnotherCode: another code has activated the device.
            MfaError: every other refusal of `CodeScale.weigh`.
        """
        challenge = await self._challenges.peek(
            auth_id, application_id=owner.application_id, purpose=Purpose.ACTIVATION
        )
        device = await self._scale.device_of(challenge)
        if device.owner != owner:
            raise ChallengeNotFound
        await self._scale.weigh(challenge, device, otp)
        return device.name

    async def devices_of(self, owner: Owner) -> Sequence[Device]:
        """Return a user's devices, oldest first.

        Raises:
            NoDevice: there is none.
        """
        devices = await self._devices.all_of(owner)
        if not devices:
            raise NoDevice
        return devices

    async def remove(self, owner: Owner, device_name: str) -> None:
        """Remove a user's device, whatever its status.

        Raises:
            DeviceNotFound: the user has none of this name.
        """
        await self._devices.remove(owner, device_name)

    async def remove_all(self, owner: Owner) -> None:
        """Remove every device of a user.

        Raises:
            NoDevice: there was none.
        """
        await self._devices.remove_all(owner)
