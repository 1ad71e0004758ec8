"""The composition root: the one module that knows every other, and the only one that reads the clock."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from mfa_service import sealing
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.issuer import ClientCredentialsIssuer
from mfa_service.access.metadata import Metadata
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import SettingsInvalid
from mfa_service.ops import logs
from mfa_service.ops.folder import hold_alone, prepare
from mfa_service.ops.upkeep import every
from mfa_service.ports import Challenges, Clock, RandomBytes
from mfa_service.rules import guessing
from mfa_service.rules.acceptance import CodePolicy, CodeScale
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.settings import Settings
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.web.service import Limits, build_service

random_bytes: RandomBytes = os.urandom

_TABLE_AGE_S = 0.5
_KEYS_AGE_S = 1.0
_SWEEP_EVERY_S = 30.0
_SWEEP_ROWS = 200


class SystemClock:
    """This machine's clocks."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment, never set back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Node:
    """One process of the service, ready to be bound to an address.

    Attributes:
        server: answers HTTP connections.
        registry: applications, devices and keys.
        challenges: where challenges are open.
    """

    server: web.Server
    registry: Registry
    challenges: Challenges


def is_embedded(settings: Settings) -> bool:
    """Whether the registry is the SQLite file in `data_dir`."""
    return not settings.database.url


def database_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the registry."""
    return settings.database.url or f"sqlite+aiosqlite:///{settings.data_dir / 'registry.sqlite3'}"


async def upgrade_database(settings: Settings) -> None:
    """Bring the registry's schema to this version's."""
    if is_embedded(settings):
        prepare(settings.data_dir)
    await schema.upgrade(database_url(settings))


async def open_registry_of(settings: Settings, *, clock: Clock) -> Registry:
    """Open the registry of these settings; the embedded one is made, and kept at this version's schema, on the way.

    Raises:
        SchemaStale: a database of its own has an older schema.
        StoreUnavailable: it is out of reach.
    """
    if is_embedded(settings):
        await upgrade_database(settings)
    registry = await open_registry(database_url(settings), clock=clock, limits=limits_of(settings))
    try:
        await registry.check_schema()
    except BaseException:
        await registry.close()
        raise
    return registry


def limits_of(settings: Settings) -> guessing.GuessingLimits:
    """Return the list of waits that these settings give."""
    return guessing.limits(
        free_failures=settings.guessing.free_failures,
        first_wait_s=settings.guessing.first_wait_s,
        longest_wait_s=settings.guessing.longest_wait_s,
        disable_after=settings.guessing.disable_after,
    )
