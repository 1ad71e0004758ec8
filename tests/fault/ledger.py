"""The truth about what was accepted and charged: a trigger notes it in the very transaction that does it."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.fault.history import Entry, Mark

_TABLE = """
CREATE TABLE ledger (
    number bigint GENERATED ALWAYS AS IDENTITY, device_id text, mark text, step bigint, auth_id text,
    failures integer, locked_until_ms bigint, at_ms bigint
)
"""
_FUNCTION = """
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark text;
BEGIN
    IF (NEW.last_step, NEW.last_auth_id) IS DISTINCT FROM (OLD.last_step, OLD.last_auth_id) THEN
        mark := 'accepted';
    ELSIF NEW.failures > OLD.failures THEN
        mark := 'charged';
    ELSE
        RETURN NULL;
    END IF;
    INSERT INTO ledger (device_id, mark, step, auth_id, failures, locked_until_ms, at_ms)
    VALUES (NEW.id, mark, NEW.last_step, NEW.last_auth_id, NEW.failures, NEW.locked_until_ms,
            CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint));
    RETURN NULL;
END
$$
"""
_TRIGGER = "CREATE TRIGGER note AFTER UPDATE ON devices FOR EACH ROW EXECUTE FUNCTION note()"

# SQLite has no variables: one trigger for each mark.
_FILE_TABLE = """
CREATE TABLE ledger (
    number integer PRIMARY KEY, device_id text, mark text, step bigint, auth_id text,
    failures integer, locked_until_ms bigint, at_ms bigint
)
"""
_FILE_TRIGGER = """
CREATE TRIGGER note_{mark} AFTER UPDATE ON devices WHEN {condition}
BEGIN
    INSERT INTO ledger (device_id, mark, step, auth_id, failures, locked_until_ms, at_ms)
    VALUES (NEW.id, '{mark}', NEW.last_step, NEW.last_auth_id, NEW.failures, NEW.locked_until_ms,
            CAST((julianday('now') - 2440587.5) * 86400000 AS integer));
END
"""
_FILE_ACCEPTED = "(NEW.last_step, NEW.last_auth_id) IS NOT (OLD.last_step, OLD.last_auth_id)"
_FILE_CHARGED = f"NOT ({_FILE_ACCEPTED}) AND NEW.failures > OLD.failures"


def statements(database_url: str) -> tuple[str, ...]:
    """Return what makes a registry keep the ledger."""
    if sa.make_url(database_url).get_backend_name() == "sqlite":
        conditions = {Mark.ACCEPTED: _FILE_ACCEPTED, Mark.CHARGED: _FILE_CHARGED}
        triggers = (_FILE_TRIGGER.format(mark=mark, condition=condition) for mark, condition in conditions.items())
        return (_FILE_TABLE, *triggers)
    return (_TABLE, _FUNCTION, _TRIGGER)


async def read(database_url: str) -> list[Entry]:
    """Return the ledger of a registry in the order of its numbers."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        rows = (await connection.execute(sa.text("SELECT * FROM ledger ORDER BY number"))).all()
    return [
        Entry(
            number=row.number,
            device_id=row.device_id,
            mark=Mark(row.mark),
            step=row.step,
            auth_id=row.auth_id,
            failures=row.failures,
            locked_until_ms=row.locked_until_ms,
            at_ms=row.at_ms,
        )
        for row in rows
    ]
