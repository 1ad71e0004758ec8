"""Which cores the service gets, and which everything else does."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """A division of this machine's cores.

    Attributes:
        service: those of the service's workers, or of the floor in its place.
        others: those of the generator and the stores.
    """

    service: AbstractSet[int]
    others: AbstractSet[int]

    @property
    def are_apart(self) -> bool:
        """Whether no core is in both."""
        return not self.service & self.others


def divide(available: AbstractSet[int], workers: int) -> Cores:
    """Give each worker a core of its own and the rest to everything else; where none would be left, all to both."""
    if len(available) <= workers:
        return Cores(available, available)
    ordered = sorted(available)
    return Cores(frozenset(ordered[:workers]), frozenset(ordered[workers:]))


def available() -> AbstractSet[int]:
    """Return the cores that this process may run on; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else frozenset()


@contextmanager
def on(cores: AbstractSet[int]) -> Iterator[None]:
    """Run on these cores, and have what is started in the block run on them for its whole life; none: anywhere."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
