"""The known devices in a registry, put there in bulk as the service would have, and made ready again between cells."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from bench import fleet
from bench.calls import Credentials
from bench.fleet import KnownDevice
from mfa_service import app, opening, sealing, settings
from mfa_service.access.applications import new_application
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, DeviceStatus, Owner
from mfa_service.sealing import Keyring, device_context
from mfa_service.stores.sql.tables import devices

_AT_ONCE = 2_000  # devices a statement when they are made, each of which has its deadline
_NAMED_AT_ONCE = 1_000  # devices a statement when they are made ready
_STEP = 59_000_000  # of the code before: in February 2026


async def enrol(environment: Mapping[str, str], count: int) -> Credentials:
    """Make a registry of one application with so many active devices, used before, and return its credentials.

    Args:
        environment: settings of the service, with its root key.
        count: of devices.
    """
    given = settings.load(config_path=None, environment=environment, flags={}).settings
    clock = app.SystemClock()
    await opening.upgrade_database(given)
    registry = await opening.open_registry_of(given, clock=clock)
    try:
        root_key = sealing.root_key_from_text(given.keys.root, random_bytes=app.random_bytes)
        keyring = await sealing.establish(registry.keys, root_key, clock=clock, random_bytes=app.random_bytes)
        scopes = frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE})
        application, secret = new_application("bench", scopes, clock=clock, random_bytes=app.random_bytes)
        await registry.applications.add(application)
        for start in range(0, count, _AT_ONCE):
            some = map(fleet.device, range(start, min(start + _AT_ONCE, count)))
            rows = [await _row(one, application.id, keyring, clock.now_ms()) for one in some]
            async with registry.database.transaction() as connection:
                await _insert(connection, rows)
    finally:
        await registry.close()
    async with _connected(opening.database_url(given)) as connection:
        await _tidy(connection)
    return Credentials(application.client_id, secret)


async def make_ready(url: str, used: Sequence[KnownDevice]) -> None:
    """Have devices accept any code again, and answer at once; no worker keeps what their rows say.

    Args:
        url: of the database.
        used: devices whose codes were accepted or charged.
    """
    before = {
        "last_step": _STEP,
        "last_auth_id": _auth_id(_STEP),
        "failures": 0,
        "slow_failures": 0,
        "locked_until_ms": 0,
    }
    ids = [one.id for one in used]
    async with _connected(url) as connection:
        for start in range(0, len(ids), _NAMED_AT_ONCE):
            some = devices.c.id.in_(ids[start : start + _NAMED_AT_ONCE])
            await connection.execute(sa.update(devices).where(some).values(before))
        await _tidy(connection)


async def bytes_per_device(url: str) -> float:
    """Return what a device takes in the database, its indexes included."""
    async with _connected(url) as connection:
        if connection.dialect.name == "postgresql":
            size = "SELECT pg_total_relation_size('devices')"
        else:
            size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        size_bytes: int = (await connection.execute(sa.text(size))).scalar_one()
        count = (await connection.execute(sa.select(sa.func.count()).select_from(devices))).scalar_one()
    return size_bytes / count


async def postgresql_pid(url: str) -> int:
    """Return the first process of the PostgreSQL server, on this machine, that a database is on."""
    async with _connected(url) as connection:
        pid: int = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
        return psutil.Process(pid).ppid()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    """Open a connection whose statements each commit by themselves."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _row(one: KnownDevice, application_id: str, keyring: Keyring, now_ms: int) -> dict[str, Any]:
    parameters = fleet.PARAMETERS
    context = device_context(one.id, Owner(application_id, one.user_name), parameters)
    sealed = await keyring.seal(one.secret, context=context)
    return {
        "id": one.id,
        "application_id": application_id,
        "user_name": one.user_name,
        "name": fleet.DEVICE_NAME,
        "slot": 1,
        "status": DeviceStatus.ACTIVE.value,
        "algorithm": parameters.algorithm,
        "digits": parameters.digits,
        "period_s": parameters.period_s,
        "key_id": sealed.key_id,
        "secret": sealed.blob,
        "last_step": _STEP,
        "last_auth_id": _auth_id(_STEP),
        "earlier_acceptances": "",
        "failures": 0,
        "locked_until_ms": 0,
        "pending_until_ms": 0,
        "created_at_ms": now_ms,
        "last_used_ms": now_ms,
        "slow_failures": 0,
        "slow_since_ms": 0,
    }


async def _insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    if connection.dialect.name == "postgresql":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        records = [tuple(row.values()) for row in rows]
        await driver.copy_records_to_table("devices", records=records, columns=list(rows[0]))
    else:
        await connection.execute(sa.insert(devices), rows)


async def _tidy(connection: AsyncConnection) -> None:
    """Do now what the database would otherwise do by itself at some moment of the next cell."""
    is_postgresql = connection.dialect.name == "postgresql"
    await connection.exec_driver_sql("VACUUM ANALYZE devices" if is_postgresql else "PRAGMA wal_checkpoint(PASSIVE)")


def _auth_id(step: int) -> str:
    return str(uuid.UUID(int=step, version=4))
