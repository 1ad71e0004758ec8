"""`Keys` in SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.tables import keys


class SqlKeys:
    """The registry of sealed keys.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[KeyRecord]:
        """Return every key, by purpose and generation."""
        query = sa.select(keys).order_by(keys.c.purpose, keys.c.generation)
        return [_record(row) for row in await self._database.read(query)]

    async def add(self, record: KeyRecord) -> KeyRecord:
        """Insert a key unless its place is taken, as the port says."""
        place = sa.select(keys).where(keys.c.purpose == record.purpose.value, keys.c.generation == record.generation)
        try:
            async with self._database.transaction() as connection:
                found = (await connection.execute(place)).first()
                if found is not None:
                    return _record(found)
                await connection.execute(
                    sa.insert(keys).values(
                        id=record.id,
                        purpose=record.purpose.value,
                        generation=record.generation,
                        algorithm=record.algorithm,
                        sealed=record.sealed,
                        public_jwk=record.public_jwk,
                        created_at_ms=record.created_at_ms,
                        active_from_ms=record.active_from_ms,
                    )
                )
        except sa.exc.IntegrityError:  # another process was first between the look and the insert
            held = await self._database.read(place)
            if not held:
                raise
            return _record(held[0])
        return record


def _record(row: sa.Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        purpose=KeyPurpose(row.purpose),
        generation=row.generation,
        algorithm=row.algorithm,
        sealed=row.sealed,
        public_jwk=row.public_jwk,
        created_at_ms=row.created_at_ms,
        active_from_ms=row.active_from_ms,
    )
