"""`Applications` in SQL."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mfa_service.errors import ApplicationHasDevices, ApplicationNameTaken, ApplicationNotFound
from mfa_service.model import Application, SecretHash
from mfa_service.stores.batching import Batcher, Missing
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.statements import is_there
from mfa_service.stores.sql.tables import applications, devices

_DEVICES_A_STATEMENT = 5_000  # each must end within the server's statement time-out


class SqlApplications:
    """The registry of applications.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clients: Batcher[str, Application] = Batcher(self._send_clients)

    async def close(self) -> None:
        """Answer what is under way and take no more."""
        await self._clients.close()

    async def add(self, application: Application) -> None:
        """Insert an application, as the port says."""
        handles = (application.name, application.client_id)
        taken = sa.select(applications.c.id).where(
            sa.or_(applications.c.name.in_(handles), applications.c.client_id.in_(handles))
        )
        try:
            async with self._database.transaction() as connection:
                await _lock_names(connection)
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
        return await self._select(sa.true())

    async def by_client_id(self, client_id: str) -> Application:
        """Return an application by its client id, as the port says."""
        if not _can_be_kept(client_id):
            raise ApplicationNotFound
        try:
            return await self._clients.submit(client_id)
        except Missing:
            raise ApplicationNotFound from None

    async def named(self, text: str) -> Application:
        """Return an application by its client id or its name, as the port says."""
        if not _can_be_kept(text):
            raise ApplicationNotFound
        found = await self._select(sa.or_(applications.c.client_id == text, applications.c.name == text))
        if not found:
            raise ApplicationNotFound
        return found[0]

    async def set_secrets(self, application_id: str, hashes: Sequence[SecretHash]) -> None:
        """Replace the client secrets of an application, as the port says."""
        await self._update(application_id, secrets=_packed(hashes))

    async def set_disabled(self, application_id: str, *, disabled: bool) -> None:
        """Disable or enable an application, as the port says."""
        await self._update(application_id, disabled=disabled)

    async def remove(self, application_id: str, *, with_devices: bool) -> None:
        """Remove an application, as the port says."""
        this = applications.c.id == application_id
        own = devices.c.application_id == application_id
        some = sa.select(devices.c.id).where(own).limit(_DEVICES_A_STATEMENT)
        if with_devices:  # a few at a time, so that nobody else waits for long
            while await self._database.write(sa.delete(devices).where(devices.c.id.in_(some)).returning(devices.c.id)):
                pass
        async with self._database.transaction() as connection:
            # Locked first: no registration can slip in between the look and the removal.
            if (await connection.execute(sa.select(applications.c.id).where(this).with_for_update())).first() is None:
                raise ApplicationNotFound
            if not with_devices:
                there = sa.select(devices.c.id).where(own, is_there()).limit(1)
                if (await connection.execute(there)).first() is not None:
                    raise ApplicationHasDevices
            await connection.execute(sa.delete(devices).where(own))  # expired, or registered in between
            await connection.execute(sa.delete(applications).where(this))

    async def _send_clients(self, client_ids: Sequence[str]) -> Mapping[Hashable, Application]:
        return {one.client_id: one for one in await self._select(applications.c.client_id.in_(client_ids))}

    async def _select(self, condition: sa.ColumnElement[bool]) -> Sequence[Application]:
        query = sa.select(applications).where(condition).order_by(applications.c.name)
        return [_application(row) for row in await self._database.read(query)]

    async def _update(self, application_id: str, **values: object) -> None:
        statement = sa.update(applications).values(**values).where(applications.c.id == application_id)
        if not await self._database.write(statement.returning(applications.c.id)):
            raise ApplicationNotFound


async def _lock_names(connection: AsyncConnection) -> None:
    """Let one application at a time be added: a name must be no other one's client id, which no constraint can say."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("LOCK TABLE applications IN SHARE ROW EXCLUSIVE MODE"))


def _can_be_kept(text: str) -> bool:
    """Whether a database can hold a text at all: what clients claim to be is any text."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


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
