"""What the processes of one node know of one another."""

import mmap
from typing import Final

from mfa_service.ops.health import NotReady

PLACES: Final = 4_096
"""Of workers, each at its number; far more than there ever are at once."""

_ABSENT, _PRESENT, _SERVING = range(3)


class Board:
    """Memory that a process shares with those forked from it: whether the node drains, and how each worker is.

    A worker has the place of its number. Numbers rise and are not used again, so that each place has one writer at a
    time: the worker while it lives, its parent before and after.
    """

    def __init__(self) -> None:
        self._octets = mmap.mmap(-1, 1 + PLACES)

    @property
    def is_draining(self) -> bool:
        """Whether the whole node is about to end."""
        return bool(self._octets[0])

    def drain(self) -> None:
        """Say that the whole node is about to end."""
        self._octets[0] = 1

    def enter(self, number: int) -> None:
        """Say that a worker is there and does not serve, or does so no more."""
        self._put(number, _PRESENT)

    def serve(self, number: int) -> None:
        """Say that a worker takes requests."""
        self._put(number, _SERVING)

    def leave(self, number: int) -> None:
        """Say that a worker is gone."""
        self._put(number, _ABSENT)

    def serves(self, number: int) -> bool:
        """Return whether a worker takes requests."""
        return self._octets[self._place(number)] == _SERVING

    @property
    def is_empty(self) -> bool:
        """Whether every worker is gone."""
        return not any(self._octets[1:])

    async def check(self) -> None:
        """Return where the node takes requests.

        Raises:
            NotReady: it drains, or no worker serves.
        """
        if self.is_draining:
            raise NotReady("draining")
        if self._octets.find(bytes((_SERVING,)), 1) < 0:
            raise NotReady("no worker serves")

    def _put(self, number: int, state: int) -> None:
        self._octets[self._place(number)] = state

    @staticmethod
    def _place(number: int) -> int:
        return 1 + number % PLACES
