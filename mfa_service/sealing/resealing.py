"""Devices' secrets sealed anew with the current key, while the service runs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from mfa_service.errors import KeyRetired, RowLocked, UnsealFailed
from mfa_service.model import Resealed, SealedDevice
from mfa_service.ports import SealedDevices
from mfa_service.sealing.contexts import device_context
from mfa_service.sealing.keyring import Keyring

_PAGE: Final = 200  # devices in one transaction: short enough for no login to wait for a row of it for long
_TRIES: Final = 20  # each waits for a fifth of a second or half of one, as the database does for its locks
_RETIREMENTS: Final = 3  # on one page: a key is retired a minute after its successor at the soonest


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
    over the devices that it has sealed. The keys are asked afresh, so a rotation on the way holds for what follows; a
    page whose new key is retired before it is written is read and sealed once more.

    Args:
        devices: the secrets.
        keyring: opens and seals them.

    Yields:
        What became of each page, once that is durable.

    Raises:
        RowLocked: somebody else holds a row, or the database, for too long.
        KeyRetired: one key after another is retired meanwhile.
        StoreUnavailable: the registry or the key service is out of reach.
        UnsealFailed: the current key is damaged.
    """
    last, retirements = "", 0
    while page := await devices.after(last, limit=_PAGE):
        changes, damaged = await _sealed_anew(page, keyring)
        try:
            await _replace(devices, changes)
        except KeyRetired:
            retirements += 1
            if retirements > _RETIREMENTS:
                raise
            await keyring.refresh()
        else:
            yield Resealing(len(page), tuple(damaged))
            last, retirements = page[-1].id, 0


async def _sealed_anew(page: Sequence[SealedDevice], keyring: Keyring) -> tuple[list[Resealed], list[str]]:
    """Return what is to be replaced on a page, and the ids of the devices whose secrets do not open."""
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
    return changes, damaged


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
