"""The four hot statements on devices, each over a whole batch at once."""

from dataclasses import dataclass

import sqlalchemy as sa

from mfa_service.model import DeviceStatus, GuessingLimits, Purpose
from mfa_service.stores.sql.expressions import batch_rows, now_ms
from mfa_service.stores.sql.tables import devices

_TEXT = sa.Text()
_INT = sa.BigInteger()


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements as built for one database."""

    get: sa.sql.expression.Executable
    find: sa.sql.expression.Executable
    accept: sa.sql.dml.ReturningUpdate[tuple[str, int, str]]
    charge: sa.sql.dml.ReturningUpdate[tuple[str]]


def is_there() -> sa.ColumnElement[bool]:
    """A device that exists: an expired pending one does not."""
    return sa.or_(devices.c.status != DeviceStatus.PENDING, devices.c.pending_until_ms > now_ms())


def build(dialect: str, limits: GuessingLimits) -> Statements:
    """Build the statements for a dialect and a list of waits."""
    return Statements(get=_get(dialect), find=_find(dialect), accept=_accept(dialect), charge=_charge(dialect, limits))


def columns_read() -> tuple[sa.ColumnElement[object], ...]:
    """What is read of a device: its row and the database's clock."""
    return (*devices.c, now_ms().label("read_at_ms"))


def _get(dialect: str) -> sa.sql.expression.Executable:
    batch = batch_rows(dialect, {"device_id": _TEXT})
    return sa.select(*columns_read()).join_from(batch, devices, devices.c.id == batch.c.device_id).where(is_there())


def _find(dialect: str) -> sa.sql.expression.Executable:
    batch = batch_rows(dialect, {"application_id": _TEXT, "user_name": _TEXT, "name": _TEXT})
    condition = sa.and_(*(devices.c[column] == batch.c[column] for column in ("application_id", "user_name", "name")))
    return sa.select(*columns_read()).join_from(batch, devices, condition).where(is_there())


def _accept(dialect: str) -> sa.sql.dml.ReturningUpdate[tuple[str, int, str]]:
    """The acceptance rule: the one statement that accepts a code (RFC 6238 §5.2)."""
    batch = batch_rows(
        dialect,
        {"device_id": _TEXT, "step": _INT, "auth_id": _TEXT, "matched": _INT, "purpose": _TEXT, "tolerance": _INT},
    ).alias("given")
    held = sa.and_(devices.c.last_step == batch.c.step, devices.c.last_auth_id == batch.c.auth_id)
    activation = batch.c.purpose == Purpose.ACTIVATION
    active = devices.c.status == DeviceStatus.ACTIVE
    pending = sa.and_(devices.c.status == DeviceStatus.PENDING, devices.c.pending_until_ms > now_ms())
    return (
        sa.update(devices)
        .values(
            status=DeviceStatus.ACTIVE.value,
            last_step=batch.c.step,
            last_auth_id=batch.c.auth_id,
            last_used_ms=batch.c.matched,
            failures=0,
            locked_until_ms=0,
        )
        .where(
            devices.c.id == batch.c.device_id,
            _locked_in_order(dialect, batch.c.device_id),
            sa.or_(
                sa.and_(sa.not_(activation), active),
                sa.and_(activation, sa.or_(pending, sa.and_(active, held))),
            ),
            devices.c.locked_until_ms <= now_ms(),
            sa.or_(devices.c.last_step < batch.c.step, held),
            sa.func.abs(now_ms() - batch.c.matched) <= batch.c.tolerance,
        )
        .returning(devices.c.id, devices.c.last_step, devices.c.last_auth_id)
    )


def _charge(dialect: str, limits: GuessingLimits) -> sa.sql.dml.ReturningUpdate[tuple[str]]:
    batch = batch_rows(dialect, {"device_id": _TEXT}).alias("given")
    failures = devices.c.failures + 1
    return (
        sa.update(devices)
        .values(
            failures=failures,
            locked_until_ms=now_ms() + _wait_ms(failures, limits),
            status=sa.case((failures >= limits.disable_after, DeviceStatus.BLOCKED.value), else_=devices.c.status),
        )
        .where(
            devices.c.id == batch.c.device_id,
            _locked_in_order(dialect, batch.c.device_id),
            devices.c.status.in_((DeviceStatus.ACTIVE.value, DeviceStatus.PENDING.value)),
            is_there(),
            devices.c.locked_until_ms <= now_ms(),
        )
        .returning(devices.c.id)
    )


def _wait_ms(failures: sa.ColumnElement[int], limits: GuessingLimits) -> sa.ColumnElement[int]:
    """The list of waits as a CASE over the places where it changes, the longest first."""
    waits = limits.waits_ms
    changes = [count for count in range(1, len(waits)) if waits[count] != waits[count - 1]]
    if not changes:
        return sa.literal(waits[-1], sa.BigInteger)
    return sa.case(*((failures >= count, waits[count]) for count in reversed(changes)), else_=waits[0])


def _locked_in_order(dialect: str, device_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """On PostgreSQL, lock a batch's rows in the order of their ids first, so that two batches never wait crosswise."""
    if dialect == "sqlite":
        return sa.true()
    members = batch_rows(dialect, {"device_id": _TEXT}).alias("members")
    locked = (
        sa.select(devices.c.id)
        .where(devices.c.id.in_(sa.select(members.c.device_id)))
        .order_by(devices.c.id)
        .with_for_update()
        .cte("locked")
    )
    return device_id.in_(sa.select(locked.c.id))
