"""`SealedDevices` in SQL: every secret by its device's id, a page at a time, so that no statement grows with them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from mfa_service.errors import KeyRetired
from mfa_service.model import Owner, Resealed, SealedDevice, SealedSecret
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.expressions import BATCH, batch_rows, octets
from mfa_service.stores.sql.faults import is_missing_parent
from mfa_service.stores.sql.rows import parameters_of
from mfa_service.stores.sql.statements import locked
from mfa_service.stores.sql.tables import devices

_COUNTED: Final = 20_000  # devices in one statement
_COLUMNS: Final = ("id", "application_id", "user_name", "algorithm", "digits", "period_s", "key_id", "secret")


class SqlSealedDevices:
    """The devices' secrets as they are sealed.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._replacement = _replacement(database.dialect)

    async def after(self, device_id: str, *, limit: int) -> Sequence[SealedDevice]:
        """Return the next devices by their ids, as the port says."""
        query = (
            sa.select(*(devices.c[name] for name in _COLUMNS))
            .where(devices.c.id > device_id)
            .order_by(devices.c.id)
            .limit(limit)
        )
        return [
            SealedDevice(
                id=row.id,
                owner=Owner(row.application_id, row.user_name),
                parameters=parameters_of(row.algorithm, row.digits, row.period_s),
                secret=SealedSecret(row.key_id, row.secret),
            )
            for row in await self._database.read(query)
        ]

    async def replace(self, changes: Sequence[Resealed]) -> None:
        """Replace secrets that are still the same, as the port says.

        It is one statement: no row of it is held while this process waits for anything.
        """
        batch = [
            (one.device_id, one.was.key_id, one.was.blob.hex(), one.becomes.key_id, one.becomes.blob.hex())
            for one in changes
        ]
        try:
            await self._database.write(self._replacement, {BATCH: json.dumps(batch)})
        except sa.exc.IntegrityError as error:
            if not is_missing_parent(error):
                raise
            raise KeyRetired("a sealing key was retired meanwhile: begin again") from None

    async def per_key(self) -> Mapping[str, int]:
        """Return by how many devices each key is needed, as the port says."""
        counts: Counter[str] = Counter()
        last: str | None = ""
        while last is not None:
            page = (
                sa.select(devices.c.id, devices.c.key_id)
                .where(devices.c.id > last)
                .order_by(devices.c.id)
                .limit(_COUNTED)
                .subquery()
            )
            query = sa.select(page.c.key_id, sa.func.count().label("devices"), sa.func.max(page.c.id).label("last"))
            rows = await self._database.read(query.group_by(page.c.key_id))
            counts.update({row.key_id: row.devices for row in rows})
            last = max((row.last for row in rows), default=None)
        return counts

    async def needing(self, key_id: str, *, limit: int) -> Sequence[str]:
        """Return the ids of some devices that need a key, as the port says."""
        query = sa.select(devices.c.id).where(devices.c.key_id == key_id).limit(limit)
        return [row.id for row in await self._database.read(query)]


def _replacement(dialect: str) -> sa.Executable:
    names = "device_id", "old_key", "old_blob", "new_key", "new_blob"
    given = locked(batch_rows(dialect, dict.fromkeys(names, sa.Text())), dialect)
    return (
        sa.update(devices)
        .values(key_id=given.c.new_key, secret=octets(given.c.new_blob))
        .where(
            devices.c.id == given.c.device_id,
            devices.c.key_id == given.c.old_key,
            devices.c.secret == octets(given.c.old_blob),
        )
        .returning(devices.c.id)
    )
