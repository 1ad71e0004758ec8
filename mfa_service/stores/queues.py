"""Queues of calls that wait for the next batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What was submitted, where its outcome goes, and when it came by the loop's clock. A bare tuple: made for every call.
Member: TypeAlias = tuple[Item, asyncio.Future[Result], float]

_item = itemgetter(0)


class Fifo(deque[Member[Item, Result]]):
    """One queue, out of which those who came first are taken."""

    def take(self, most: int) -> list[Member[Item, Result]]:
        """Take out those who are next, so many at most; none waits where none is taken."""
        if len(self) <= most:
            return self.take_all()
        return [self.popleft() for _ in range(most)]

    def take_all(self) -> list[Member[Item, Result]]:
        """Take out everybody."""
        taken = list(self)
        self.clear()
        return taken


class Apart(Fifo[Item, Result]):
    """The same, but of those who have a value in common one is taken at a time; the others stay, in their order.

    Args:
        value: tells the value of what was submitted.
    """

    def __init__(self, value: Callable[[Item], Hashable]) -> None:
        super().__init__()
        self._value = value

    def take(self, most: int) -> list[Member[Item, Result]]:
        """Take out those who are next, so many at most; none waits where none is taken."""
        taken = super().take(most)
        if len(set(map(self._value, map(_item, taken)))) == len(taken):
            return taken
        apart: dict[Hashable, Member[Item, Result]] = {}
        for member in (*taken, *self.take_all()):
            value = self._value(member[0])
            if value in apart or len(apart) >= most:
                self.append(member)
            else:
                apart[value] = member
        return list(apart.values())
