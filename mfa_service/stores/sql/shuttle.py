"""The way of batches to a database: connections that go back and forth while there is something to carry.

SQLAlchemy's own way of running a statement costs 0.3 to 0.5 ms, most of it on every trip anew; the driver's a tenth of
that, as much as it costs to take a connection out of the pool and to put it back.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.prepared import Member, Prepared, Row

# How long a connection stays out of the pool, which costs as much as a batch to put it back. Whoever needs one of the
# pool's says so (`wanted`) and waits for no longer than a batch.
_OUT_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Out:
    """A connection that is out of its pool.

    Attributes:
        pool: the engine's at that time; it has another one once its connections lead to no server that takes writes.
        since_s: when it was taken out, by the loop's clock.
    """

    pooled: PoolProxiedConnection
    pool: Pool
    since_s: float


class Shuttle:
    """Runs statements that commit by themselves, on connections that it keeps for a moment after each.

    Args:
        engine: whose connections.
        driver: the engine's.
    """

    def __init__(self, engine: AsyncEngine, driver: Driver) -> None:
        self._engine = engine
        self._driver = driver
        self._kept: list[_Out] = []
        self._timer: asyncio.TimerHandle | None = None
        self._putting_back: set[asyncio.Task[None]] = set()
        self._wanted = 0
        self._is_closed = False

    async def run(self, statement: Prepared, batch: Sequence[Member]) -> Sequence[Row]:
        """Run a statement and return its rows.

        A connection that no whole answer came from, as where the caller was cancelled, is not used again.

        Args:
            statement: compiled for the engine.
            batch: its members, 1 to 256.

        Raises:
            DBAPIError, TimeoutError: there is no connection to be had.
            OSError: the connection broke, or took too long.
            *Driver.errors: whatever the driver raises.
        """
        text, parameters = statement.bound(batch)
        loop = asyncio.get_running_loop()
        out = self._next_kept()
        if out is None:
            pool = self._engine.pool  # asked before the connection, which may be the last that a pool gives
            with self.wanted():
                out = _Out(await self._engine.raw_connection(), pool, loop.time())
        try:
            rows = await self._driver.fetch(out.pooled.driver_connection, text, parameters)
        except self._driver.standby:  # a standby by now: new connections look for the server that is not
            for one in (out, *self._kept):
                one.pooled.invalidate()
            self._kept.clear()
            await self._engine.dispose()
            raise
        except self._driver.answers as error:  # after a fatal one the server hangs up
            if getattr(error, "severity_en", "") in ("FATAL", "PANIC"):
                out.pooled.invalidate()
            else:
                await greenlet_spawn(out.pooled.close)
            raise
        except BaseException:
            out.pooled.invalidate()
            raise
        if out.pool is not self._engine.pool:
            out.pooled.invalidate()
        elif self._is_closed or self._wanted or loop.time() - out.since_s >= _OUT_S:
            await greenlet_spawn(out.pooled.close)
            await asyncio.sleep(0)  # whoever waits for it takes it now, before the next batch can
        else:
            self._kept.append(out)
            if self._timer is None:
                self._timer = loop.call_later(_OUT_S, self._put_back_kept, loop)
        return rows

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Keep no connection within the block, in which somebody else waits for one of the pool's."""
        self._wanted += 1
        try:
            self._put_back_now()
            yield
        finally:
            self._wanted -= 1

    async def close(self) -> None:
        """Put every connection back, and keep none from now on."""
        self._is_closed = True
        self._put_back_now()
        if self._putting_back:
            await asyncio.wait(self._putting_back)

    def _next_kept(self) -> _Out | None:
        while self._kept:
            out = self._kept.pop()
            if not self._driver.is_closed(out.pooled.driver_connection):
                return out
            out.pooled.invalidate()
        return None

    def _put_back_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._put_back_kept(asyncio.get_running_loop())

    def _put_back_kept(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        kept, self._kept = self._kept, []
        if kept:
            task = loop.create_task(_put_back(kept))
            self._putting_back.add(task)
            task.add_done_callback(self._putting_back.discard)


async def _put_back(kept: Sequence[_Out]) -> None:
    for out in kept:
        await greenlet_spawn(out.pooled.close)
