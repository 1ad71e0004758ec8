"""Concurrent calls for the same statement travel together: the service's one performance idea.

What arrives while one batch is under way makes up the next one. An idle batcher sends at the next turn of the event
loop, so a lone caller waits for nobody and callers of the same turn share one trip.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar, cast

from mfa_service.errors import RowLocked, StoreUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

# What was submitted, where its outcome goes, and when it came by the loop's clock. A bare tuple: made for every call.
_Member: TypeAlias = tuple[Item, asyncio.Future[Result], float]


class Missing(Exception):
    """The batch was carried out and its answer has no entry for this item."""


class Batcher(Generic[Item, Result]):
    """Sends what concurrent callers submit in batches, one batch at a time.

    What is submitted is sent, even if its caller is cancelled meanwhile, unless it waited longer than the deadline.
    When a batch passes the deadline its members are told at once and `send` is cancelled; the next batch starts only
    after `send` has ended. So `send` drops the connection it is cancelled on, and none ever serves two batches.

    Args:
        send: carries out the items of one batch and returns their results by key.
        key: an item's key in what `send` returns.
        apart: of items equal in this a batch has one at most, and the others follow in order in later ones. Items of
            one key must be equal in it. None: nothing stays apart, and items of one key in a batch are sent as one
            and share its result; for what is only read.
        size: most members of a batch.
        queue: most items waiting at any time.
        deadline_s: how long an item may wait to be sent, and how long a batch may take then.
        lost: what `send` raises where the store is out of reach, besides `StoreUnavailable`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Mapping[Hashable, Result]]],
        *,
        key: Callable[[Item], Hashable],
        apart: Callable[[Item], Hashable] | None = None,
        size: int = 256,
        queue: int = 4096,
        deadline_s: float = 1.0,
        lost: tuple[type[Exception], ...] = (),
    ) -> None:
        self._send = send
        self._key = key
        self._apart = apart
        self._size = size
        self._queue = queue
        self._deadline_s = deadline_s
        self._lost: tuple[type[Exception], ...] = (StoreUnavailable, *lost)
        self._lines: dict[Hashable, list[_Member[Item, Result]]] = {}  # who waits, in a line for each value of `apart`
        self._turns: deque[Hashable] = deque()  # the lines in the order in which they are next
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = False
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """Have an item carried out with the next batch and return its own result.

        Raises:
            Missing: the answer has no entry for it.
            StoreUnavailable: the store is lost, a deadline passed, the queue is full or the batcher closed; the item
                may have been carried out all the same.
            Exception: what `send` raised for this item alone.
        """
        if self._closed or self._waiting >= self._queue:
            raise StoreUnavailable("the store is closed" if self._closed else "too many calls are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        apart: Hashable = future if self._apart is None else self._apart(item)
        line = self._lines.get(apart)
        if line is None:
            self._lines[apart] = [(item, future, loop.time())]
            self._turns.append(apart)
        else:
            line.append((item, future, loop.time()))
        self._waiting += 1
        if self._task is None:
            # An empty context: a batch is nobody's, and must not log under the trace id of its first caller.
            self._task = loop.create_task(self._run(), context=contextvars.Context())
        return await future

    async def close(self) -> None:
        """Refuse further items and return when those submitted have their outcome."""
        self._closed = True
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=2 * self._deadline_s)
            for task in unfinished:
                task.cancel()
                await asyncio.wait({task}, timeout=self._deadline_s)

    async def _run(self) -> None:
        batch: list[_Member[Item, Result]] = []
        try:
            while batch := self._next_batch():
                await self._carry_out(batch)
                await asyncio.sleep(0)  # those just answered may come back in this turn, and travel along
        finally:
            self._task = None
            _refuse(batch, "the batch was given up")
            self._refuse_waiting("the batch ahead was given up")

    def _next_batch(self) -> list[_Member[Item, Result]]:
        batch: list[_Member[Item, Result]] = []
        unfinished: list[Hashable] = []
        oldest = asyncio.get_running_loop().time() - self._deadline_s
        while self._turns and len(batch) < self._size:
            apart = self._turns.popleft()
            line = self._lines[apart]
            while line:
                member = line.pop(0)
                self._waiting -= 1
                if member[2] >= oldest:
                    batch.append(member)
                    break
                _refuse((member,), "the call waited too long")
            if line:
                unfinished.append(apart)
            else:
                del self._lines[apart]
        self._turns.extend(unfinished)
        return batch

    async def _carry_out(self, batch: Sequence[_Member[Item, Result]]) -> None:
        with self._deadline(batch):
            try:
                items = {self._key(item): item for item, _, _ in batch}
                self._answer(batch, await self._send(list(items.values())))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome of the call it belongs to
                if self._is_lost(error):
                    _refuse(batch, "the store is out of reach", error)
                elif len(batch) == 1:
                    _fail(batch[0], error)
                elif not self._overdue:
                    await self._carry_out_singly(batch)

    async def _carry_out_singly(self, batch: Sequence[_Member[Item, Result]]) -> None:
        """Find out whose item it was that made a batch fail, within what is left of the batch's deadline."""
        for member in batch:
            try:
                self._answer((member,), await self._send([member[0]]))
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

    def _answer(self, batch: Iterable[_Member[Item, Result]], results: Mapping[Hashable, Result]) -> None:
        key = self._key
        for item, future, _ in batch:
            if not future.done():  # its caller may be gone
                try:
                    future.set_result(results[key(item)])
                except KeyError:
                    future.set_exception(Missing())

    @contextlib.contextmanager
    def _deadline(self, batch: Sequence[_Member[Item, Result]]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[None]", self._task)
        self._timer = loop.call_later(self._deadline_s, self._pass_deadline, batch, task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._overdue or task.cancelling() > 1:
                raise
        finally:
            self._timer.cancel()
            if self._overdue:
                self._overdue = False
                task.uncancel()

    def _pass_deadline(self, batch: Sequence[_Member[Item, Result]], task: asyncio.Task[None]) -> None:
        """Tell the members and cancel their `send`; while that does not end, refuse all who wait behind it."""
        if self._overdue:
            self._refuse_waiting("the store does not answer")
        else:
            self._overdue = True
            _refuse(batch, "the store did not answer in time")
            task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._deadline_s, self._pass_deadline, batch, task)

    def _refuse_waiting(self, reason: str) -> None:
        for line in self._lines.values():
            _refuse(line, reason)
        self._lines.clear()
        self._turns.clear()
        self._waiting = 0


def _refuse(batch: Iterable[_Member[Item, Result]], reason: str, cause: Exception | None = None) -> None:
    for member in batch:
        error = StoreUnavailable(reason)  # each its own: a raised exception collects the traceback of its raiser
        error.__cause__ = cause
        _fail(member, error)


def _fail(member: _Member[Item, Result], error: Exception) -> None:
    if not member[1].done():
        member[1].set_exception(error)
