"""Statements on a whole batch, made by SQLAlchemy once and run by the database's driver itself."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no annotations
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from mfa_service.stores.sql.expressions import BATCH

DRIVER_ERRORS: Final = (
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    AsyncAdapt_asyncpg_dbapi.Error,  # what a pool raises as it is where it cannot connect
)
"""What the drivers raise by themselves."""

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement as text whose one parameter is the batch."""

    text: str


def prepare(statement: sa.Executable, dialect: sa.Dialect) -> Prepared:
    """Compile a statement.

    Raises:
        ValueError: it has other parameters than the batch.
    """
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every executable here has it
    if compiled.positiontup != [BATCH]:
        raise ValueError("a prepared statement has the batch as its one parameter")
    return Prepared(str(compiled))
