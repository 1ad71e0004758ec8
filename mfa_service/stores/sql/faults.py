"""What a database's errors mean: that it is out of reach, that a row is locked, or something about one caller's row."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import sqlalchemy as sa

from mfa_service.errors import RowLocked, StoreUnavailable
from mfa_service.stores.sql.driver import Driver

# SQLSTATE classes and codes (PostgreSQL, appendix A) of a server that cannot answer now: connection, access, deadlock,
# no such database, out of resources, no lock, cancelled or shutting down, system, internal, turned into a standby, a
# transaction that was idle for too long.
_OUT_OF_REACH = ("08", "28", "40", "3D", "53", "55P03", "57", "58", "XX", "25006", "25P03")

# Breaches of a constraint and unfit data: as SQLAlchemy sorts them, SQLite, and asyncpg before it sends anything.
_UNFIT = (sa.exc.IntegrityError, sa.exc.DataError, sqlite3.IntegrityError, sqlite3.DataError, ValueError)

_LOCKED = "55P03"
_FOREIGN_KEY = "23503"
_SQLITE_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_SQLITE_FOREIGN_KEY = "SQLITE_CONSTRAINT_FOREIGNKEY"


class Reaching:
    """Turns, within a block, whatever a database out of reach raises into `StoreUnavailable`.

    Breaches of a constraint, unfit data and wrong statements stay what they are: they belong to one caller. It holds
    nothing of a block, so one serves any number of them at a time.

    Args:
        driver: of the database.
    """

    __slots__ = ("_errors",)

    def __init__(self, driver: Driver) -> None:
        self._errors = driver.errors

    def __enter__(self) -> None:
        """Begin a block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if isinstance(error, self._errors):
            if not _is_out_of_reach(error):
                return
            # A driver's text may repeat a row or a statement: only the kind of error is told.
            told = RowLocked if _sqlstate(error) == _LOCKED else StoreUnavailable
            raise told(f"database: {type(_original(error)).__name__} {_sqlstate(error)}".rstrip()) from None
        if isinstance(error, sa.exc.TimeoutError | OSError):  # of the pool; of the network, a deadline included
            raise StoreUnavailable(f"database: {type(error).__name__}") from None


def is_missing_parent(error: sa.exc.IntegrityError) -> bool:
    """Whether a row was refused for naming another row that is not there, or one kept from going for being named."""
    return _sqlstate(error) == _FOREIGN_KEY or getattr(error.orig, "sqlite_errorname", "") == _SQLITE_FOREIGN_KEY


@contextmanager
def telling_busy() -> Iterator[None]:
    """Have an SQLite file that somebody else writes to count as a locked row: it may be tried again.

    Not for batches, whose members would each wait for it in turn.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlite_errorname", "").startswith(_SQLITE_BUSY):
            raise RowLocked("database: another process writes to it") from None
        raise


def _is_out_of_reach(error: Exception) -> bool:
    """Sort by SQLSTATE; SQLite has none, and all but constraints is the file's or the connection's fault."""
    if isinstance(error, _UNFIT):
        return False
    state = _sqlstate(error)
    return not state or state.startswith(_OUT_OF_REACH)


def _sqlstate(error: Exception) -> str:
    return getattr(_original(error), "sqlstate", None) or ""


def _original(error: Exception) -> BaseException:
    """Return the driver's own error, where SQLAlchemy has wrapped it."""
    return error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
