"""What is measured: by `make bench` in minutes, by `make bench-full` everything."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.rounds import Size
from bench.setups import EMBEDDED, SCALED_OUT, Setup

_DEVICES = 20_000
# A run takes short turns, each with other devices, until every device has had its own: a machine that others share
# changes its speed within seconds, and would show a call and the floor beside it at different ones.
_TURNS = 10
_SIZE = Size(block=_DEVICES // _TURNS, blocks=1, wrong=500, tokens=100)
_ONE_BY_ONE = Size(block=200, blocks=1, wrong=50, tokens=20)
_GROWTH = Size(block=1_000, blocks=1, wrong=50, tokens=5)  # the same at every number of devices
_GROWTH_TURNS = 60


@dataclass(frozen=True, slots=True)
class Scene:
    """Services to start side by side, and how they are measured then, in turns.

    Attributes:
        setup: the kind of stores.
        workers: of each service.
        devices: how many are enrolled, of each service.
        sizes: connections → what one turn of a service is made of.
        runs: whose median counts.
        turns: that each service has in a run, which counts as one sweep.
    """

    setup: Setup
    workers: int
    devices: tuple[int, ...]
    sizes: tuple[tuple[int, Size], ...]
    runs: int = 3
    turns: int = 1


def short() -> Iterator[Scene]:
    """One worker and 64 connections on both kinds of stores."""
    for setup in (EMBEDDED, SCALED_OUT):
        yield Scene(setup, 1, (_DEVICES,), ((64, _SIZE),), turns=_TURNS)


def full() -> Iterator[Scene]:
    """One worker and two, few connections and many, and registries of all sizes.

    Two workers keep nothing in themselves, so there is no embedded service of two. Growth is a small difference, which
    a machine that others share would hide if one registry were measured after the other: all take many short turns.
    """
    for setup, workers in ((EMBEDDED, 1), (SCALED_OUT, 1), (SCALED_OUT, 2)):
        sizes = (1, _ONE_BY_ONE), (64, _SIZE), (256, _SIZE)
        yield Scene(setup, workers, (_DEVICES,), sizes, turns=_TURNS)
    for setup in (EMBEDDED, SCALED_OUT):
        yield Scene(setup, 1, (1_000, 100_000, 1_000_000), ((64, _GROWTH),), runs=1, turns=_GROWTH_TURNS)
