"""The measurements as a table, as JSON, and held against what batching may cost."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import orjson

from bench.measuring import Figures
from bench.operations import Way

_CALLERS = 64  # at which the bounds hold


@dataclass(frozen=True, slots=True)
class Cell:
    """The median of what one call gave, made one way by so many callers on one store."""

    store: str
    operation: str
    way: Way
    callers: int
    per_s: float
    cpu_us: float
    refused: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What a batched call may cost of the CPU of a single one, on stores of one kind."""

    kind: str
    stores: frozenset[str]
    most: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a batched call costs of the CPU of a single one."""

    store: str
    operation: str
    ratio: float


def cell_of(store: str, operation: str, way: Way, callers: int, runs: Sequence[Figures]) -> Cell:
    """Return the medians of several runs, and all that was refused in them."""
    per_s = median(run.per_s for run in runs)
    cpu_us = median(run.cpu_us for run in runs)
    return Cell(store, operation, way, callers, per_s, cpu_us, sum(run.refused for run in runs))


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """Give the lines of a table: a row for each call and way, a column for each number of callers."""
    columns = sorted({cell.callers for cell in cells})
    yield f"{'callers':32}" + "".join(f"{callers:>23}" for callers in columns)
    rows: dict[tuple[str, str, Way], dict[int, Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.store, cell.operation, cell.way), {})[cell.callers] = cell
    for (store, operation, way), row in rows.items():
        figures = "".join(f"{row[callers].per_s:>10,.0f}/s {row[callers].cpu_us:>7.1f} µs" for callers in columns)
        yield f"{store:11}{operation:11}{way.value:10}{figures}"
    if refused := sum(cell.refused for cell in cells):
        yield f"{refused} calls were refused, as a server did not answer in time; they are not counted."


def ratios(cells: Sequence[Cell], bound: Bound) -> Sequence[Ratio]:
    """Return what batching costs on each store of a kind, for each call."""
    at = {(cell.store, cell.operation, cell.way): cell.cpu_us for cell in cells if cell.callers == _CALLERS}
    return [
        Ratio(store, operation, batched_us / at[store, operation, Way.SINGLE])
        for (store, operation, way), batched_us in at.items()
        if way is Way.BATCHED and store in bound.stores
    ]


def verdict(bound: Bound, found: Sequence[Ratio]) -> str:
    """Return a sentence that says whether a bound is met by every call."""
    worst = max(found, key=lambda one: one.ratio)
    each = ", ".join(f"{one.store} {one.operation} {one.ratio:.2f}" for one in found)
    return (
        f"{bound.kind} at {_CALLERS} callers, CPU batched to single, at most {bound.most:.2f}: "
        f"{'met' if worst.ratio <= bound.most else 'NOT MET'} ({each})"
    )


def as_json(cells: Sequence[Cell], found: Sequence[Ratio]) -> bytes:
    """Return everything as JSON."""
    kept = {"cells": [asdict(cell) for cell in cells], "ratios": [asdict(one) for one in found]}
    return orjson.dumps(kept, option=orjson.OPT_INDENT_2)
