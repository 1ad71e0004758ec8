"""What a process opens: the registry and its keys, the stores, and the keys of another issuer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from mfa_service import sealing
from mfa_service.access import outside
from mfa_service.key_services.vault_transit import open_vault_transit
from mfa_service.ops import folder, guessing
from mfa_service.ops.health import Check, NotReady, Watch
from mfa_service.ops.upkeep import every
from mfa_service.ports import Challenges, Clock, QuotaLeases, RandomBytes
from mfa_service.settings import Settings
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.memory_leases import MemoryQuotaLeases
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.stores.sql import urls as database_urls

WATCHED = ("database", "schema", "challenges")
"""What a process is watched for that has opened its stores."""

_ISSUER = "issuer"
_ISSUER_EVERY_S = 1.0
_log = structlog.get_logger(__name__)


def watched(settings: Settings) -> tuple[str, ...]:
    """Return what a process is watched for: its stores, and the issuer of access tokens where that is another one."""
    return WATCHED if settings.tokens.is_embedded else (*WATCHED, _ISSUER)


class Upkeep(Protocol):
    """Does one thing again and again until cancelled."""

    def __call__(
        self, interval_s: float, act: Callable[[], Awaitable[object]], *, name: str
    ) -> Coroutine[None, None, None]:
        """Call `act` each `interval_s` seconds; `name` is what the log calls it."""
        ...


def database_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the registry: where none is set, of the SQLite file in `data_dir`."""
    return settings.database.url or f"sqlite+aiosqlite:///{settings.data_dir / 'registry.sqlite3'}"


def refuse_unfit_urls(settings: Settings) -> None:
    """Refuse settings by whose URLs no store could be opened.

    Raises:
        SettingsInvalid: one of them is none.
    """
    database_urls.parse(database_url(settings))
    if settings.redis.url:
        from mfa_service.stores.redis import urls  # noqa: PLC0415  6 MiB that a node without Redis need not have

        urls.parse(settings.redis.url)


async def upgrade_database(settings: Settings) -> None:
    """Bring the registry's schema to this version's."""
    if not settings.database.url:
        folder.prepare(settings.data_dir)
    await schema.upgrade(database_url(settings))


async def open_registry_of(settings: Settings, *, clock: Clock) -> Registry:
    """Open the registry of these settings; the embedded one is made, and kept at this version's schema, on the way.

    Raises:
        SchemaStale: a database of its own has an older schema.
        StoreUnavailable: it is out of reach.
    """
    if not settings.database.url:
        await upgrade_database(settings)
    registry = await open_registry(database_url(settings), clock=clock, limits=guessing.limits_of(settings))
    try:
        revision = await registry.check_schema()
    except BaseException:
        await registry.close()
        raise
    if revision > schema.HEAD:
        _log.warning("schema_newer", schema=revision, made_for=schema.HEAD)
    return registry


@asynccontextmanager
async def open_keyring(
    settings: Settings, registry: Registry, *, clock: Clock, random_bytes: RandomBytes
) -> AsyncIterator[sealing.Keyring]:
    """Open the keys of a registry; on its first start they are made.

    Yields:
        The keyring, with a key that seals.

    Raises:
        WrongRootKey: the root key is missing or not this registry's.
        UnsealFailed: the current sealing key is damaged.
        StoreUnavailable: the registry or the key service is out of reach.
    """
    async with _root_key(settings, registry, random_bytes) as root_key:
        yield await sealing.establish(registry.keys, root_key, clock=clock, random_bytes=random_bytes)


@dataclass(frozen=True, slots=True)
class Stores:
    """What the service keeps things in."""

    registry: Registry
    challenges: Challenges
    leases: QuotaLeases


