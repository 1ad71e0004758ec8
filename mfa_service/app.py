"""The composition root: what a process opens to serve or to look after the registry; it alone reads the clock."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from mfa_service import sealing
from mfa_service.access import keysets, outside
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.quotas import LeasedQuotas
from mfa_service.assembly import assemble
from mfa_service.errors import SettingsInvalid
from mfa_service.key_services.vault_transit import open_vault_transit
from mfa_service.model import QuotaLimits
from mfa_service.ops import folder, guessing
from mfa_service.ops.health import NotReady, Watch
from mfa_service.ops.upkeep import every
from mfa_service.ports import Challenges, Clock, QuotaLeases, RandomBytes
from mfa_service.settings import Settings
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.memory_leases import MemoryQuotaLeases
from mfa_service.stores.redis import RedisChallenges, RedisQuotaLeases, open_client
from mfa_service.stores.redis import urls as redis_urls
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.stores.sql import urls as database_urls
from mfa_service.web.service import RequestLog, Server

random_bytes: RandomBytes = os.urandom

WATCHED = ("database", "schema", "challenges")
"""What a process is watched for that has opened its stores."""

_ISSUER = "issuer"
_APPLICATIONS_EVERY_S = 0.5
_KEYS_EVERY_S = 1.0
_ISSUER_EVERY_S = 1.0
_HOLD_EVERY_S = 1.0
_SWEEP_EVERY_S = 30.0
_SWEPT_ROWS = 200
_log = structlog.get_logger(__name__)


def watched(settings: Settings) -> tuple[str, ...]:
    """Return what a process is watched for: its stores, and the issuer of access tokens where that is another one."""
    return WATCHED if settings.tokens.is_embedded else (*WATCHED, _ISSUER)


class SystemClock:
    """This machine's clocks."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    monotonic_s = staticmethod(time.monotonic)  # seconds since some fixed moment, never set back


class DatabaseClock(SystemClock):
    """This machine's clocks, the wall's set to a database's: what operators do holds for nodes, which are near it.

    Args:
        now_ms: what the database's clock says now, as Unix time in milliseconds.
    """

    def __init__(self, now_ms: int) -> None:
        self._ahead_ms = now_ms - super().now_ms()

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return super().now_ms() + self._ahead_ms


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


def public_url(settings: Settings) -> str:
    """Return the URL that callers reach the service at, without the base path."""
    return settings.http.public_url or f"http://{settings.http.host}:{settings.http.port}"


def api_url(settings: Settings) -> str:
    """Return the URL in front of every call."""
    return public_url(settings) + settings.http.base_path


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
    settings: Settings, registry: Registry, *, clock: Clock, random_bytes: RandomBytes = random_bytes
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
        challenges, leases = await _open_memory(settings, stack, clock)
        registry = await open_registry_of(settings, clock=clock)
        stack.push_async_callback(registry.close)
        for name, check in zip(WATCHED, (registry.ping, registry.check_schema, challenges.ping), strict=True):
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
        session = await stack.enter_async_context(outside.open_session())
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
        _begin(stack, keep_doing(_ISSUER_EVERY_S, keys.refresh, name=_ISSUER))
        yield keys


