"""What SQLite and PostgreSQL spell differently: the database's clock, octets and their digits, a batch as rows."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

BATCH = "batch"
"""Name of the one parameter that carries a batch as JSON: an array of arrays."""


class now_ms(FunctionElement[int]):  # noqa: N801  it stands for an SQL function
    """The database's clock as Unix time in milliseconds; on SQLite the function that `engines` registers."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _now_ms_sqlite(_element: now_ms, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401  its signature
    return "now_ms()"


@compiles(now_ms, "postgresql")
def _now_ms_postgresql(_element: now_ms, _compiler: SQLCompiler, **_options: Any) -> str:  # noqa: ANN401  as above
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"


class octets(FunctionElement[bytes]):  # noqa: N801  as above
    """The octets that hexadecimal digits stand for; on SQLite a function that `sqlite` registers."""

    type = sa.LargeBinary()
    inherit_cache = True


@compiles(octets, "sqlite")
def _octets_sqlite(element: octets, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  as above
    return f"octets({compiler.process(element.clauses, **options)})"


@compiles(octets, "postgresql")
def _octets_postgresql(element: octets, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  as above
    return f"decode({compiler.process(element.clauses, **options)}, 'hex')"


class digits(FunctionElement[str]):  # noqa: N801  as above
    """The hexadecimal digits that octets are written in."""

    type = sa.Text()
    inherit_cache = True


@compiles(digits, "sqlite")
def _digits_sqlite(element: digits, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  as above
    return f"hex({compiler.process(element.clauses, **options)})"


@compiles(digits, "postgresql")
def _digits_postgresql(element: digits, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  as above
    return f"encode({compiler.process(element.clauses, **options)}, 'hex')"


def member_rows(dialect: str, columns: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.FromClause:
    """Return the members of a batch as rows of typed columns, for statements that `prepared.prepare` compiles.

    Args:
        dialect: `sqlite` or `postgresql`.
        columns: name → type, in the order of each member's elements.
    """
    if dialect == "postgresql":
        return batch_rows(dialect, columns)
    one = tuple(sa.bindparam(name, type_=kind) for name, kind in columns.items())
    given = sa.values(*(sa.column(name, kind) for name, kind in columns.items())).data([one]).cte("members")
    # The limit is for the planner, where the file has statistics: it takes a row of parameters for many, and would read
    # every device once rather than look some hundreds up.
    most = sa.literal_column("256", sa.Integer)
    return sa.select(*given.c).limit(most).offset(sa.literal_column("0", sa.Integer)).subquery("batch")


def batch_rows(dialect: str, columns: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.Subquery:
    """Return the members of the batch parameter, which is JSON, as rows of typed columns.

    Args:
        dialect: `sqlite` or `postgresql`.
        columns: name → type, in the order of each member's elements.
    """
    if dialect == "sqlite":
        members = sa.func.json_each(sa.bindparam(BATCH, type_=sa.Text)).table_valued("value")
        taken = [
            sa.cast(sa.func.json_extract(members.c.value, sa.literal_column(f"'$[{place}]'")), kind).label(name)
            for place, (name, kind) in enumerate(columns.items())
        ]
    else:
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415  2 MiB, which a file does without

        parameter = sa.cast(sa.bindparam(BATCH, type_=sa.Text), JSONB)
        element = sa.func.jsonb_array_elements(parameter).column_valued("element")
        taken = [
            sa.cast(element.op("->>")(sa.literal_column(str(place))), kind).label(name)
            for place, (name, kind) in enumerate(columns.items())
        ]
    return sa.select(*taken).subquery("batch")
