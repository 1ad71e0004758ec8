"""What one run of one call gave, and the medians of several."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from statistics import median
from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from array import array

_LONGEST_NS = 60_000_000_000
_FIGURES = 3  # that percentiles are right to
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU time, user and system, in seconds."""

    service_s: float
    redis_s: float
    database_s: float
    generator_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Spent)))

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(Spent)))


@dataclass(frozen=True, slots=True)
class Sweep:
    """One run of one call.

    Attributes:
        elapsed_s: from its first request to its last answer.
        latencies_ns: of each of its requests.
        spent: by everything that took part.
        rss_bytes: resident memory of the service's largest process at its end.
    """

    elapsed_s: float
    latencies_ns: "array[int]"
    spent: Spent
    rss_bytes: int

    def __add__(self, other: "Sweep") -> "Sweep":
        return Sweep(
            self.elapsed_s + other.elapsed_s,
            self.latencies_ns + other.latencies_ns,
            self.spent + other.spent,
            max(self.rss_bytes, other.rss_bytes),
        )


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What was measured.

    Attributes:
        setup: the kind of stores.
        workers: of the service.
        connections: with one request under way on each.
        devices: that are enrolled.
    """

    setup: str
    workers: int
    connections: int
    devices: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a call gave; CPU in microseconds a request, of the service's own processes and of what it used.

    Attributes:
        rss_mib: resident memory of the service's largest process.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us: float
    redis_us: float
    database_us: float
    generator_us: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The medians of what several runs of one call gave."""

    arrangement: Arrangement
    call: str
    figures: Figures


def joined(sweeps: Sequence[Sweep]) -> Sweep:
    """Return several sweeps, one after the other, as one."""
    return reduce(Sweep.__add__, sweeps)


def cell_of(arrangement: Arrangement, call: str, runs: Sequence[Sweep]) -> Cell:
    """Return the medians of several runs of one call."""
    each = [figures_of(run) for run in runs]
    middle = (median(getattr(one, field.name) for one in each) for field in fields(Figures))
    return Cell(arrangement, call, Figures(*middle))


def figures_of(run: Sweep) -> Figures:
    """Return what one run gave; percentiles are right to three figures."""
    histogram = HdrHistogram(1, _LONGEST_NS, _FIGURES)
    for latency_ns in run.latencies_ns:
        histogram.record_value(latency_ns)
    count = len(run.latencies_ns)
    return Figures(
        per_s=count / run.elapsed_s,
        p50_ms=histogram.get_value_at_percentile(50) / 1e6,
        p99_ms=histogram.get_value_at_percentile(99) / 1e6,
        p999_ms=histogram.get_value_at_percentile(99.9) / 1e6,
        cpu_us=1e6 * run.spent.service_s / count,
        redis_us=1e6 * run.spent.redis_s / count,
        database_us=1e6 * run.spent.database_s / count,
        generator_us=1e6 * run.spent.generator_s / count,
        rss_mib=run.rss_bytes / _MIB,
    )
