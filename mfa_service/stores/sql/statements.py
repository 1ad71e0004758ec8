"""The four hot statements on devices, each over a whole batch at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mfa_service.model import DeviceStatus, GuessingLimits, Purpose
from mfa_service.rules.guessing import SLOW_WINDOW_MS
from mfa_service.stores.sql.expressions import batch_rows, now_ms
from mfa_service.stores.sql.tables import devices

_TEXT = sa.Text()
_INT = sa.BigInteger()

# What a device can accept while a challenge lives: 32 steps of 30 s in the 900 s of an activation.
_EARLIER_CHARACTERS = 32 * len("12345678:01234567-89ab-4def-8123-456789abcdef ")


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements as built for one database."""

    get: sa.Executable
    find: sa.Executable
    accept: sa.Executable
    charge: sa.Executable


def build(dialect: str, limits: GuessingLimits) -> Statements:
    """Build the statements for a dialect and a list of waits."""
    return Statements(get=_get(dialect), find=_find(dialect), accept=_accept(dialect), charge=_charge(dialect, limits))


def is_there() -> sa.ColumnElement[bool]:
    """A device that exists: one that nobody activated in time does not."""
    return sa.or_(devices.c.pending_until_ms == 0, devices.c.pending_until_ms > now_ms())


def columns_read() -> tuple[sa.ColumnElement[Any], ...]:
    """What is read of a device: its row and the database's clock."""
    return (*devices.c, now_ms().label("read_at_ms"))


def _get(dialect: str) -> sa.Executable:
    batch = batch_rows(dialect, {"device_id": _TEXT})
    return sa.select(*columns_read()).join_from(batch, devices, devices.c.id == batch.c.device_id).where(is_there())


def _find(dialect: str) -> sa.Executable:
    batch = batch_rows(dialect, {"application_id": _TEXT, "user_name": _TEXT, "name": _TEXT})
    condition = sa.and_(*(devices.c[column] == batch.c[column] for column in ("application_id", "user_name", "name")))
    return sa.select(*columns_read()).join_from(batch, devices, condition).where(is_there())


def _accept(dialect: str) -> sa.Executable:
    """The acceptance rule: the one statement that accepts a code (RFC 6238 §5.2)."""
    given = _locked(
        dialect,
        {"device_id": _TEXT, "step": _INT, "auth_id": _TEXT, "matched": _INT, "purpose": _TEXT, "tolerance": _INT},
    )
    is_held = sa.and_(devices.c.last_step == given.c.step, devices.c.last_auth_id == given.c.auth_id)
    newest = sa.cast(devices.c.last_step, _TEXT) + sa.literal_column("':'", _TEXT) + devices.c.last_auth_id
    earlier = sa.func.substr(
        newest + sa.literal_column("' '", _TEXT) + devices.c.earlier_acceptances,
        sa.literal_column("1"),
        sa.literal_column(str(_EARLIER_CHARACTERS)),
    )
    is_active = devices.c.status == _literal(DeviceStatus.ACTIVE)
    is_pending = sa.and_(devices.c.status == _literal(DeviceStatus.PENDING), devices.c.pending_until_ms > now_ms())
    return (
        sa.update(devices)
        .values(
            status=_literal(DeviceStatus.ACTIVE),
            last_step=given.c.step,
            last_auth_id=given.c.auth_id,
            earlier_acceptances=sa.case((is_held, devices.c.earlier_acceptances), else_=earlier),
            last_used_ms=given.c.matched,
            failures=sa.literal_column("0"),
            locked_until_ms=sa.literal_column("0"),
            pending_until_ms=sa.literal_column("0"),
        )
        .where(
            devices.c.id == given.c.device_id,
            sa.or_(
                sa.and_(given.c.purpose == _literal(Purpose.AUTHENTICATION), is_active),
                sa.and_(
                    given.c.purpose == _literal(Purpose.ACTIVATION), sa.or_(is_pending, sa.and_(is_active, is_held))
                ),
            ),
            devices.c.locked_until_ms <= now_ms(),
            sa.or_(devices.c.last_step < given.c.step, is_held),
            sa.func.abs(now_ms() - given.c.matched) <= given.c.tolerance,
        )
        .returning(devices.c.id, devices.c.last_step, devices.c.last_auth_id)
    )


def _charge(dialect: str, limits: GuessingLimits) -> sa.Executable:
    given = _locked(dialect, {"device_id": _TEXT})
    one = sa.literal_column("1", sa.Integer)
    failures = devices.c.failures + one
    begins_anew = devices.c.slow_since_ms <= now_ms() - _number(SLOW_WINDOW_MS)
    return (
        sa.update(devices)
        .values(
            failures=failures,
            slow_failures=sa.case((begins_anew, one), else_=devices.c.slow_failures + one),
            slow_since_ms=sa.case((begins_anew, now_ms()), else_=devices.c.slow_since_ms),
            locked_until_ms=now_ms() + _wait_ms(failures, limits),
            status=sa.case(
                (failures >= _number(limits.disable_after), _literal(DeviceStatus.BLOCKED)), else_=devices.c.status
            ),
        )
        .where(
            devices.c.id == given.c.device_id,
            devices.c.status.in_((_literal(DeviceStatus.ACTIVE), _literal(DeviceStatus.PENDING))),
            is_there(),
            devices.c.locked_until_ms <= now_ms(),
        )
        .returning(devices.c.id, devices.c.failures, devices.c.slow_failures)
    )


def _wait_ms(failures: sa.ColumnElement[int], limits: GuessingLimits) -> sa.ColumnElement[int]:
    """The list of waits as a CASE over the places where it changes, the longest first."""
    waits_ms = limits.waits_ms
    changes = [count for count in range(1, len(waits_ms)) if waits_ms[count] != waits_ms[count - 1]]
    if not changes:
        return _number(waits_ms[-1])
    steps = ((failures >= _number(count), _number(waits_ms[count])) for count in reversed(changes))
    return sa.case(*steps, else_=_number(waits_ms[0]))


def _locked(dialect: str, columns: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.CTE:
    """The members of a batch whose device there is, each device locked first, in the order of their ids.

    So two batches never wait for each other crosswise on PostgreSQL; SQLite has one writer and ignores the locking.
    """
    batch = batch_rows(dialect, columns)
    return (
        sa.select(*batch.c)
        .join_from(batch, devices, devices.c.id == batch.c.device_id)
        .order_by(devices.c.id)
        .with_for_update(of=devices)
        .cte("given")
    )


def _literal(word: DeviceStatus | Purpose) -> sa.ColumnElement[str]:
    """One of our own words as it stands in SQL: a constant of the statement, not a parameter of each call."""
    return sa.literal_column(f"'{word.value}'", sa.Text)


def _number(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(int(number)), sa.BigInteger)
