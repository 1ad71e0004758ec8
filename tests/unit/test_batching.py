"""`Batcher`: who travels together, who gets which outcome, and what a lost or slow store does."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence

import pytest

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.batching import Batcher, Missing

Item = tuple[str, int]  # the device, and what makes the item unique


class Lost(Exception):
    """The store is out of reach."""


class Malformed(Exception):
    """An item that the store refuses."""


class Store:
    """Answers an item with the number it carries, once the gate is open, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[Item]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0
        self.fault: Callable[[Sequence[Item]], None] = lambda _items: None

    async def send(self, items: Sequence[Item]) -> Mapping[Hashable, int]:
        self.sent.append(list(items))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.fault(items)
        return {item: item[1] for item in items}


@pytest.fixture
def store() -> Store:
    return Store()


def batcher_of(
    send: Callable[[Sequence[Item]], Awaitable[Mapping[Hashable, int]]],
    *,
    size: int = 256,
    queue: int = 4096,
    deadline_s: float = 5.0,
) -> Batcher[Item, int]:
    return Batcher(
        send,
        key=lambda item: item,
        apart=lambda item: item[0],
        size=size,
        queue=queue,
        deadline_s=deadline_s,
        lost=(Lost,),
    )


async def outcomes(batcher: Batcher[Item, int], items: Sequence[Item]) -> list[int | BaseException]:
    async def outcome(item: Item) -> int:
        return await batcher.submit(item)

    return await asyncio.gather(*map(outcome, items), return_exceptions=True)


def devices(count: int) -> list[Item]:
    return [(f"device-{number}", number) for number in range(count)]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def test_a_lone_caller_is_sent_at_once(store: Store) -> None:
    assert await batcher_of(store.send).submit(("a", 7)) == 7
    assert store.sent == [[("a", 7)]]


async def test_callers_of_one_turn_travel_together_and_each_gets_its_own_result(store: Store) -> None:
    items = devices(50)
    assert await outcomes(batcher_of(store.send), items) == list(range(50))
    assert store.sent == [items]


async def test_what_arrives_while_a_batch_is_under_way_makes_up_the_next_one(store: Store) -> None:
    batcher = batcher_of(store.send)
    store.gate.clear()
    first = asyncio.create_task(outcomes(batcher, [("a", 1)]))
    await until(lambda: len(store.sent) == 1)
    rest = asyncio.create_task(outcomes(batcher, [("b", 2), ("c", 3)]))
    await asyncio.sleep(0)
    store.gate.set()
    assert [await first, await rest] == [[1], [2, 3]]
    assert store.sent == [[("a", 1)], [("b", 2), ("c", 3)]]


async def test_a_batch_has_one_member_of_a_device_and_the_others_follow_in_order(store: Store) -> None:
    items = [("a", 1), ("a", 2), ("b", 3), ("a", 4)]
    assert await outcomes(batcher_of(store.send), items) == [1, 2, 3, 4]
    assert store.sent == [[("a", 1), ("b", 3)], [("a", 2)], [("a", 4)]]


async def test_callers_who_read_the_same_thing_share_one_trip_and_its_result(store: Store) -> None:
    batcher: Batcher[Item, int] = Batcher(store.send)
    items = [("a", 1), ("a", 1), ("b", 2), ("a", 1)]
    assert await outcomes(batcher, items) == [1, 1, 2, 1]
    assert store.sent == [[("a", 1), ("b", 2)]]


async def test_who_comes_while_the_same_thing_is_being_read_gets_a_later_result(store: Store) -> None:
    batcher: Batcher[Item, int] = Batcher(store.send)
    store.gate.clear()
    first = asyncio.ensure_future(batcher.submit(("a", 1)))
    await until(lambda: len(store.sent) == 1)
    second = asyncio.ensure_future(batcher.submit(("a", 1)))
    await asyncio.sleep(0)
    store.gate.set()
    assert [await first, await second] == [1, 1]
    assert store.sent == [[("a", 1)], [("a", 1)]]


