"""Turns at the database's connections."""

import asyncio

import pytest

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.sql.turns import Turns


async def test_a_few_calls_of_an_application_go_on_at_a_time_and_the_others_follow_in_order() -> None:
    turns, log = Turns(at_once=2), list[str]()
    begun, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def call(name: str) -> None:
        async with turns.of("shop"):
            log.append(name)
            begun.release()
            await may_end.wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(name)) for name in "abcd"]
        await begun.acquire()
        await begun.acquire()
        assert log == ["a", "b"]
        may_end.set()
    assert log == ["a", "b", "c", "d"]
    assert all(task.done() for task in tasks)


async def test_another_application_waits_for_none_of_them() -> None:
    turns = Turns(at_once=1, within_s=0)
    async with turns.of("shop"), turns.of("bank"):
        pass


async def test_who_gets_no_turn_in_time_is_refused() -> None:
    turns = Turns(at_once=1, within_s=0)
    async with turns.of("shop"):
        with pytest.raises(StoreUnavailable):
            async with turns.of("shop"):
                pass
    async with turns.of("shop"):
        pass


async def test_a_call_that_fails_gives_its_turn_on() -> None:
    turns = Turns(at_once=1, within_s=0)
    for _ in range(3):
        with pytest.raises(LookupError):
            async with turns.of("shop"):
                raise LookupError
