"""What a weighed code does to its device's row: charged where it is wrong, accepted where it is right.

Each is one conditional UPDATE. A row that takes neither is read once more, for the reason.
"""

from typing import NoReturn

from mfa_service.errors import (
    ActivatedWithAnotherCode,
    ChallengeNotFound,
    ClockSkewed,
    DeviceNotFound,
    StoreUnavailable,
    UsedOtp,
)
from mfa_service.model import Acceptance, Credential, DeviceStatus, Purpose
from mfa_service.ports import Alerts, Devices, NotAccepted, NotCharged
from mfa_service.rules.guessing import calls_for_alert, refuse_waiting


class Judge:
    """Puts codes that have been weighed on record.

    Args:
        devices: the registry.
        alerts: told of devices that are guessed at.
    """

    def __init__(self, *, devices: Devices, alerts: Alerts) -> None:
        self._devices = devices
        self._alerts = alerts

    async def charge(self, device: Credential, *, is_last: bool) -> None:
        """Charge a wrong code to its device; the last one that a pending device's activation takes removes it.

        Args:
            device: as it was read before the code was compared.
            is_last: whether its challenge takes no further code.

        Raises:
            DeviceWaits: the device waits or is blocked by now; nothing was charged.
            ChallengeNotFound: the device is gone.
            StoreUnavailable: the registry is out of reach, or the row changed meanwhile.
        """
        try:
            charged = await self._devices.charge(device.id)
        except NotCharged:
            await self._refuse_uncharged(device)
        if calls_for_alert(charged):
            self._alerts.many_wrong_codes(device, failures=charged.slow_failures)
        if is_last and device.status is DeviceStatus.PENDING:
            await self._devices.remove_pending(device.id)

    async def accept(self, acceptance: Acceptance) -> None:
        """Accept a code, once.

        Raises:
            UsedOtp: a code of this step or a later one has been accepted before.
            DeviceWaits: the device waits or is blocked by now.
            ActivatedWithAnotherCode: it is active already, and this is an activation.
            ClockSkewed: this machine's clock is not the database's.
            ChallengeNotFound: the device is gone.
            StoreUnavailable: the registry is out of reach, or the row changed meanwhile.
        """
        try:
            await self._devices.accept(acceptance)
        except NotAccepted:
            await self._refuse_unaccepted(acceptance)

    async def has_accepted(self, device: Credential, step: int, auth_id: str) -> bool:
        """Tell whether the device's row accepted a challenge's code of this step, as its last one or before that.

        Args:
            device: as it was read before the code was compared.
            step: the time step whose code it is.
            auth_id: the challenge.
        """
        if device.last_auth_id == auth_id and device.last_step == step:
            return True
        try:
            return (await self._devices.get(device.id)).has_accepted(step, auth_id)
        except DeviceNotFound:
            return False

    async def _refuse_uncharged(self, device: Credential) -> NoReturn:
        try:
            refuse_waiting(await self._devices.credential(device.id))
        except DeviceNotFound:
            raise ChallengeNotFound from None
        raise StoreUnavailable  # the wait ended between the two looks: nothing was told, the caller may try again

    async def _refuse_unaccepted(self, acceptance: Acceptance) -> None:
        """Read the row once more and say why it did not take the code, unless it has: it may have been asked twice."""
        try:
            device = await self._devices.get(acceptance.device_id)
        except DeviceNotFound:
            raise ChallengeNotFound from None
        if device.has_accepted(acceptance.step, acceptance.auth_id):
            return
        refuse_waiting(device)
        if device.status is DeviceStatus.ACTIVE and acceptance.purpose is Purpose.ACTIVATION:
            raise ActivatedWithAnotherCode
        if device.last_step >= acceptance.step:
            raise UsedOtp
        if abs(device.read_at_ms - acceptance.matched_at_ms) > acceptance.clock_tolerance_ms:
            raise ClockSkewed
        raise StoreUnavailable  # the row changed between the two looks: the same request may be sent again
