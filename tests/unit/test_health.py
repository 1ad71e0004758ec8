"""What a node says of itself: each check by name, in bounded time; and the board that its processes share."""

import asyncio
import os
import time

import pytest

from mfa_service.errors import SchemaStale, StoreUnavailable
from mfa_service.ops.board import Board
from mfa_service.ops.health import Check, Health, NotReady


async def well() -> None: ...


def failing(error: Exception) -> Check:
    async def check() -> None:
        raise error

    return check


async def test_a_node_is_ready_where_every_check_goes_well() -> None:
    health = Health(("database", "challenges"))
    health.watch("database", well)
    health.watch("challenges", well)
    report = await health.report()
    assert (report.ready, report.checks) == (True, {"database": "ok", "challenges": "ok"})


async def test_a_check_that_nobody_can_make_yet_is_starting() -> None:
    report = await Health(("database",)).report()
    assert (report.ready, report.checks) == (False, {"database": "starting"})


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (StoreUnavailable("10.0.0.7:6379 is out of reach"), "out of reach"),
        (SchemaStale("the schema is 0001, this version needs 0002"), "does not fit"),
        (NotReady("draining"), "draining"),
        (RuntimeError("hunter2"), "broken"),
    ],
)
async def test_a_check_that_fails_says_why_without_addresses_versions_or_secrets(
    error: Exception, verdict: str
) -> None:
    health = Health(("first", "second"))
    health.watch("first", failing(error))
    health.watch("second", well)
    report = await health.report()
    assert (report.ready, report.checks) == (False, {"first": verdict, "second": "ok"})


async def test_a_check_that_hangs_costs_the_report_its_time_alone_and_is_not_made_twice_at_once() -> None:
    made = []

    async def hang() -> None:
        made.append(1)
        await asyncio.Event().wait()

    health = Health(("first", "second"), timeout_s=0.05)
    health.watch("first", hang)
    health.watch("second", well)
    began_s = time.monotonic()
    for _ in range(2):
        assert (await health.report()).checks == {"first": "no answer in time", "second": "ok"}
    assert time.monotonic() - began_s < 1
    assert len(made) == 1
    await health.close()


async def test_a_check_that_goes_well_again_makes_the_node_ready_again() -> None:
    health = Health(("database",))
    health.watch("database", failing(StoreUnavailable()))
    assert not (await health.report()).ready
    health.watch("database", well)
    assert (await health.report()).ready


async def test_reports_at_once_share_one_round_of_checks() -> None:
    made = []

    async def count() -> None:
        made.append(1)
        await asyncio.sleep(0)

    health = Health(("database",))
    health.watch("database", count)
    reports = await asyncio.gather(*(health.report() for _ in range(5)))
    assert all(report.ready for report in reports)
    assert len(made) == 1


async def said(board: Board) -> str:
    health = Health(("workers",))
    health.watch("workers", board.check)
    return (await health.report()).checks["workers"]


async def test_a_node_serves_while_one_worker_does_and_until_it_drains() -> None:
    board = Board()
    assert await said(board) == "no worker serves"
    board.enter(1)
    board.enter(2)
    assert await said(board) == "no worker serves"
    board.serve(2)
    assert await said(board) == "ok"
    assert (board.serves(1), board.serves(2)) == (False, True)
    board.drain()
    assert await said(board) == "draining"
    for number in (1, 2):
        assert not board.is_empty
        board.leave(number)
    assert board.is_empty


def test_what_a_forked_process_says_its_parent_knows() -> None:
    board = Board()
    child = os.fork()
    if child == 0:
        board.serve(7)
        os._exit(0)
    os.waitpid(child, 0)
    assert (board.serves(7), board.serves(8)) == (True, False)
