"""The statements on devices that are carried out in batches, each over a whole batch at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mfa_service.model import DeviceStatus, GuessingLimits, Purpose
from mfa_service.rules.guessing import SLOW_WINDOW_MS
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.expressions import digits, member_rows, now_ms
from mfa_service.stores.sql.prepared import Prepared
from mfa_service.stores.sql.tables import devices

_TEXT = sa.Text()
_INT = sa.BigInteger()

# What a device can accept while a challenge lives: 32 steps of 30 s in the 900 s of an activation.
_EARLIER_CHARACTERS = 32 * len("12345678:01234567-89ab-4def-8123-456789abcdef ")
# Where so many steps have passed, of 30 s at least, no challenge is left that could ask for an acceptance before them:
# the longest lives for an hour. Half as many would do, but for the clocks.
_FORGOTTEN_AFTER_STEPS = 240


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements as built for one database."""

    get: Prepared
    find: Prepared
    listing: Prepared
    credential: Prepared
    standing: Prepared
    accept: Prepared
    accept_and_tell: Prepared
    charge: Prepared


def build(database: Database, limits: GuessingLimits) -> Statements:
    """Build the statements for a database and a list of waits."""
    dialect, prepare = database.dialect, database.prepare
    return Statements(
        get=prepare(_by_id(dialect, columns_of_device())),
        find=prepare(_by_name(dialect, columns_of_device())),
        listing=prepare(_by_owner(dialect, columns_of_device())),
        credential=database.prepare_packed(_by_id(dialect, columns_of_credential())),
        standing=database.prepare_packed(_by_name(dialect, columns_of_standing())),
        accept=prepare(_accept(dialect)),
        accept_and_tell=prepare(_accept(dialect).returning(devices.c.id, devices.c.last_step, devices.c.last_auth_id)),
        charge=prepare(_charge(dialect, limits)),
    )


def is_there() -> sa.ColumnElement[bool]:
    """A device that exists: one that nobody activated in time does not."""
    return sa.or_(devices.c.pending_until_ms == _number(0), devices.c.pending_until_ms > now_ms())


def columns_of_standing() -> tuple[sa.ColumnElement[Any], ...]:
    """What is read of a device's standing, in the order of its attributes."""
    return devices.c.id, devices.c.status, devices.c.locked_until_ms, now_ms().label("read_at_ms")


def columns_of_credential() -> tuple[sa.ColumnElement[Any], ...]:
    """What is read of a credential: its standing and then the rest, as `devices.credential_of` takes it."""
    return (
        *columns_of_standing(),
        devices.c.application_id,
        devices.c.user_name,
        devices.c.name,
        devices.c.algorithm,
        devices.c.digits,
        devices.c.period_s,
        devices.c.key_id,
        digits(devices.c.secret),
        devices.c.last_step,
        devices.c.last_auth_id,
    )


def columns_of_device() -> tuple[sa.ColumnElement[Any], ...]:
    """What is read of a whole device: its credential and then the rest, as `devices.device_of` takes it."""
    return (
        *columns_of_credential(),
        devices.c.earlier_acceptances,
        devices.c.failures,
        devices.c.slow_failures,
        devices.c.slow_since_ms,
        devices.c.pending_until_ms,
        devices.c.created_at_ms,
        devices.c.last_used_ms,
    )


def _by_id(dialect: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Select[*tuple[Any, ...]]:
    batch = member_rows(dialect, {"device_id": _TEXT})
    return sa.select(*columns).join_from(batch, devices, devices.c.id == batch.c.device_id).where(is_there())


def _by_name(dialect: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Select[*tuple[Any, ...]]:
    """The name comes first, for the answer to be told by it."""
    names = {"application_id": _TEXT, "user_name": _TEXT, "name": _TEXT}
    batch = member_rows(dialect, names)
    condition = sa.and_(*(devices.c[column] == batch.c[column] for column in names))
    return sa.select(*batch.c, *columns).join_from(batch, devices, condition).where(is_there())


def _by_owner(dialect: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Executable:
    """Every device of a user, in the order of registration."""
    names = {"application_id": _TEXT, "user_name": _TEXT}
    batch = member_rows(dialect, names)
    condition = sa.and_(*(devices.c[column] == batch.c[column] for column in names))
    order = devices.c.created_at_ms, devices.c.id
    return sa.select(*columns).join_from(batch, devices, condition).where(is_there()).order_by(*order)


def _accept(dialect: str) -> sa.Update:
    """The acceptance rule: the one statement that accepts a code (RFC 6238 §5.2)."""
    given = locked(
        member_rows(
            dialect,
            {"device_id": _TEXT, "step": _INT, "auth_id": _TEXT, "matched": _INT, "purpose": _TEXT, "tolerance": _INT},
        ),
        dialect,
    )
    is_held = sa.and_(devices.c.last_step == given.c.step, devices.c.last_auth_id == given.c.auth_id)
    newest = sa.cast(devices.c.last_step, _TEXT) + sa.literal_column("':'", _TEXT) + devices.c.last_auth_id
    is_long_ago = devices.c.last_step < given.c.step - sa.literal_column(str(_FORGOTTEN_AFTER_STEPS))
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
            earlier_acceptances=sa.case(
                (is_held, devices.c.earlier_acceptances), (is_long_ago, sa.literal_column("''", _TEXT)), else_=earlier
            ),
            last_used_ms=given.c.matched,
            # A code that is accepted once more takes no wrong one back that came after it.
            failures=sa.case((is_held, devices.c.failures), else_=sa.literal_column("0")),
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
    )


def _charge(dialect: str, limits: GuessingLimits) -> sa.Executable:
    given = locked(member_rows(dialect, {"device_id": _TEXT}), dialect)
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


def locked(batch: sa.FromClause, dialect: str) -> sa.CTE:
    """Return the members of a batch; on PostgreSQL those whose device there is, each locked first, by order of ids.

    So two batches never wait for each other crosswise. SQLite has one writer; it would otherwise make each member anew
    wherever the statement names one of its columns.

    Args:
        batch: its rows, with a column `device_id`.
        dialect: `sqlite` or `postgresql`.
    """
    if dialect == "sqlite":
        return sa.select(*batch.c).cte("given").prefix_with("MATERIALIZED")
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
