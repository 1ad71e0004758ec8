"""Measures the hot calls on every store, batched and single, on servers of its own: run it by `make bench-stores`."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench import operations, report
from bench.measuring import Figures, measure
from bench.operations import Operation
from tests.servers import postgres, valkey

_CALLERS = (1, 16, 64, 256)
_RUNS = 3
_RUN_S = 0.4
_RESULT = Path(__file__).with_suffix(".json")

_Opened = AbstractAsyncContextManager[Sequence[Operation]]


@dataclass(frozen=True, slots=True)
class _Store:
    """A store: how to start it in a folder, which gives its calls."""

    name: str
    start: Callable[[Path], AbstractContextManager[_Opened]]


@contextmanager
def _memory(_folder: Path) -> Iterator[_Opened]:
    yield operations.in_memory()


@contextmanager
def _valkey(topology: Callable[[Path], AbstractContextManager[valkey.Deployment]], folder: Path) -> Iterator[_Opened]:
    with topology(folder) as deployment:
        yield operations.on_redis(deployment.url)


@contextmanager
def _sqlite(folder: Path) -> Iterator[_Opened]:
    yield operations.on_sql(f"sqlite+aiosqlite:///{folder}/registry.sqlite3")


@contextmanager
def _postgresql(_folder: Path) -> Iterator[_Opened]:
    with postgres.server() as running, postgres.database(running.url("postgres")) as url:
        yield operations.on_sql(url)


_STORES = (
    _Store("memory", _memory),
    _Store("Valkey", partial(_valkey, valkey.standalone)),
    _Store("Sentinel", partial(_valkey, valkey.sentinel)),
    _Store("Cluster", partial(_valkey, valkey.cluster)),
    _Store("SQLite", _sqlite),
    _Store("PostgreSQL", _postgresql),
)
_BOUNDS = (
    report.Bound("SQL", frozenset({"SQLite", "PostgreSQL"}), 1 / 5),
    report.Bound("Redis", frozenset({"Valkey", "Sentinel", "Cluster"}), 1 / 3),
)


async def _measure_all(store: str, opened: _Opened) -> Sequence[report.Cell]:
    """Measure every call of a store; both ways take turns, so that a busy moment of the machine meets both."""
    async with opened as calls:
        runs: dict[tuple[Operation, int], list[Figures]] = {
            (call, callers): [] for call in calls for callers in _CALLERS
        }
        for _ in range(_RUNS):
            for callers in _CALLERS:
                for call in sorted(calls, key=lambda call: call.name):
                    runs[call, callers].append(await measure(call.call, callers=callers, duration_s=_RUN_S))
    return [report.cell_of(store, call.name, call.way, callers, figures) for (call, callers), figures in runs.items()]


def main() -> None:
    """Start one store after the other, measure it, and print what it gave."""
    cells: list[report.Cell] = []
    for store in _STORES:
        print(f"measuring {store.name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="mfa-bench-") as folder, store.start(Path(folder)) as opened:
            cells += uvloop.run(_measure_all(store.name, opened))
    found = [report.ratios(cells, bound) for bound in _BOUNDS]
    print(*report.table(cells), sep="\n")
    print(*map(report.verdict, _BOUNDS, found), sep="\n")
    _RESULT.write_bytes(report.as_json(cells, [one for some in found for one in some]))


if __name__ == "__main__":
    main()
