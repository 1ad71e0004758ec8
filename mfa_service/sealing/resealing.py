"""Devices' secrets sealed anew with the current key, while the service runs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from mfa_service.errors import RowLocked, UnsealFailed
from mfa_service.model import Resealed
from mfa_service.ports import SealedDevices
from mfa_service.sealing.contexts import device_context
from mfa_service.sealing.keyring import Keyring

_PAGE: Final = 200  # devices in one transaction: short enough for no login to wait for a row of it for long
_TRIES: Final = 20  # each waits for a fifth of a second or half of one, as the database does for its locks


@dataclass(frozen=True, slots=True)
class Resealing:
    """How far it has come with one page.

    Attributes:
        looked_at: devices of the page, those included whose secrets were sealed with the current key already.
        damaged: the ids of devices whose secrets do not open, which stay as they are.
    """

    looked_at: int
    damaged: tuple[str, ...]


async def reseal(devices: SealedDevices, keyring: Keyring) -> AsyncIterator[Resealing]:
    """Seal every secret of an older key with the current one, page by page, in the order of the devices' ids.

    A secret is replaced only where its row still holds the old one. What is done stays done: begun again, it passes
    over the devices that it has sealed. The keys are asked afresh, so a rotation on the way holds for what follows.

    Args:
        devices: the secrets.
        keyring: opens and seals them.

    Yields:
        What became of each page, once that is durable.

    Raises:
        StoreUnavailable: the registry or the key service is out of reach.
    """
    last = ""
    while page := await devices.after(last, limit=_PAGE):
        changes, damaged = [], []
        for device in page:
            if device.secret.key_id == keyring.sealing_key_id:
                continue
            context = device_context(device.id, device.owner, device.parameters)
            try:
                secret = await keyring.unseal(device.secret, context=context)
            except UnsealFailed:
                damaged.append(device.id)
            else:
                changes.append(Resealed(device.id, device.secret, await keyring.seal(secret, context=context)))
        await _replace(devices, changes)
        yield Resealing(len(page), tuple(damaged))
        last = page[-1].id


async def _replace(devices: SealedDevices, changes: list[Resealed]) -> None:
    """Replace a page's secrets; a row that somebody else holds for too long is waited for again."""
    for tries_left in reversed(range(_TRIES if changes else 0)):
        try:
            await devices.replace(changes)
        except RowLocked:
            if not tries_left:
                raise
        else:
            return
