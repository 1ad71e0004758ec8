"""What `make bench-stores` counts, and how it holds the figures against their bounds."""

import asyncio

import pytest

from bench.measuring import Figures, measure
from bench.operations import Way
from bench.report import Bound, Cell, cell_of, ratios, table, verdict
from mfa_service.errors import StoreUnavailable


def cells(*, batched_us: float, single_us: float) -> list[Cell]:
    return [
        Cell("Valkey", "peek", way, callers, 1000.0, cpu_us, 0)
        for callers in (1, 64)
        for way, cpu_us in ((Way.BATCHED, batched_us if callers == 64 else single_us), (Way.SINGLE, single_us))
    ]


@pytest.mark.parametrize(("batched_us", "said"), [(10.0, ": met ("), (30.1, ": NOT MET (")])
def test_a_bound_is_met_where_the_batched_call_costs_no_more_at_64_callers(batched_us: float, said: str) -> None:
    bound = Bound("Redis", frozenset({"Valkey"}), 0.3)
    [found] = ratios(cells(batched_us=batched_us, single_us=100.0), bound)
    assert found.ratio == pytest.approx(batched_us / 100)
    assert said in verdict(bound, [found])


def test_the_dearest_call_of_a_kind_decides() -> None:
    bound = Bound("Redis", frozenset({"Valkey"}), 0.3)
    [cheap] = ratios(cells(batched_us=10.0, single_us=100.0), bound)
    [dear] = ratios(cells(batched_us=50.0, single_us=100.0), bound)
    assert "NOT MET" in verdict(bound, [cheap, dear])


def test_a_cell_is_the_median_of_its_runs_and_all_that_was_refused() -> None:
    runs = [Figures(300.0, 1.0, 0), Figures(100.0, 9.0, 2), Figures(200.0, 2.0, 1)]
    assert cell_of("Valkey", "peek", Way.SINGLE, 16, runs) == Cell("Valkey", "peek", Way.SINGLE, 16, 200.0, 2.0, 3)


def test_the_table_has_a_row_for_each_call_and_way() -> None:
    header, batched, single = table(cells(batched_us=10.0, single_us=100.0))
    assert header.split() == ["callers", "1", "64"]
    assert batched.split() == ["Valkey", "peek", "batched", "1,000/s", "100.0", "µs", "1,000/s", "10.0", "µs"]
    assert single.split()[2] == "single"


async def test_calls_that_are_refused_are_told_apart_and_callers_never_exceed_their_number() -> None:
    running = most = calls = 0

    async def call() -> None:
        nonlocal running, most, calls
        running += 1
        calls += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if calls % 2:
            raise StoreUnavailable("too slow")

    figures = await measure(call, callers=4, duration_s=0.02)
    assert most == 4
    assert figures.per_s > 0
    assert figures.refused > 0
    assert figures.cpu_us > 0


async def test_a_call_that_waits_for_nothing_leaves_the_loop_its_turn() -> None:
    async def call() -> None:
        pass

    async with asyncio.timeout(5):
        assert (await measure(call, callers=2, duration_s=0.02)).per_s > 0
