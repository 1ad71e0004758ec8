"""Concurrent calls for the same statement travel together: the service's one performance idea.

What arrives while one batch is under way makes up the next one. An idle batcher sends at the next turn of the event
loop, so a lone caller waits for nobody and callers of the same turn share one trip.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Generic, cast

from mfa_service.errors import RowLocked, StoreUnavailable
from mfa_service.stores.queues import Apart, Fifo, Item, Member, Result

_item, _came_s = itemgetter(0), itemgetter(2)  # of a member


class Missing(Exception):
    """The batch was carried out and its answer has no entry for this item."""


class Batcher(Generic[Item, Result]):
    """Sends what concurrent callers submit in batches, one batch at a time.

    What is submitted is sent, even if its caller is cancelled meanwhile, unless it waited longer than the deadline.
    When a batch passes the deadline its members are told at once and `send` is cancelled; the next batch starts only
    after `send` has ended. So `send` drops the connection it is cancelled on, and none ever serves two batches.

    Args:
        send: carries out the items of one batch and returns their results by key.
        key: an item's key in what `send` returns; None: the item itself.
        apart: of items equal in this a batch has one at most, and the others follow in order in later ones. Items of
            one key must be equal in it. None: nothing stays apart, and items of one key in a batch are sent as one
            and share its result; for what is only read.
        size: most members of a batch.
        queue: most items waiting at any time.
        deadline_s: how long an item may wait to be sent, and how long a batch may take then.
        lost: what `send` raises where the store is out of reach, besides `StoreUnavailable`.
        missing: what an item's caller is told where the answer has no entry for it.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Mapping[Hashable, Result]]],
        *,
        key: Callable[[Item], Hashable] | None = None,
        apart: Callable[[Item], Hashable] | None = None,
        size: int = 256,
        queue: int = 4096,
        deadline_s: float = 1.0,
        lost: tuple[type[Exception], ...] = (),
        missing: Callable[[Item], Exception] | None = None,
    ) -> None:
        self._send = send
        self._key = key
        self._waiting: Fifo[Item, Result] = Fifo() if apart is None else Apart(apart)
        self._size = size
        self._most_waiting = queue
        self._deadline_s = deadline_s
        self._lost: tuple[type[Exception], ...] = (StoreUnavailable, *lost)
        self._missing = missing
        self._loop: asyncio.AbstractEventLoop | None = None  # of the callers; to ask for it costs a system call
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = False
        self._closed = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Have an item carried out with the next batch.

        Returns:
            Its own result, to be awaited. It raises what `missing` says where the answer has no entry for the item,
            `StoreUnavailable` where the store is lost or a deadline passed, though the item may have been carried out
            all the same, and whatever `send` raised for this item alone.

        Raises:
            StoreUnavailable: the queue is full or the batcher closed.
        """
        if len(self._waiting) >= self._most_waiting:
            raise StoreUnavailable("the store is closed" if self._closed else "too many calls are waiting")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future, loop.time()))
        if self._task is None:
            # An empty context: a batch is nobody's, and must not log under the trace id of its first caller.
            self._task = loop.create_task(self._run(loop), context=contextvars.Context())
            self._task.add_done_callback(self._refuse_unbegun)
        return future

    async def close(self) -> None:
        """Refuse further items and return when those submitted have their outcome."""
        self._closed = True
        self._most_waiting = 0
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=2 * self._deadline_s)
            for task in unfinished:
                task.cancel()
                await asyncio.wait({task}, timeout=self._deadline_s)

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[Member[Item, Result]] = []
        try:
            while batch := self._next_batch(loop.time() - self._deadline_s):
                await self._carry_out(batch, loop)
                await asyncio.sleep(0)  # those just answered may come back in this turn, and travel along
        finally:
            self._task = None
            _refuse(batch, "the batch was given up")
            _refuse(self._waiting.take_all(), "the batch ahead was given up")

    def _refuse_unbegun(self, task: asyncio.Task[None]) -> None:
        """Refuse those who wait for a task that was cancelled before its first step, of which it knows nothing."""
        if self._task is task:
            self._task = None
            _refuse(self._waiting.take_all(), "the batch was given up")

    def _next_batch(self, oldest_s: float) -> list[Member[Item, Result]]:
        while taken := self._waiting.take(self._size):
            if min(map(_came_s, taken)) >= oldest_s:
                return taken
            _refuse((member for member in taken if member[2] < oldest_s), "the call waited too long")
            batch = [member for member in taken if member[2] >= oldest_s]
            if batch:
                return batch
        return []

    async def _carry_out(self, batch: Sequence[Member[Item, Result]], loop: asyncio.AbstractEventLoop) -> None:
        """Carry a batch out within its deadline, whose passing ends it and not the task."""
        task = cast("asyncio.Task[None]", self._task)
        self._timer = loop.call_later(self._deadline_s, self._pass_deadline, batch, task, loop)
        try:
            await self._attempt(batch)
        except asyncio.CancelledError:
            if not self._overdue or task.cancelling() > 1:
                raise
        finally:
            self._timer.cancel()
            if self._overdue:
                self._overdue = False
                task.uncancel()

    async def _attempt(self, batch: Sequence[Member[Item, Result]]) -> None:
        try:
            items = list(map(_item, batch))
            self._answer(batch, self._keys(items), await self._send(self._once(items)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome of the call it belongs to
            if self._is_lost(error):
                _refuse(batch, "the store is out of reach", error)
            elif len(batch) == 1:
                _fail(batch[0], error)
            elif not self._overdue:
                await self._carry_out_singly(batch)

    async def _carry_out_singly(self, batch: Sequence[Member[Item, Result]]) -> None:
        """Find out whose item it was that made a batch fail, within what is left of the batch's deadline."""
        for member in batch:
            try:
                self._answer((member,), self._keys(member[:1]), await self._send(member[:1]))
            except Exception as error:  # noqa: BLE001 - the outcome of this call
                if self._is_lost(error):
                    _refuse(batch, "the store is out of reach", error)
                    return
                _fail(member, error)
            if self._overdue:
                return

    def _is_lost(self, error: Exception) -> bool:
        """Whether the store is out of reach for every member; a locked row is one member's alone."""
        return isinstance(error, self._lost) and not isinstance(error, RowLocked)

    def _once(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return one item for each key; those that stay apart have one each."""
        if isinstance(self._waiting, Apart):
            return items
        if self._key is None:
            return list(dict.fromkeys(items))
        return list({self._key(item): item for item in items}.values())

    def _keys(self, items: Sequence[Item]) -> Sequence[Hashable]:
        return items if self._key is None else [self._key(item) for item in items]

    def _answer(
        self,
        batch: Iterable[Member[Item, Result]],
        keys: Iterable[Hashable],
        results: Mapping[Hashable, Result],
    ) -> None:
        for member, key in zip(batch, keys, strict=True):
            try:
                member[1].set_result(results[key])
            except KeyError:
                _fail(member, Missing() if self._missing is None else self._missing(member[0]))
            except asyncio.InvalidStateError:  # its caller is gone
                pass

    def _pass_deadline(
        self, batch: Sequence[Member[Item, Result]], task: asyncio.Task[None], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Tell the members and cancel their `send`; while that does not end, refuse all who wait behind it."""
        if self._overdue:
            _refuse(self._waiting.take_all(), "the store does not answer")
        else:
            self._overdue = True
            _refuse(batch, "the store did not answer in time")
            task.cancel()
        self._timer = loop.call_later(self._deadline_s, self._pass_deadline, batch, task, loop)


def _refuse(batch: Iterable[Member[Item, Result]], reason: str, cause: Exception | None = None) -> None:
    for member in batch:
        error = StoreUnavailable(reason)  # each its own: a raised exception collects the traceback of its raiser
        error.__cause__ = cause
        _fail(member, error)


def _fail(member: Member[Item, Result], error: Exception) -> None:
    if not member[1].done():
        member[1].set_exception(error)