@asynccontextmanager
async def open_stores(settings: Settings, *, clock: Clock, watch: Watch) -> AsyncIterator[Stores]:
    """Open what the service keeps things in.

    Args:
        settings: what holds for it.
        clock: its time.
        watch: is told how to ask each store for an answer, by the names of `WATCHED`.

    Yields:
        The stores.

    Raises:
        SettingsInvalid: the settings ask for what cannot be.
        SchemaStale: the database has an older schema.
        StoreUnavailable: the database or Redis is out of reach.
    """
    async with AsyncExitStack() as stack:
        folder.prepare(settings.data_dir)
        challenges, leases, ping = await _open_memory(settings, stack, clock)
        registry = await open_registry_of(settings, clock=clock)
        stack.push_async_callback(registry.close)
        for name, check in zip(WATCHED, (registry.ping, registry.check_schema, ping), strict=True):
            watch(name, check)
        yield Stores(registry, challenges, leases)


@asynccontextmanager
async def open_issuer(
    settings: Settings, *, clock: Clock, watch: Watch, keep_doing: Upkeep = every
) -> AsyncIterator[outside.IssuerKeys | None]:
    """Open the keys of another issuer, and keep them fresh while they are open.

    Args:
        settings: what holds for it.
        clock: tells how old the keys are.
        watch: is told how to ask whether some are known, by the last name of `watched`.
        keep_doing: does each of its duties again and again until cancelled.

    Yields:
        The keys, read where the issuer answered at once; None where tokens are issued here.
    """
    if settings.tokens.is_embedded:
        yield None
        return
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(outside.open_session(settings.tokens.issuer))
        keys = outside.IssuerKeys(
            settings.tokens.issuer,
            fetch=outside.HttpFetch(session),
            clock=clock,
            rsa_algorithm=settings.tokens.rsa_algorithm,
        )
        stack.push_async_callback(keys.close)

        async def check() -> None:
            if keys.obstacle is not None:
                raise NotReady(keys.obstacle)

        watch(_ISSUER, check)
        await keys.start()
        begin(stack, keep_doing(_ISSUER_EVERY_S, keys.refresh, name=_ISSUER))
        yield keys


async def _open_memory(
    settings: Settings, stack: AsyncExitStack, clock: Clock
) -> tuple[Challenges, QuotaLeases, Check]:
    """Open what may be forgotten, challenges and leases, and return with it how to ask for an answer."""
    if not settings.redis.url:
        in_memory = MemoryChallenges(clock)
        return in_memory, MemoryQuotaLeases(clock), in_memory.ping
    from mfa_service.stores import redis  # noqa: PLC0415  6 MiB that a node without Redis need not have

    prefix = f"{settings.redis.key_prefix}:"
    client = await redis.open_client(
        settings.redis.url,
        prefix=prefix,
        allow_eviction=settings.redis.allow_eviction,
        deadline_s=settings.redis.deadline_ms / 1000,
        leases=settings.quota.requests_per_s > 0,
    )
    stack.push_async_callback(client.close)
    challenges = redis.RedisChallenges(client, prefix=prefix)
    return challenges, redis.RedisQuotaLeases(client, prefix=prefix), challenges.ping


@asynccontextmanager
async def _root_key(
    settings: Settings, registry: Registry, random_bytes: RandomBytes
) -> AsyncIterator[sealing.KeyWrapping]:
    """Give the root key; one is made for an embedded registry without keys alone, so that a lost one stays lost."""
    path = settings.data_dir / "root.key"
    if settings.keys.provider == "vault-transit":
        async with open_vault_transit(settings.vault) as vault:
            yield vault
    elif settings.keys.root:
        yield sealing.root_key_from_text(settings.keys.root, random_bytes=random_bytes)
    elif settings.database.url or await registry.keys.all():
        yield sealing.read_root_key(path, random_bytes=random_bytes)
    else:
        yield sealing.read_or_make_root_key(path, random_bytes=random_bytes)


def begin(stack: AsyncExitStack, duty: Coroutine[None, None, None]) -> None:
    """Run a duty until a stack unwinds.

    Args:
        stack: ends it.
        duty: what is done, again and again.
    """
    task = asyncio.get_running_loop().create_task(duty)

    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    stack.push_async_callback(end)
