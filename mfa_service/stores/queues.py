"""Queues of calls that wait for the next batch: one for all, or a line for each row."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What was submitted, where its outcome goes, and when it came by the loop's clock. A bare tuple: made for every call.
Member: TypeAlias = tuple[Item, asyncio.Future[Result], float]


class Queue(Protocol[Item, Result]):
    """Where members wait, in the order in which they came."""

    def __len__(self) -> int:
        """Tell how many wait."""
        ...

    def append(self, member: Member[Item, Result], /) -> None:
        """Have a member wait behind the others."""
        ...

    def take(self, most: int) -> list[Member[Item, Result]]:
        """Take out those who are next; none waits where none is taken."""
        ...

    def take_all(self) -> Sequence[Member[Item, Result]]:
        """Take out everybody."""
        ...


class Fifo(deque[Member[Item, Result]]):
    """One queue for all."""

    def take(self, most: int) -> list[Member[Item, Result]]:
        """Take out those who came first."""
        if len(self) <= most:
            return self.take_all()
        return [self.popleft() for _ in range(most)]

    def take_all(self) -> list[Member[Item, Result]]:
        """Take out everybody."""
        taken = list(self)
        self.clear()
        return taken


class Lines(Generic[Item, Result]):
    """A line for each value that members have in common; one of each line is taken at a time.

    Args:
        apart: tells the value of what was submitted.
    """

    def __init__(self, apart: Callable[[Item], Hashable]) -> None:
        self._apart = apart
        self._lines: dict[Hashable, list[Member[Item, Result]]] = {}
        self._turns: deque[Hashable] = deque()  # the lines in the order in which they are next
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, member: Member[Item, Result], /) -> None:
        """Have a member wait at the end of its line."""
        apart = self._apart(member[0])
        line = self._lines.get(apart)
        if line is None:
            self._lines[apart] = [member]
            self._turns.append(apart)
        else:
            line.append(member)
        self._count += 1

    def take(self, most: int) -> list[Member[Item, Result]]:
        """Take out the first of each line, of those lines that are next; each is behind the others then."""
        turns = [self._turns.popleft() for _ in range(min(most, len(self._turns)))]
        taken = []
        for apart in turns:
            line = self._lines[apart]
            taken.append(line.pop(0))
            if line:
                self._turns.append(apart)
            else:
                del self._lines[apart]
        self._count -= len(taken)
        return taken

    def take_all(self) -> list[Member[Item, Result]]:
        """Take out everybody."""
        taken = [member for line in self._lines.values() for member in line]
        self._lines.clear()
        self._turns.clear()
        self._count = 0
        return taken
