"""Walks over all devices until each one's secret is sealed with the current key."""

import asyncio
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click

from mfa_service import sealing
from mfa_service.errors import RowLocked
from mfa_service.ports import SealedDevices

_WALKS: Final = 4  # for devices that were registered with an older key during the walk before
_SEALED_BEFORE_S: Final = 1.5  # for which a worker may go on sealing with the key before, with half a second to commit


async def seal_all_anew(devices: SealedDevices, keyring: sealing.Keyring) -> Sequence[str]:
    """Walk over all devices until no secret of an older key is left that opens.

    Args:
        devices: their secrets.
        keyring: opens and seals them.

    Returns:
        The ids of the devices whose secrets do not open, in order.

    Raises:
        ClickException: it was stopped, a row is held for too long, or devices keep coming with an older key.
        StoreUnavailable: the registry or the key service is out of reach, also where nothing is left to seal.
    """
    damaged: Collection[str] = ()
    with _interruptible() as interrupted:
        for walk in range(_WALKS + 1):  # after the last one there is only a look
            needed = await devices.per_key()
            await keyring.refresh()  # after the count, so that no rotation is missed that came before it
            older = needed.keys() - {keyring.sealing_key_id}
            # By their ids: one more that is damaged and one that no longer is would make the same number.
            left = {one for key_id in older for one in await devices.needing(key_id, limit=len(damaged) + 1)}
            if left <= set(damaged):
                return sorted(left)
            if walk == _WALKS:
                break
            if walk:
                await asyncio.sleep(_SEALED_BEFORE_S)
            try:
                damaged = await _walk(devices, keyring, interrupted, total=sum(needed.values()))
            except RowLocked as error:
                raise click.ClickException(
                    f"{error}, for too long; what is done stays done: run it again to go on"
                ) from None
    raise click.ClickException("devices keep coming with an older key; run it again in a minute")


async def _walk(
    devices: SealedDevices, keyring: sealing.Keyring, interrupted: asyncio.Event, *, total: int
) -> Sequence[str]:
    """Walk over all devices once, with a bar where somebody watches, and return the ids of those that do not open."""
    damaged: list[str] = []
    with click.progressbar(
        range(total), label="sealing anew", show_pos=True, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        async for page in sealing.reseal(devices, keyring):
            damaged += page.damaged
            bar.update(page.looked_at)
            if interrupted.is_set():
                raise click.ClickException("stopped; what is done stays done: run it again to go on")
    return damaged


@contextmanager
def _interruptible() -> Iterator[asyncio.Event]:
    """Give what is set by the first Ctrl-C, so that what is under way ends in good order; the second one ends all."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
