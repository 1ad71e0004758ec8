"""The two ways that the service keeps what it has: in itself, or in servers that many copies of it share."""

import asyncio
import base64
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bench import enrolment
from bench.processes import Tree, plain_environment
from tests.servers import postgres, valkey


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a service keeps what it has.

    Attributes:
        environment: the settings that say so, and all others that a node has.
        database_url: of the registry.
        redis: the processes of Valkey; None where challenges are in the service itself.
        database: the same of PostgreSQL.
        redis_bytes: tells what Valkey's memory holds.
    """

    environment: Mapping[str, str] = field(repr=False)
    database_url: str
    redis: Tree | None = None
    database: Tree | None = None
    redis_bytes: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class Setup:
    """A kind of stores.

    Attributes:
        name: as in the results.
        start: starts them in a folder.
        most_workers: of one node.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[Stores]]
    most_workers: int


@contextmanager
def _embedded(folder: Path) -> Iterator[Stores]:
    yield Stores(_environment(folder), f"sqlite+aiosqlite:///{folder / 'data' / 'registry.sqlite3'}")


@contextmanager
def _scaled_out(folder: Path) -> Iterator[Stores]:
    with (
        valkey.standalone(folder / "valkey") as deployment,
        postgres.server() as running,
        postgres.database(running.url("postgres")) as database_url,
    ):
        [server] = deployment.servers
        environment = _environment(folder) | {"MFA_DATABASE_URL": database_url, "MFA_REDIS_URL": deployment.url}
        yield Stores(
            environment,
            database_url,
            redis=Tree(cast("int", server.facts("server")["process_id"])),
            database=Tree(asyncio.run(enrolment.postgresql_pid(database_url))),
            redis_bytes=lambda: cast("int", server.facts("memory")["used_memory"]),
        )


def _environment(folder: Path) -> dict[str, str]:
    """Return a node's settings: the defaults, logs on as they are."""
    return {
        **plain_environment(),
        "MFA_DATA_DIR": str(folder / "data"),
        "MFA_KEYS_ROOT": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "MFA_HTTP_PORT": "0",
        "MFA_OPS_PORT": "0",
    }


EMBEDDED = Setup("embedded", _embedded, most_workers=1)
SCALED_OUT = Setup("scaled-out", _scaled_out, most_workers=256)
