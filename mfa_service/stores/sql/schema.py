"""The schema's versions: brought up to date by Alembic, checked at start.

Revisions are numbered 0001, 0002 and so on. A version made for schema N works on N and N + 1, so that nodes can be
upgraded one by one: a revision only adds what the version before does without, and only takes away what that version
has ceased to use.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mfa_service.errors import SchemaStale
from mfa_service.stores.sql import postgresql, sqlite, urls
from mfa_service.stores.sql.database import Database, begin, reaching

HEAD = "0002"
"""The revision that this version was made with."""

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 0x6D6661  # "mfa"
_LOCK_TIMEOUT = "10s"
_COMMAND = "`mfa-service database upgrade`"
_REVISIONS = sa.table("alembic_version", sa.column("version_num", sa.Text))


async def upgrade(url: str) -> None:
    """Bring a database's schema to this version's; one that is there already, or a newer one, is left as it is.

    Args:
        url: as for `open_registry`.

    Raises:
        SettingsInvalid: the URL is none.
        StoreUnavailable: the database is out of reach, or another process upgrades it for too long.
    """
    engine = _engine(urls.parse(url))
    try:
        with reaching():
            async with engine.begin() as connection:
                await begin(connection)
                if connection.dialect.name == "postgresql":
                    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                revision = await connection.run_sync(_revision)
                if revision is None or revision < HEAD:
                    await connection.run_sync(_run_alembic)
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


def _engine(url: sa.URL) -> AsyncEngine:
    if url.drivername == sqlite.DRIVER:
        sqlite.make_private(Path(url.database or ""))
        return sqlite.engine(url)
    return postgresql.engine(url, settings={"lock_timeout": _LOCK_TIMEOUT}, command_timeout_s=None)


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
