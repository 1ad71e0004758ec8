"""Turns at the database's connections, so that no application's calls stand before everybody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from mfa_service.errors import StoreUnavailable


class Turns:
    """Lets a few calls of each application go on at a time; its others wait for those, and nobody else does.

    For what does not travel in batches: a pool serves whoever came first, so a thousand such calls would keep batches
    and upkeep from its connections for longer than their deadlines.

    Args:
        at_once: how many calls of an application go on at a time.
        within_s: how long a call may wait for its turn, in seconds.
    """

    def __init__(self, *, at_once: int = 4, within_s: float = 1.0) -> None:
        self._at_once = at_once
        self._within_s = within_s
        self._lines: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # as long as anyone is in one

    @asynccontextmanager
    async def of(self, application_id: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs.

        Args:
            application_id: whose call it is.

        Raises:
            StoreUnavailable: it did not come in time.
        """
        line = self._lines.get(application_id)
        if line is None:
            line = self._lines[application_id] = asyncio.Semaphore(self._at_once)
        try:
            async with asyncio.timeout(self._within_s):
                await line.acquire()
        except TimeoutError:
            raise StoreUnavailable("too many calls of the application are waiting") from None
        try:
            yield
        finally:
            line.release()
