"""`Applications` in SQL."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mfa_service.errors import ApplicationHasDevices, ApplicationNameTaken, ApplicationNotFound
from mfa_service.model import Application, SecretHash
from mfa_service.stores.sql.engines import Engines, reaching
from mfa_service.stores.sql.tables import applications, devices


class SqlApplications:
    """The registry of applications.

    Args:
        engines: the database.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def add(self, application: Application) -> None:
        """Insert an application, as the port says."""
        handles = (application.name, application.client_id)
        taken = sa.select(applications.c.id).where(
            sa.or_(applications.c.name.in_(handles), applications.c.client_id.in_(handles))
        )
        try:
            async with self._engines.transaction() as connection:
                if (await connection.execute(taken)).first() is not None:
                    raise ApplicationNameTaken
                await connection.execute(
                    sa.insert(applications).values(
                        id=application.id,
                        name=application.name,
                        client_id=application.client_id,
                        scopes=" ".join(sorted(application.scopes)),
                        disabled=application.disabled,
                        created_at_ms=application.created_at_ms,
                        secrets=_packed(application.secret_hashes),
                    )
                )
        except sa.exc.IntegrityError:
            raise ApplicationNameTaken from None

    async def all(self) -> Sequence[Application]:
        """Return every application, by name."""
        return await self._select(sa.select(applications).order_by(applications.c.name))

    async def by_client_id(self, client_id: str) -> Application:
        """Return an application by its client id, as the port says."""
        return _only(await self._select(sa.select(applications).where(applications.c.client_id == client_id)))

    async def named(self, text: str) -> Application:
        """Return an application by its client id or its name, as the port says."""
        condition = sa.or_(applications.c.client_id == text, applications.c.name == text)
        return _only(await self._select(sa.select(applications).where(condition)))

    async def set_secrets(self, application_id: str, hashes: Sequence[SecretHash]) -> None:
        """Replace the client secrets of an application, as the port says."""
        await self._update(application_id, secrets=_packed(hashes))

    async def set_disabled(self, application_id: str, *, disabled: bool) -> None:
        """Disable or enable an application, as the port says."""
        await self._update(application_id, disabled=disabled)

    async def remove(self, application_id: str, *, with_devices: bool) -> None:
        """Remove an application, as the port says."""
        own = devices.c.application_id == application_id
        async with self._engines.transaction() as connection:
            if with_devices:
                await connection.execute(sa.delete(devices).where(own))
            elif (await connection.execute(sa.select(devices.c.id).where(own).limit(1))).first() is not None:
                raise ApplicationHasDevices
            gone = await connection.execute(sa.delete(applications).where(applications.c.id == application_id))
            if not gone.rowcount:
                raise ApplicationNotFound

    async def _select(self, query: sa.Select[Any]) -> Sequence[Application]:
        with reaching():
            async with self._engines.reader.connect() as connection:
                return [_application(row) for row in await connection.execute(query)]

    async def _update(self, application_id: str, **values: object) -> None:
        async with self._engines.transaction() as connection:
            statement = sa.update(applications).values(**values).where(applications.c.id == application_id)
            if not (await connection.execute(statement)).rowcount:
                raise ApplicationNotFound


def _only(found: Sequence[Application]) -> Application:
    if not found:
        raise ApplicationNotFound
    return found[0]


def _application(row: sa.Row[Any]) -> Application:
    return Application(
        id=row.id,
        name=row.name,
        client_id=row.client_id,
        scopes=frozenset(row.scopes.split()),
        disabled=row.disabled,
        created_at_ms=row.created_at_ms,
        secret_hashes=tuple(SecretHash(bytes.fromhex(digest), until) for digest, until in json.loads(row.secrets)),
    )


def _packed(hashes: Sequence[SecretHash]) -> str:
    return json.dumps([(one.digest.hex(), one.valid_until_ms) for one in hashes])
