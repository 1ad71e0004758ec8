"""PostgreSQL: a pool of connections to the server that takes writes, and what that server promises."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no annotations
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from mfa_service.errors import SettingsInvalid
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.driver import Driver
from mfa_service.stores.sql.prepared import Parameters, Row

_POOL_SIZE = 8
_POOL_TIMEOUT_S = 1.0
_CONNECT_TIMEOUT_S = 2.0
_HOST_TIMEOUT_S = 0.45  # of each of several hosts: a batch's deadline reaches beyond one that is silent
_COMMAND_TIMEOUT_S = 1.5  # longer than the server's own limit: it ends a connection whose server fell silent
_SETTINGS = {
    "lock_timeout": "200",
    "statement_timeout": "800",
    "idle_in_transaction_session_timeout": "2000",  # of a process that was stopped in one: its locks end too
    "jit": "off",
}
_READ_ONLY_TRANSACTION = "25006"


def connect(url: sa.URL) -> Database:
    """Return the database on a server; connections are made when they are first needed.

    Args:
        url: `postgresql+asyncpg://USER:PASSWORD@HOST:PORT/NAME`, or several hosts as
            `postgresql+asyncpg://USER:PASSWORD@/NAME?host=H1:5432&host=H2:5432`, of which the one that takes writes is
            used.
    """
    made = engine(url, settings=_SETTINGS, command_timeout_s=_COMMAND_TIMEOUT_S)
    sa.event.listen(made.sync_engine, "checkout", _replace_closed)
    sa.event.listen(made.sync_engine, "handle_error", _leave_standby)
    return Database(made, made, DRIVER)


def engine(url: sa.URL, *, settings: dict[str, str], command_timeout_s: float | None) -> AsyncEngine:
    """Return an engine.

    Args:
        url: as for `connect`.
        settings: run-time parameters of every connection.
        command_timeout_s: after how long without an answer a connection is given up; None: never.
    """
    arguments: dict[str, object] = {
        "timeout": _CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "server_settings": {"application_name": "mfa-service", **settings},
    }
    if "target_session_attrs" not in url.query:
        arguments["target_session_attrs"] = "read-write"
    hosts = _several_hosts(url)
    if hosts:
        arguments |= {"timeout": _HOST_TIMEOUT_S, "async_creator_fn": Hosts(hosts).connect}
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_size=_POOL_SIZE,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        connect_args=arguments,
    )


class Hosts:
    """Several servers, of which one takes writes. The one that did last is asked first, each within its own time.

    asyncpg has one time limit for all hosts together: a silent one at the head of the list would use it up each time.

    Args:
        addresses: host and port of each.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self._addresses = deque(addresses)

    async def connect(self, **options: Any) -> Any:  # noqa: ANN401  asyncpg's own
        """Return a connection to the first host that is of use; a host that is not moves to the end.

        Args:
            options: as `asyncpg.connect` takes them; host and port are replaced.

        Raises:
            PostgresError, InterfaceError, OSError: none is of use; what the last one said.
        """
        failure: Exception = OSError("no host")
        for _ in range(len(self._addresses)):
            address = self._addresses[0]
            try:
                return await asyncpg.connect(**options | {"host": address[0], "port": address[1]})
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                failure = error
                if self._addresses[0] is address:  # another caller may have moved it already
                    self._addresses.rotate(-1)
        raise failure


def _several_hosts(url: sa.URL) -> Sequence[tuple[str, int]]:
    """Return host and port of each server where a URL names several, and nothing elsewhere."""
    _, options = url.get_dialect()().create_connect_args(url)
    hosts = options.get("host")
    return list(zip(hosts, options["port"], strict=True)) if isinstance(hosts, list) else []


async def durability_warnings(database: Database) -> list[str]:
    """Return what keeps this server from promising that nothing acknowledged is lost.

    Returns:
        Sentences for an operator; none where the promise holds over a fail-over too.

    Raises:
        SettingsInvalid: commits are acknowledged before they are durable.
        StoreUnavailable: the server is out of reach.
    """
    names = ("synchronous_commit", "synchronous_standby_names", "fsync")
    [row] = await database.read(sa.select(*(sa.func.current_setting(name).label(name) for name in names)))
    if row.synchronous_commit == "off":
        raise SettingsInvalid(
            "database.url: the server has synchronous_commit = off and may forget an accepted code: set it to on"
        )
    warnings = []
    if row.fsync == "off":
        warnings.append("fsync is off: a power cut may lose or break what was acknowledged")
    if not row.synchronous_standby_names or row.synchronous_commit == "local":
        warnings.append("replication is not synchronous: a fail-over may forget what was acknowledged last")
    return warnings


def _replace_closed(_connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that is known to be closed before anything is sent on it."""
    if entry.driver_connection is None or entry.driver_connection.is_closed():
        raise sa.exc.DisconnectionError


def _leave_standby(context: ExceptionContext) -> None:
    """Drop all connections to a server that takes no writes any more: new ones look for the server that does."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        context.is_disconnect = True


async def _fetch(connection: asyncpg.Connection, text: str, parameters: Parameters) -> Sequence[Row]:
    rows: Sequence[Row] = await connection.fetch(text, *parameters)
    return rows


async def _change(connection: asyncpg.Connection, text: str, parameters: Parameters) -> int:
    status: str = await connection.execute(text, *parameters)  # the command's tag, such as `UPDATE 22`
    return int(status.rpartition(" ")[2])


def _is_closed(connection: asyncpg.Connection) -> bool:
    is_closed: bool = connection.is_closed()
    return is_closed


DRIVER: Final = Driver(
    fetch=_fetch,
    change=_change,
    errors=(
        sa.exc.DBAPIError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        AsyncAdapt_asyncpg_dbapi.Error,  # what a pool raises as it is where it cannot connect
    ),
    answers=(asyncpg.PostgresError,),
    standby=(asyncpg.ReadOnlySQLTransactionError,),
    is_closed=_is_closed,
)
"""asyncpg."""
