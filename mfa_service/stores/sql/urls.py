"""The URL of a database, as it stands in the settings."""

from typing import Final

import sqlalchemy as sa

from mfa_service.errors import SettingsInvalid

SQLITE: Final = "sqlite+aiosqlite"
POSTGRESQL: Final = "postgresql+asyncpg"
_POSTGRESQL_OPTIONS = {"host", "port", "ssl", "target_session_attrs", "prepared_statement_cache_size"}


def parse(text: str) -> sa.URL:
    """Return a database's URL in SQLAlchemy's form.

    Args:
        text: `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://…`; several hosts as `postgresql.connect` says.

    Raises:
        SettingsInvalid: it is neither; the text does not repeat it, as it may hold a password.
    """
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsInvalid("database.url: not a URL") from None
    if url.drivername not in (SQLITE, POSTGRESQL):
        raise SettingsInvalid(f"database.url: must begin with {SQLITE}:/// or {POSTGRESQL}://")
    if url.drivername == SQLITE and (url.database or ":memory:") == ":memory:":
        raise SettingsInvalid("database.url: must name a file, as nothing in memory is kept")
    unknown = set(url.query) - (_POSTGRESQL_OPTIONS if url.drivername == POSTGRESQL else set())
    if unknown:
        shown = ", ".join(sorted(unknown)).encode("unicode_escape").decode("ascii")
        raise SettingsInvalid(f"database.url: has options that are not known: {shown}")
    return url