async def test_a_busy_device_does_not_keep_the_others_waiting(store: Store) -> None:
    items = [*(("busy", number) for number in range(3)), ("b", 10), ("c", 11)]
    await outcomes(batcher_of(store.send, size=2), items)
    assert store.sent == [[("busy", 0), ("b", 10)], [("busy", 1), ("c", 11)], [("busy", 2)]]


async def test_a_batch_has_no_more_members_than_its_size(store: Store) -> None:
    await outcomes(batcher_of(store.send, size=4), devices(10))
    assert [len(batch) for batch in store.sent] == [4, 4, 2]


async def test_a_caller_over_the_queue_is_refused_at_once(store: Store) -> None:
    answers = await outcomes(batcher_of(store.send, queue=3), devices(5))
    assert answers[:3] == [0, 1, 2]
    assert all(isinstance(answer, StoreUnavailable) for answer in answers[3:])


async def test_an_item_without_an_entry_is_missing_to_its_caller_alone() -> None:
    async def send(items: Sequence[Item]) -> Mapping[Hashable, int]:
        return {item: item[1] for item in items if item[0] != "b"}

    first, second, third = await outcomes(batcher_of(send), [("a", 1), ("b", 2), ("c", 3)])
    assert isinstance(second, Missing)
    assert (first, third) == (1, 3)


async def test_a_caller_whose_item_has_no_entry_is_told_what_that_means() -> None:
    async def send(_items: Sequence[Item]) -> Mapping[Hashable, int]:
        return {}

    def unknown(item: Item) -> Exception:
        return LookupError(item[0])

    batcher: Batcher[Item, int] = Batcher(send, missing=unknown)
    told = await outcomes(batcher, [("a", 1), ("b", 2)])
    assert [(type(one), str(one)) for one in told] == [(LookupError, "a"), (LookupError, "b")]


async def test_a_lost_store_is_unavailable_to_every_member_and_nothing_is_sent_again(store: Store) -> None:
    def lose(_items: Sequence[Item]) -> None:
        raise Lost

    store.fault = lose
    answers = await outcomes(batcher_of(store.send), devices(3))
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert len({id(answer) for answer in answers}) == 3
    assert len(store.sent) == 1


async def test_members_of_a_batch_that_fails_run_again_singly_each_with_its_own_outcome(store: Store) -> None:
    def refuse_b(items: Sequence[Item]) -> None:
        if any(device == "b" for device, _ in items):
            raise Malformed

    store.fault = refuse_b
    first, second, third = await outcomes(batcher_of(store.send), [("a", 1), ("b", 2), ("c", 3)])
    assert isinstance(second, Malformed)
    assert (first, third) == (1, 3)
    assert store.sent[1:] == [[("a", 1)], [("b", 2)], [("c", 3)]]


async def test_a_lone_member_that_fails_is_not_run_again(store: Store) -> None:
    def refuse(_items: Sequence[Item]) -> None:
        raise Malformed

    store.fault = refuse
    with pytest.raises(Malformed):
        await batcher_of(store.send).submit(("a", 1))
    assert len(store.sent) == 1


async def test_a_store_lost_while_members_run_singly_is_unavailable_to_the_rest(store: Store) -> None:
    def lose_at_b(items: Sequence[Item]) -> None:
        if len(items) > 1:
            raise Malformed
        if items[0][0] == "b":
            raise Lost

    store.fault = lose_at_b
    first, *others = await outcomes(batcher_of(store.send), [("a", 1), ("b", 2), ("c", 3)])
    assert first == 1
    assert all(isinstance(answer, StoreUnavailable) for answer in others)
    assert len(store.sent) == 3


async def test_a_cancelled_caller_does_not_cancel_its_batch(store: Store) -> None:
    batcher = batcher_of(store.send)
    store.gate.clear()
    gone = asyncio.ensure_future(batcher.submit(("a", 1)))
    stays = asyncio.ensure_future(batcher.submit(("b", 2)))
    await until(lambda: bool(store.sent))
    gone.cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert await stays == 2
    assert store.cancelled == 0
    assert gone.cancelled()


async def test_what_a_cancelled_caller_submitted_is_sent_all_the_same(store: Store) -> None:
    batcher = batcher_of(store.send)
    gone = asyncio.ensure_future(batcher.submit(("a", 1)))
    await asyncio.sleep(0)
    gone.cancel()
    await until(lambda: store.sent == [[("a", 1)]])


