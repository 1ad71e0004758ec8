"""Statements on a whole batch, made by SQLAlchemy once and run by the database's driver itself.

A batch travels as one JSON array on PostgreSQL. On SQLite, which takes JSON apart at up to half of what a statement
costs, it is rows of parameters.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

import orjson
import sqlalchemy as sa

from mfa_service.stores.sql.expressions import BATCH

Row: TypeAlias = Sequence[Any]
Member: TypeAlias = Sequence[str | int]
Parameters: TypeAlias = tuple[str | int | float, ...]

# What the parameters of a missing member are: SQLite takes this number for NULL. None is NULL too, but for each the
# driver looks first for somebody who turns it into something else, which takes half a microsecond.
_NULL: Final = float("nan")

# Up to 256 members, which is what a `Batcher` sends at most. A connection remembers a statement for each size, of up to
# some 100 kB; a row that stands for no member costs a third of one that does. So not all sizes, but not few of them.
_SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement as text.

    Attributes:
        texts: the one text whose one parameter is the batch as JSON, or one for each of the sizes, which has as many
            parameters for each member as it has columns.
        columns: how many a member has; 0 where the batch is JSON.
        is_packed: whether the rows come as one value, which is JSON.
    """

    texts: Sequence[str]
    columns: int = 0
    is_packed: bool = False

    def bound(self, members: Sequence[Member]) -> tuple[str, Parameters]:
        """Return the text for so many members, and its parameters.

        Args:
            members: 1 to 256, each of as many values as the statement's batch has columns.

        Raises:
            IndexError: there are more.
        """
        if not self.columns:
            return self.texts[0], (orjson.dumps([tuple(member) for member in members]).decode(),)
        place = bisect_left(_SIZES, len(members))
        missing = _SIZES[place] - len(members)
        return self.texts[place], (*chain.from_iterable(members), *(_NULL,) * (missing * self.columns))

    def unpacked(self, fetched: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of the statement, from those that the driver fetched."""
        if not self.is_packed:
            return fetched
        rows: Sequence[Row] = orjson.loads(fetched[0][0])
        return rows


def prepare(statement: sa.Executable, dialect: sa.Dialect) -> Prepared:
    """Compile a statement on `expressions.batch_rows` or on `expressions.member_rows`.

    Raises:
        ValueError: it has other parameters than the batch, or has them in another order.
    """
    return _prepared(statement, dialect, is_packed=False)


def prepare_packed(statement: sa.Select[*tuple[Any, ...]], dialect: sa.Dialect) -> Prepared:
    """Compile a look whose columns are text and whole numbers: SQLite packs its rows, in no order, into one JSON value.

    Its driver takes half a microsecond for each value, and lets go of the interpreter for each row, behind which it
    then waits.

    Raises:
        ValueError: as `prepare`.
    """
    if dialect.name != "sqlite":
        return prepare(statement, dialect)
    row = sa.func.json_array(*statement.selected_columns)
    return _prepared(statement.with_only_columns(sa.func.json_group_array(row)), dialect, is_packed=True)


def _prepared(statement: sa.Executable, dialect: sa.Dialect, *, is_packed: bool) -> Prepared:
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every executable here has it
    text, names = str(compiled), compiled.positiontup
    if names == [BATCH]:
        return Prepared((text,), is_packed=is_packed)
    # The rows come first in a statement. Those of members that are missing are NULL, which is equal to nothing.
    start, row, end = text.partition(f"({', '.join('?' * len(names))})")
    if not start.endswith("VALUES ") or "?" in end:
        raise ValueError("a prepared statement has the batch as its one parameter")
    texts = tuple(f"{start}{', '.join([row] * size)}{end}" for size in _SIZES)
    return Prepared(texts, columns=len(names), is_packed=is_packed)
