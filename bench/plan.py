"""What is measured: by `make bench` in minutes, by `make bench-full` everything."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.rounds import Size
from bench.setups import EMBEDDED, SCALED_OUT, Setup

RUNS = 3  # whose median counts
_DEVICES = 20_000
_SIZE = Size(block=_DEVICES, blocks=1, wrong=5_000, tokens=1_000)
_ONE_BY_ONE = Size(block=2_000, blocks=1, wrong=500, tokens=200)
_GROWTH = Size(block=1_000, blocks=10, wrong=1_000, tokens=200)  # the same at every number of devices


@dataclass(frozen=True, slots=True)
class Scene:
    """A service to start, and how it is measured then.

    Attributes:
        setup: the kind of stores.
        workers: of the service.
        devices: that are enrolled.
        sizes: connections → what one run is made of.
    """

    setup: Setup
    workers: int
    devices: int
    sizes: tuple[tuple[int, Size], ...]


def short() -> Iterator[Scene]:
    """One worker and 64 connections on both kinds of stores."""
    for setup in (EMBEDDED, SCALED_OUT):
        yield Scene(setup, 1, _DEVICES, ((64, _SIZE),))


def full() -> Iterator[Scene]:
    """One worker and two, few connections and many, and registries of all sizes.

    Two workers keep nothing in themselves, so there is no embedded service of two.
    """
    for setup, workers in ((EMBEDDED, 1), (SCALED_OUT, 1), (SCALED_OUT, 2)):
        yield Scene(setup, workers, _DEVICES, ((1, _ONE_BY_ONE), (64, _SIZE), (256, _SIZE)))
    for setup in (EMBEDDED, SCALED_OUT):
        for devices in (1_000, 100_000, 1_000_000):
            yield Scene(setup, 1, devices, ((64, _GROWTH),))
