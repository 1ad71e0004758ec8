"""The schema's versions: brought up to date by Alembic, checked at start."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from mfa_service.errors import SchemaStale
from mfa_service.stores.sql.engines import Engines, keep_private, reaching

_MIGRATIONS = Path(__file__).parent.parent / "migrations"


async def upgrade(url: str) -> None:
    """Bring a database's schema to this version's; one that is there already is left as it is.

    Args:
        url: of SQLAlchemy.

    Raises:
        StoreUnavailable: the database is out of reach.
    """
    if sa.make_url(url).get_backend_name() == "sqlite":
        with reaching():
            keep_private(url)
    engine = create_async_engine(url, hide_parameters=True)
    try:
        with reaching():
            async with engine.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
    finally:
        await engine.dispose()


async def check(engines: Engines) -> None:
    """Check that the schema has everything this version needs.

    A schema of a later version passes: a later version only adds what an earlier one does without, until the version
    after it.

    Raises:
        SchemaStale: it is older, or there is none.
    """
    with reaching():
        async with engines.reader.connect() as connection:
            if not await connection.run_sync(lambda plain: sa.inspect(plain).has_table("alembic_version")):
                raise SchemaStale("the database has no schema yet: run `mfa-service database upgrade`")
            revision = (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar()
    script = ScriptDirectory.from_config(_config())
    known = [one.revision for one in script.walk_revisions()]
    if revision in known and revision != script.get_current_head():
        raise SchemaStale("the database's schema is older than this version: run `mfa-service database upgrade`")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _upgrade(connection: sa.Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
