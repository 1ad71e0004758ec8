"""SQL that each database spells its own way: its clock, and a batch of rows in one JSON parameter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import CTE, BigInteger, Text, bindparam, column, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

SQLITE_CLOCK = "now_ms"
"""The function that every SQLite connection of the registry has registered."""

_PARAMETER = "rows"


class DatabaseNow(FunctionElement[int]):
    """The database's clock, Unix time in milliseconds; it moves on within a transaction."""

    name = "database_now"
    type = BigInteger()
    inherit_cache = True


@compiles(DatabaseNow, "postgresql")
def _now_of_postgresql(*_: object, **__: object) -> str:
    return "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


@compiles(DatabaseNow, "sqlite")
def _now_of_sqlite(*_: object, **__: object) -> str:
    return f"{SQLITE_CLOCK}()"


def batch(name: str, columns: Mapping[str, type[str] | type[int]]) -> CTE:
    """Return a table expression over the rows of one statement parameter, a JSON array of arrays.

    Joined to a table it reads or changes many rows by one statement with one plan, whatever their number.

    Args:
        name: what the statement calls it.
        columns: column name → type, in the order of a row's values.

    Returns:
        The expression; `rows_of` gives the parameter.
    """
    elements = _Elements(bindparam(_PARAMETER, type_=Text())).table_valued(column("value"), name="element")
    fields = (
        (_TextField if kind is str else _IntegerField)(elements.c.value, literal_column(str(place))).label(label)
        for place, (label, kind) in enumerate(columns.items())
    )
    return select(*fields).select_from(elements).cte(name)


def rows_of(rows: Iterable[Sequence[str | int]]) -> dict[str, str]:
    """Return the parameter of a statement over a `batch`.

    Args:
        rows: each as many values as the batch has columns.
    """
    return {_PARAMETER: orjson.dumps(list(rows)).decode()}


class _Elements(FunctionElement[Any]):
    name = "elements"
    inherit_cache = True


@compiles(_Elements, "postgresql")
def _elements_of_postgresql(element: _Elements, compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_array_elements(CAST({compiler.process(element.clauses, **kw)} AS jsonb))"


@compiles(_Elements, "sqlite")
def _elements_of_sqlite(element: _Elements, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


class _Field(FunctionElement[Any]):
    """One value of a JSON array: the array, then the value's place in it."""

    inherit_cache = True


class _TextField(_Field):
    name = "text_field"
    type = Text()
    inherit_cache = True


class _IntegerField(_Field):
    name = "integer_field"
    type = BigInteger()
    inherit_cache = True


@compiles(_Field, "postgresql")
def _field_of_postgresql(element: _Field, compiler: SQLCompiler, **kw: Any) -> str:
    array, place = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({array} ->> {place})::{compiler.dialect.type_compiler_instance.process(element.type)}"


@compiles(_Field, "sqlite")
def _field_of_sqlite(element: _Field, compiler: SQLCompiler, **kw: Any) -> str:
    array, place = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"json_extract({array}, '$[{place}]')"
