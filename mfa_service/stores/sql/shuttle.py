"""The way of batches to a database: connections that go back and forth while there is something to carry.

SQLAlchemy's own way of running a statement costs 0.3 to 0.5 ms, most of it on every trip anew; the driver's a tenth of
that, as much as it costs to take a connection out of the pool and to put it back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool, PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.prepared import Member, Parameters, Prepared, Row

# How long a connection stays out of the pool, which costs as much as a batch to put it back. Whoever needs one of the
# pool's says so (`wanted`) and waits for no longer than a batch.
_OUT_S: Final = 0.25

Result = TypeVar("Result")

_PATIENCE_S: Final = 0.05  # several times what a batch takes; a lock of another process's takes ten times as long


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
        self._most = self._pool.size()
        self._kept: list[_Out] = []
        self._lent = 0  # connections that batches travel on, or wait for at the pool
        self._waiting: deque[asyncio.Future[_Out | None]] = deque()  # of batches, while all connections are lent
        self._timer: asyncio.TimerHandle | None = None
        self._putting_back: set[asyncio.Task[None]] = set()
        self._wanted = 0
        self._is_closed = False

    async def run(
        self, statement: Prepared, batch: Sequence[Member], *, or_else: "Shuttle | None" = None
    ) -> Sequence[Row]:
        """Run a statement and return its rows.

        A connection that no whole answer came from, as where the caller was cancelled, is not used again.

        Args:
            statement: compiled for the engine.
            batch: its members, 1 to 256.
            or_else: runs it in place of this one where somebody who is no batch waits for a connection, or no batch
                comes back with one soon.

        Raises:
            DBAPIError, TimeoutError: there is no connection to be had.
            OSError: the connection broke, or took too long.
            *Driver.errors: whatever the driver raises.
        """
        bound = statement.bound(batch)
        loop = asyncio.get_running_loop()
        out = await self._lend(loop, None if or_else is None else _PATIENCE_S)
        if out is None:
            return await cast("Shuttle", or_else).run(statement, batch)
        return statement.unpacked(await self._carry(self._driver.fetch, bound, out, loop))

    async def change(self, statement: Prepared, batch: Sequence[Member]) -> int:
        """Run a statement that returns no rows, and return how many it changed; as `run`."""
        bound = statement.bound(batch)
        loop = asyncio.get_running_loop()
        out = cast("_Out", await self._lend(loop, None))
        return await self._carry(self._driver.change, bound, out, loop)

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

    async def _lend(self, loop: asyncio.AbstractEventLoop, patience_s: float | None) -> _Out | None:
        """Return a connection that is kept, or that another batch comes back with, or of the pool's.

        Args:
            loop: the running one.
            patience_s: for how long to wait for another batch's, and not at all beside others; None: for any time.

        Returns:
            The connection; None where it would have taken too much patience.
        """
        if patience_s is not None and self._wanted:
            return None
        out = self._next_kept()
        if out is None and self._lent >= self._most:
            try:
                out = await self._handed_on(loop, patience_s)
            except TimeoutError:
                return None
        elif out is None and patience_s is not None and self._pool.checkedout() >= self._most:
            return None  # somebody who is no batch has it
        else:
            self._lent += 1
        if out is not None:
            if self._is_good(out):
                return out
            out.pooled.invalidate()
        pool = self._engine.pool  # asked before the connection, which may be the last that a pool gives
        try:
            with self.wanted():
                return _Out(await self._engine.raw_connection(), pool, loop.time())
        except BaseException:
            self._return(None, loop)
            raise

    async def _handed_on(self, loop: asyncio.AbstractEventLoop, patience_s: float | None) -> _Out | None:
        """Wait for a lent connection, or for its place where it is gone; it counts as lent all along.

        Raises:
            TimeoutError: it took longer than that.
        """
        future: asyncio.Future[_Out | None] = loop.create_future()
        self._waiting.append(future)
        timer = None if patience_s is None else loop.call_later(patience_s, _give_up, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # it came in the same turn
                self._return(future.result(), loop)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _return(self, out: _Out | None, loop: asyncio.AbstractEventLoop) -> None:
        """Hand a connection, or its place where it is gone, on to the batch that has waited longest, or keep it."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # else its batch is gone
                future.set_result(out)
                return
        self._lent -= 1
        if out is None:
            return
        if self._is_closed:
            out.pooled.invalidate()
        else:
            self._kept.append(out)
            if self._wanted:
                self._put_back_kept(loop)
            elif self._timer is None:
                self._timer = loop.call_later(_OUT_S, self._put_back_kept, loop)

    async def _carry(
        self,
        run: Callable[[Any, str, Parameters], Awaitable[Result]],
        bound: tuple[str, Parameters],
        out: _Out,
        loop: asyncio.AbstractEventLoop,
    ) -> Result:
        """Have a driver run a statement on a lent connection, which then goes back."""
        stays = False
        try:
            result = await self._run_on(out, run, bound)
            stays = await self._stays(out, loop)
        finally:
            self._return(out if stays else None, loop)
        return result

    async def _run_on(
        self, out: _Out, run: Callable[[Any, str, Parameters], Awaitable[Result]], bound: tuple[str, Parameters]
    ) -> Result:
        """Run a statement; a connection that may be of no more use is given up where it fails."""
        try:
            return await run(out.pooled.driver_connection, *bound)
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
            if self._is_good(out):
                return out
            out.pooled.invalidate()
        return None

    @property
    def _pool(self) -> QueuePool:
        return cast("QueuePool", self._engine.pool)

    def _is_good(self, out: _Out) -> bool:
        return out.pool is self._engine.pool and not self._driver.is_closed(out.pooled.driver_connection)

    def _put_back_now(self) -> None:
        if self._timer is not None:
            self._put_back_kept(asyncio.get_running_loop())

    def _put_back_kept(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept, self._kept = self._kept, []
        if kept:
            task = loop.create_task(_put_back(kept))
            self._putting_back.add(task)
            task.add_done_callback(self._putting_back.discard)


async def _put_back(kept: Sequence[_Out]) -> None:
    for out in kept:
        await greenlet_spawn(out.pooled.close)


def _give_up(future: "asyncio.Future[_Out | None]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
