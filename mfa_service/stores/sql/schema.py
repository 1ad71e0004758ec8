"""The schema's versions: brought up to date by Alembic, checked at start.

Revisions are numbered 0001, 0002 and so on. A version made for schema N works on N and N + 1, so that nodes can be
upgraded one by one: a revision only adds what the version before does without, and only takes away what that version
has ceased to use.
"""

import asyncio
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mfa_service.errors import RowLocked, SchemaStale
from mfa_service.stores.sql import sqlite, urls
from mfa_service.stores.sql.database import Database, begin
from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.faults import Reaching, telling_busy

HEAD = "0003"
"""The revision that this version was made with."""

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 0x6D6661  # "mfa"
_WAITS_S = 10  # for another process's upgrade, and for whoever holds a table
_TABLE_LOCK_TIMEOUT = "150ms"  # less than that of nodes' statements: they queue behind, and none of them fails
_PAUSE_S = 0.3
_COMMAND = "`mfa-service database upgrade`"
_REVISIONS = sa.table("alembic_version", sa.column("version_num", sa.Text))


async def upgrade(url: str) -> None:
    """Bring a database's schema to this version's; one that is there already, or a newer one, is left as it is.

    Args:
        url: as for `open_registry`.

    Raises:
        SettingsInvalid: the URL is none.
        StoreUnavailable: the database is out of reach, or another process upgrades it or holds a table for too long.
    """
    engine, driver = _opened(urls.parse(url))
    now_s = asyncio.get_running_loop().time
    last_try_s = now_s() + _WAITS_S
    try:
        while True:
            try:
                with Reaching(driver), telling_busy():
                    return await _upgrade(engine)
            except RowLocked:
                if now_s() > last_try_s:
                    raise
            await asyncio.sleep(_PAUSE_S)  # in which statements that queued behind are carried out
    finally:
        await engine.dispose()


async def check(database: Database) -> str:
    """Check that the schema has everything this version needs.

    Returns:
        Its revision: this version's, or the one after.

    Raises:
        SchemaStale: it is older, or there is none, or it is more than one version ahead.
        StoreUnavailable: the database is out of reach.
    """
    revision = await database.look(_revision)
    if revision is None:
        raise SchemaStale(f"the database has no schema yet: run {_COMMAND}")
    if revision < HEAD:
        raise SchemaStale(f"the database's schema is {revision}, this version needs {HEAD}: run {_COMMAND}")
    if int(revision) > int(HEAD) + 1:
        raise SchemaStale(
            f"the database's schema is {revision}, too new for this version of {HEAD}: run a newer version"
        )
    return revision


async def _upgrade(engine: AsyncEngine) -> None:
    """Upgrade in one transaction."""
    async with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql(f"PRAGMA busy_timeout = {_WAITS_S * 1000}")
            await connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # to copy a table whatever its rows name
        await begin(connection)
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            await connection.execute(sa.select(sa.func.set_config("lock_timeout", _TABLE_LOCK_TIMEOUT, True)))  # noqa: FBT003  SQL's own
        revision = await connection.run_sync(_revision)
        if revision is None or revision < HEAD:
            await connection.run_sync(_run_alembic)


def _opened(url: sa.URL) -> tuple[AsyncEngine, Driver]:
    if url.drivername == urls.SQLITE:
        sqlite.make_private(Path(url.database or ""))
        return sqlite.engine(url), sqlite.DRIVER
    from mfa_service.stores.sql import postgresql  # noqa: PLC0415  its driver takes 5 MiB, which a file does without

    engine = postgresql.engine(url, settings={"lock_timeout": f"{_WAITS_S}s"}, command_timeout_s=None)
    return engine, postgresql.DRIVER


def _revision(connection: sa.Connection) -> str | None:
    """Return the schema's revision, or None where there is no schema."""
    if not sa.inspect(connection).has_table(_REVISIONS.name):
        return None
    revision: str | None = connection.scalar(sa.select(_REVISIONS.c.version_num))
    return revision


def _run_alembic(connection: sa.Connection, revision: str = HEAD) -> None:
    from alembic import command  # noqa: PLC0415  a start on a schema that fits does without it
    from alembic.config import Config  # noqa: PLC0415  the same

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))  # it interpolates
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