@asynccontextmanager
async def open_server(
    settings: Settings,
    *,
    clock: Clock,
    request_log: RequestLog,
    random_bytes: RandomBytes = random_bytes,
    keep_doing: Upkeep = every,
    watch: Watch = lambda _name, _check: None,
) -> AsyncIterator[Server]:
    """Put the service together and look after it while it is open.

    Args:
        settings: what holds for it.
        clock: its time.
        request_log: takes one line a request.
        random_bytes: the source of keys, secrets and ids.
        keep_doing: does each of its duties again and again until cancelled, as `ops.upkeep.every`.
        watch: is told how to ask each store for an answer, as by `open_stores`, and the issuer, as by `open_issuer`.

    Yields:
        The server, to be bound to an address.

    Raises:
        SettingsInvalid: the settings ask for what cannot be, or another server holds the registry.
        WrongRootKey: the root key is missing or not this registry's.
        SchemaStale: the database has an older schema.
        StoreUnavailable: the database or Redis is out of reach.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, clock=clock, watch=watch))
        registry = stores.registry
        for warning in registry.warnings:
            _log.warning("database", warning=warning)
        if not settings.redis.url:
            hold = registry.hold()
            await hold.take()
            stack.push_async_callback(hold.release)
            _begin(stack, keep_doing(_HOLD_EVERY_S, hold.take, name="hold"))

            async def still_held() -> None:
                if hold.is_elsewhere:
                    raise NotReady("another server holds the registry")

            watch("challenges", still_held)
        keyring = await stack.enter_async_context(
            open_keyring(settings, registry, clock=clock, random_bytes=random_bytes)
        )
        outside_keys = await stack.enter_async_context(
            open_issuer(settings, clock=clock, watch=watch, keep_doing=keep_doing)
        )
        if outside_keys is None:
            await keysets.establish_signing_key(keyring, settings.tokens.signing_algorithm)
        table = ApplicationTable(registry.applications, clock=clock)
        await table.refresh()
        for name, pause_s, act in (
            ("applications", _APPLICATIONS_EVERY_S, table.refresh),
            ("keys", _KEYS_EVERY_S, keyring.refresh),
            ("sweep", _SWEEP_EVERY_S, lambda: registry.devices.sweep(limit=_SWEPT_ROWS)),
        ):
            _begin(stack, keep_doing(pause_s, act, name=name))
        yield assemble(
            settings,
            public_url=public_url(settings),
            clock=clock,
            random_bytes=random_bytes,
            request_log=request_log,
            challenges=stores.challenges,
            registry=registry,
            keyring=keyring,
            table=table,
            quotas=_quotas(settings, stack, stores.leases, clock),
            outside_keys=outside_keys,
        )


def refuse_unfit(settings: Settings) -> None:
    """Refuse settings that this version cannot serve with.

    Raises:
        SettingsInvalid: one of them asks for what is not there, or a URL is none.
        WrongRootKey: the root key that they give is none.
    """
    if not settings.tokens.is_embedded:
        outside.refuse_unfit_issuer(settings.tokens.issuer)
    if settings.audit.file is not None:
        raise SettingsInvalid("audit.file: there is no audit record yet; leave it empty")
    guessing.refuse_easy(settings)
    database_urls.parse(database_url(settings))
    if settings.redis.url:
        redis_urls.parse(settings.redis.url)
    if settings.keys.root:
        sealing.root_key_from_text(settings.keys.root, random_bytes=random_bytes)


async def _open_memory(
    settings: Settings, stack: AsyncExitStack, clock: Clock
) -> tuple[MemoryChallenges, MemoryQuotaLeases] | tuple[RedisChallenges, RedisQuotaLeases]:
    """Open what may be forgotten: challenges and leases."""
    if not settings.redis.url:
        return MemoryChallenges(clock), MemoryQuotaLeases(clock)
    prefix = f"{settings.redis.key_prefix}:"
    client = await open_client(
        settings.redis.url,
        prefix=prefix,
        allow_eviction=settings.redis.allow_eviction,
        deadline_s=settings.redis.deadline_ms / 1000,
        leases=settings.quota.requests_per_s > 0,
    )
    stack.push_async_callback(client.close)
    return RedisChallenges(client, prefix=prefix), RedisQuotaLeases(client, prefix=prefix)


def _quotas(settings: Settings, stack: AsyncExitStack, leases: QuotaLeases, clock: Clock) -> LeasedQuotas | None:
    """Return this worker's quotas, or None where there is no limit."""
    if not settings.quota.requests_per_s:
        return None
    limits = QuotaLimits(settings.quota.requests_per_s, settings.quota.burst)
    quotas = LeasedQuotas(leases, clock=clock, limits=limits)
    stack.push_async_callback(quotas.close)
    return quotas


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


def _begin(stack: AsyncExitStack, duty: Coroutine[None, None, None]) -> None:
    """Run a duty beside the server until the stack unwinds."""
    task = asyncio.get_running_loop().create_task(duty)

    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    stack.push_async_callback(end)
