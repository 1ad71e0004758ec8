"""The way of batches to a database: connections that go back and forth while there is something to carry.

SQLAlchemy's own way of running a statement costs 0.3 to 0.5 ms, most of it on every trip anew; the driver's a tenth of
that, as much as it costs to take a connection out of the pool and to put it back.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.prepared import Member, Parameters, Prepared, Row

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
        self._most = cast("QueuePool", engine.pool).size()
        self._kept: list[_Out] = []
        self._lent = 0  # connections that batches travel on, or wait for at the pool
        self._waiting: deque[asyncio.Future[_Out | None]] = deque()  # of batches, while all connections are lent
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
        out = await self._lend(loop)
        stays = False
        try:
            rows = await self._fetch(out, text, parameters)
            stays = await self._stays(out, loop)
        finally:
            self._return(out if stays else None, loop)
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

    async def _lend(self, loop: asyncio.AbstractEventLoop) -> _Out:
        """Return a connection that is kept, or one that another batch comes back with, or one of the pool's."""
        out = self._next_kept()
        if out is None and self._lent >= self._most:
            out = await self._handed_on(loop)
            if out is not None:
                return out
        self._lent += 1
        if out is not None:
            return out
        pool = self._engine.pool  # asked before the connection, which may be the last that a pool gives
        try:
            with self.wanted():
                return _Out(await self._engine.raw_connection(), pool, loop.time())
        except BaseException:
            self._return(None, loop)
            raise

    async def _handed_on(self, loop: asyncio.AbstractEventLoop) -> _Out | None:
        """Wait for a connection that is lent, which then counts as lent to the caller; None: it is not to be had."""
        future: asyncio.Future[_Out | None] = loop.create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled():  # it came in the same turn
                out = future.result()
                if out is not None:
                    self._return(out, loop)
            raise

    def _return(self, out: _Out | None, loop: asyncio.AbstractEventLoop) -> None:
        """Hand a connection on to the batch that has waited longest, or keep it; None: it is gone, as all are told."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # it may have been cancelled
                future.set_result(out)
                if out is not None:
                    return
        self._lent -= 1
        if out is not None:
            self._kept.append(out)
            if self._timer is None:
                self._timer = loop.call_later(_OUT_S, self._put_back_kept, loop)

    async def _fetch(self, out: _Out, text: str, parameters: Parameters) -> Sequence[Row]:
        """Run a statement; a connection that may be of no more use is given up where it fails."""
        try:
            return await self._driver.fetch(out.pooled.driver_connection, text, parameters)
        except self._driver.standby:  # by now: new connections look for the server that is not
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

    async def _stays(self, out: _Out, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a connection is to stay out of its pool; it is put back where it is not."""
        if out.pool is not self._engine.pool:
            out.pooled.invalidate()
            return False
        if self._is_closed or self._wanted or loop.time() - out.since_s >= _OUT_S:
            await greenlet_spawn(out.pooled.close)
            await asyncio.sleep(0)  # whoever waits for it takes it now, before the next batch can
            return False
        return True

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
