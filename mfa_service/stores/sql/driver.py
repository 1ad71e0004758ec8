"""A database's driver, as far as batches know it: they use it beneath SQLAlchemy."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mfa_service.stores.sql.prepared import Parameters, Row


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver.

    Attributes:
        fetch: runs a statement with its parameters on a connection and returns the rows.
        change: runs one that returns none, and returns how many rows it changed.
        errors: whatever it raises, by itself or wrapped by SQLAlchemy.
        answers: those by itself that a server answers with; its connection is of use after them, unless they are fatal.
        standby: those of them by which a server says that it takes no writes any more.
        is_closed: whether a connection is known to be closed before anything is sent on it.
    """

    fetch: Callable[[Any, str, Parameters], Awaitable[Sequence[Row]]]
    change: Callable[[Any, str, Parameters], Awaitable[int]]
    errors: tuple[type[Exception], ...]
    answers: tuple[type[Exception], ...]
    standby: tuple[type[Exception], ...]
    is_closed: Callable[[Any], bool]