async def test_members_of_an_overdue_batch_are_told_and_their_send_is_cancelled(store: Store) -> None:
    batcher = batcher_of(store.send, deadline_s=0.05)
    store.gate.clear()
    answers = await outcomes(batcher, devices(2))
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    await until(lambda: store.cancelled == 1)
    store.gate.set()
    assert await batcher.submit(("a", 5)) == 5


async def test_the_next_batch_waits_until_an_overdue_send_has_ended() -> None:
    running = 0
    most = 0
    ended = asyncio.Event()

    async def send(items: Sequence[Item]) -> Mapping[Hashable, int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            if items[0][0] == "slow":
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            await ended.wait()  # a connection that takes its time to close
            raise
        finally:
            running -= 1
        return {item: item[1] for item in items}

    batcher = batcher_of(send, deadline_s=0.1)
    with pytest.raises(StoreUnavailable):
        await batcher.submit(("slow", 1))
    following = asyncio.ensure_future(batcher.submit(("a", 2)))
    await asyncio.sleep(0.02)
    ended.set()
    assert await following == 2
    assert most == 1


async def test_callers_behind_a_send_that_never_ends_are_refused() -> None:
    ended = asyncio.Event()

    async def send(items: Sequence[Item]) -> Mapping[Hashable, int]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await ended.wait()
            raise
        return {item: item[1] for item in items}

    batcher = batcher_of(send, deadline_s=0.05)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await batcher.submit(("a", 1))
    ended.set()
    await batcher.close()


async def test_a_call_that_waited_longer_than_the_deadline_is_refused_and_not_sent(store: Store) -> None:
    async def send(items: Sequence[Item]) -> Mapping[Hashable, int]:
        await asyncio.sleep(0.06)
        return await store.send(items)

    batcher = batcher_of(send, deadline_s=0.1)
    answers = await outcomes(batcher, [("a", number) for number in range(4)])
    assert answers[:2] == [0, 1]
    assert all(isinstance(answer, StoreUnavailable) for answer in answers[2:])
    assert store.sent == [[("a", 0)], [("a", 1)]]


async def test_closing_lets_what_was_submitted_finish_and_refuses_the_rest(store: Store) -> None:
    batcher = batcher_of(store.send, size=1)
    submitted = asyncio.create_task(outcomes(batcher, devices(3)))
    await until(lambda: bool(store.sent))
    await batcher.close()
    assert await submitted == [0, 1, 2]
    with pytest.raises(StoreUnavailable):
        await batcher.submit(("a", 1))


async def test_no_task_is_left_behind(store: Store) -> None:
    before = asyncio.all_tasks()
    batcher = batcher_of(store.send)
    await outcomes(batcher, devices(10))
    await until(lambda: asyncio.all_tasks() == before)


async def test_callers_are_refused_where_a_loop_that_ends_cancels_the_batch(store: Store) -> None:
    batcher = batcher_of(store.send, size=1)
    store.gate.clear()
    submitted = asyncio.create_task(outcomes(batcher, devices(2)))
    await until(lambda: bool(store.sent))
    assert batcher._task is not None
    batcher._task.cancel()
    assert all(isinstance(answer, StoreUnavailable) for answer in await submitted)


async def test_callers_are_refused_where_a_batch_is_cancelled_before_it_begins(store: Store) -> None:
    batcher = batcher_of(store.send)
    before = asyncio.all_tasks()
    first = batcher.submit(("device", 1))
    (task,) = asyncio.all_tasks() - before
    task.cancel()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(first, 1)
    assert await batcher.submit(("device", 2)) == 2
    await batcher.close()


async def test_a_batch_does_not_run_in_the_context_of_its_first_caller() -> None:
    trace = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    async def send(items: Sequence[Item]) -> Mapping[Hashable, int]:
        seen.append(trace.get())
        return {item: item[1] for item in items}

    trace.set("the first caller's")
    await batcher_of(send).submit(("a", 1))
    assert seen == ["none"]
