"""Statements on whole batches: as JSON on PostgreSQL, as rows of parameters on SQLite."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

from mfa_service.model import GuessingLimits
from mfa_service.stores.sql import sqlite, statements
from mfa_service.stores.sql.expressions import member_rows
from mfa_service.stores.sql.prepared import Prepared, prepare
from mfa_service.stores.sql.tables import metadata
from tests.clocks import ManualClock

COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {"word": sa.Text(), "number": sa.BigInteger()}

# As `ANALYZE` leaves them for 200,000 devices.
STATISTICS = """
    ANALYZE;
    INSERT INTO sqlite_stat1 VALUES
        ('devices', 'sqlite_autoindex_devices_1', '200000 1'),
        ('devices', 'sqlite_autoindex_devices_2', '200000 200000 1 1'),
        ('devices', 'sqlite_autoindex_devices_3', '200000 200000 1 1'),
        ('devices', 'ix_devices_key_id', '200000 200000');
    ANALYZE sqlite_schema;
"""


def every_row(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(*member_rows(dialect, COLUMNS).c)


def on_sqlite() -> Prepared:
    return prepare(every_row("sqlite"), SQLiteDialect_aiosqlite())


def carried(statement: Prepared, members: Sequence[tuple[str, int]]) -> list[tuple[str | None, int | None]]:
    """Return the rows that SQLite makes of a batch."""
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute(*statement.bound(members)).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 65, 255, 256])
def test_a_batch_of_any_size_is_rows_of_its_members_and_beyond_them_of_nothing(count: int) -> None:
    members = [(f"word '{number}'", number) for number in range(count)]
    rows = carried(on_sqlite(), members)
    assert rows[:count] == members
    assert set(rows[count:]) <= {(None, None)}
    assert len(rows) <= max(count + 1, count * 3 // 2)


def test_a_connection_has_few_sizes_to_remember() -> None:
    statement = on_sqlite()
    texts = {statement.bound([("a", 1)] * count)[0] for count in range(1, 257)}
    assert len(texts) == 16


def test_a_batch_larger_than_any_is_refused() -> None:
    with pytest.raises(IndexError):
        on_sqlite().bound([("a", 1)] * 257)


def test_on_postgresql_a_batch_is_one_parameter() -> None:
    statement = prepare(every_row("postgresql"), PGDialect_asyncpg())  # type: ignore[no-untyped-call]  # no annotations
    for members in ([("a", 1)], [("a", 1), ("b", 2)]):
        text, parameters = statement.bound(members)
        assert (text.count("$1"), len(parameters)) == (1, 1)


@pytest.mark.parametrize(
    "statement",
    [
        every_row("sqlite").where(sa.column("number") > sa.bindparam("least", type_=sa.Integer())),
        sa.select(sa.bindparam("first", type_=sa.Text())),
        sa.select(sa.literal_column("1")),
    ],
    ids=["beside the batch", "in its place", "none"],
)
def test_a_statement_with_other_parameters_is_refused(statement: sa.Select[*tuple[Any, ...]]) -> None:
    with pytest.raises(ValueError, match="batch"):
        prepare(statement, SQLiteDialect_aiosqlite())


@pytest.mark.parametrize("is_analysed", [False, True], ids=["no statistics", "analysed"])
@pytest.mark.parametrize("count", [1, 25, 128, 192, 256])
@pytest.mark.parametrize("name", ["get", "find", "listing", "credential", "standing", "accept", "charge"])
def test_sqlite_looks_devices_up_and_never_reads_them_all(
    tmp_path: Path, name: str, count: int, *, is_analysed: bool
) -> None:
    url = sa.make_url(f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3")
    built = statements.build(
        sqlite.connect(url, clock=ManualClock()), GuessingLimits(waits_ms=(0, 30_000), disable_after=9)
    )
    statement: Prepared = getattr(built, name)
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.create_function("now_ms", 0, lambda: 0, deterministic=True)
        if is_analysed:
            driver.executescript(STATISTICS)
        text, parameters = statement.bound([tuple("" for _ in range(statement.columns))] * count)
        plan = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    engine.dispose()
    assert any(step.startswith("SEARCH devices USING") for step in plan)
    assert not any(step.startswith(("SCAN devices", "BLOOM FILTER ON devices")) for step in plan)
