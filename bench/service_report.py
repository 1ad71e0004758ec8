"""What the service gave: as a table, held against the goals, and as JSON."""

import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import orjson

from bench.rounds import FLOOR, INITIATE, VALIDATE
from bench.setups import SCALED_OUT
from bench.sweeps import Arrangement, Cell, Figures

_GOALS = {INITIATE: 1.5, VALIDATE: 2.0}  # CPU a request, the floor being 1
_GROWTH_GOAL = 1.1  # CPU a request on the largest registry, that on the smallest being 1
_P50_GOAL_MS = 3.0  # of validate over one connection, every store on this machine
_MEMORY_GOAL_MIB = 120.0
_CONNECTIONS = 64  # at which the goals hold, with one worker


@dataclass(frozen=True, slots=True)
class Storage:
    """What things take where they are kept; a challenge in the service's own memory counts as nothing."""

    setup: str
    devices: int
    device_bytes: float
    challenge_bytes: float


@dataclass(frozen=True, slots=True)
class Results:
    """What has been measured so far; a call that failed has no cell, or one of fewer runs."""

    cells: list[Cell] = field(default_factory=list)
    storage: list[Storage] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, more: "Results") -> None:
        """Take over what another part of the measurement gave."""
        self.cells.extend(more.cells)
        self.storage.extend(more.storage)
        self.failures.extend(more.failures)

    def floors_us(self) -> Mapping[Arrangement, float]:
        """Return the CPU that the floor took in each arrangement."""
        return {cell.arrangement: cell.figures.cpu_us for cell in self.cells if cell.call == FLOOR}


def described(arrangement: Arrangement) -> str:
    """Return an arrangement in words."""
    return (
        f"{arrangement.setup}, {_count(arrangement.workers, 'worker')},"
        f" {_count(arrangement.connections, 'connection')}, {arrangement.devices:,} devices"
    )


def opening(ceiling: Figures) -> Iterator[str]:
    """Give the lines that come first.

    Args:
        ceiling: what the generator reaches.
    """
    yield f"{os.cpu_count()} cores, Python {platform.python_version()}. CPU, user and system, in µs a request."
    yield (
        f"The generator reaches {ceiling.per_s:,.0f} requests/s on a server that does next to nothing,"
        f" at {ceiling.generator_us:.1f} µs of its own for each."
    )


def table(results: Results) -> Iterator[str]:
    """Give the lines of a table: a block for each arrangement, a row for each call; then what is stored."""
    floors_us = results.floors_us()
    for arrangement in dict.fromkeys(cell.arrangement for cell in results.cells):
        yield ""
        yield described(arrangement)
        yield (
            f"{'':11}{'CPU':>8}{'to floor':>10}{'Redis':>8}{'SQL':>8}{'a second':>10}"
            f"{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}{'MiB':>6}{'generator':>11}"
        )
        for cell in results.cells:
            if cell.arrangement == arrangement:
                one = cell.figures
                yield (
                    f"{cell.call:11}{one.cpu_us:>8.1f}{one.cpu_us / floors_us.get(arrangement, math.nan):>10.2f}"
                    f"{one.redis_us:>8.1f}{one.database_us:>8.1f}{one.per_s:>10,.0f}{one.p50_ms:>9.2f}"
                    f"{one.p99_ms:>9.2f}{one.p999_ms:>10.2f}{one.rss_mib:>6.0f}{one.generator_us:>11.1f}"
                )
    for storage in results.storage:
        redis = f", an open challenge {storage.challenge_bytes:,.0f} in Redis" if storage.challenge_bytes else ""
        yield f"a device takes {storage.device_bytes:,.0f} bytes in the database{redis}"
    yield from (f"FAILED {failure}" for failure in results.failures)


def verdicts(results: Results) -> Iterator[str]:
    """Give a line for each goal whose cells were measured: what was reached, and whether that meets it."""
    if not results.cells:
        return
    floors_us = results.floors_us()
    alone = [cell for cell in results.cells if cell.arrangement.workers == 1]
    usual = [cell for cell in alone if cell.arrangement.connections == _CONNECTIONS and cell.call in _GOALS]
    first = results.cells[0].arrangement.devices  # the other numbers of devices are there for what growth costs
    for cell in usual:
        if cell.arrangement.devices == first:
            ratio = cell.figures.cpu_us / floors_us.get(cell.arrangement, math.nan)
            yield _verdict(
                f"{cell.call}, {cell.arrangement.setup}: CPU to the floor", ratio, _GOALS[cell.call], "times"
            )
    sizes = sorted({cell.arrangement.devices for cell in usual})
    smallest = {
        (cell.arrangement.setup, cell.call): cell.figures for cell in usual if cell.arrangement.devices == sizes[0]
    }
    for cell in usual:
        before = smallest.get((cell.arrangement.setup, cell.call))
        if before is not None and sizes[0] < sizes[-1] == cell.arrangement.devices:
            ratio = cell.figures.cpu_us / before.cpu_us
            what = f"{cell.call}, {cell.arrangement.setup}: CPU of {sizes[-1]:,} devices to {sizes[0]:,}"
            yield _verdict(what, ratio, _GROWTH_GOAL, "times")
    for cell in alone:
        if cell.call == VALIDATE and cell.arrangement.connections == 1 and cell.arrangement.setup == SCALED_OUT.name:
            yield _verdict("validate, scaled-out, one connection: p50", cell.figures.p50_ms, _P50_GOAL_MS, "ms")
    largest = max(cell.figures.rss_mib for cell in results.cells if cell.call != FLOOR)
    yield _verdict("memory of a worker", largest, _MEMORY_GOAL_MIB, "MiB")


def as_json(results: Results, ceiling: Figures) -> bytes:
    """Return everything as JSON, each cell with its ratio to the floor of the same run.

    Args:
        results: what was measured.
        ceiling: what the generator reaches.
    """
    floors_us = results.floors_us()
    cells = [
        {
            **asdict(cell.arrangement),
            "call": cell.call,
            "to_floor": cell.figures.cpu_us / floors_us.get(cell.arrangement, math.nan),
            **asdict(cell.figures),
        }
        for cell in results.cells
    ]
    kept = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "ceiling_per_s": ceiling.per_s,
        "cells": cells,
        "storage": [asdict(one) for one in results.storage],
        "failures": results.failures,
    }
    return orjson.dumps(kept, option=orjson.OPT_INDENT_2)


def _verdict(what: str, reached: float, goal: float, unit: str) -> str:
    return f"{what} {reached:.2f} {unit}, at most {goal:g}: {'met' if reached <= goal else 'NOT MET'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
