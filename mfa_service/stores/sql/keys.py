"""`Keys` in SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mfa_service.errors import KeyNeeded, KeyNotFound
from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.expressions import now_ms
from mfa_service.stores.sql.tables import devices, keys

_DEVICES_NEED_IT = "devices' secrets are sealed with it: run `mfa-service keys reseal` first"


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

    async def retire(self, key_id: str, *, superseded_for_ms: int) -> None:
        """Remove a key that nothing needs, as the port says.

        One statement decides; a device that comes to need the key meanwhile makes it fail by its foreign key.
        """
        needed = sa.exists().where(devices.c.key_id == keys.c.id)
        removal = (
            sa.delete(keys)
            .where(keys.c.id == key_id, _is_superseded(now_ms() - superseded_for_ms), sa.not_(needed))
            .returning(keys.c.id)
        )
        try:
            if await self._database.write(removal):
                return
        except sa.exc.IntegrityError:
            raise KeyNeeded(_DEVICES_NEED_IT) from None
        look = sa.select(
            _is_superseded(now_ms()).label("is_superseded"),
            _is_superseded(now_ms() - superseded_for_ms).label("is_old"),
            _is_superseded(None).label("has_successor"),
        ).where(keys.c.id == key_id)
        rows = await self._database.read(look)
        if not rows:
            raise KeyNotFound(f"there is no key {key_id}")
        raise KeyNeeded(_reason(rows[0], superseded_for_ms))


def _is_superseded(by_ms: sa.ColumnElement[int] | None) -> sa.ColumnElement[bool]:
    """Whether a newer key of the same purpose has been in use since a moment; None: whether there is one at all."""
    newer = keys.alias("newer")
    conditions = [newer.c.purpose == keys.c.purpose, newer.c.generation > keys.c.generation]
    if by_ms is not None:
        conditions += [newer.c.active_from_ms <= by_ms, newer.c.created_at_ms <= by_ms]
    return sa.exists().where(*conditions)


def _reason(row: sa.Row[Any], superseded_for_ms: int) -> str:
    if not row.has_successor:
        return "it is the newest key of its purpose: rotate first"
    if not row.is_superseded:
        return "it is the current key: the one after it is not in use yet"
    if not row.is_old:
        return f"what was made with it may still count: it must have been superseded for {superseded_for_ms // 1000} s"
    return _DEVICES_NEED_IT


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
