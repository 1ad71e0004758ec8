"""The composition root: the one module that knows every other, and the only one that reads the clock."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from aiohttp import web

from mfa_service import sealing
from mfa_service.access import keysets
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.issuer import ClientCredentialsIssuer
from mfa_service.access.metadata import Metadata
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import SettingsInvalid
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, GuessingLimits
from mfa_service.ops import folder, logs
from mfa_service.ops.upkeep import every
from mfa_service.ports import Challenges, Clock, RandomBytes
from mfa_service.rules import guessing
from mfa_service.rules.acceptance import CodePolicy, CodeScale
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.settings import Settings
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.redis import open_challenges
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.web.service import Limits, RequestLog, build_service

random_bytes: RandomBytes = os.urandom

_APPLICATIONS_EVERY_S = 0.5
_KEYS_EVERY_S = 1.0
_SWEEP_EVERY_S = 30.0
_SWEPT_ROWS = 200
_log = structlog.get_logger(__name__)


class SystemClock:
    """This machine's clocks."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment, never set back."""
        return time.monotonic()


def database_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL of the registry: where none is set, of the SQLite file in `data_dir`."""
    return settings.database.url or f"sqlite+aiosqlite:///{settings.data_dir / 'registry.sqlite3'}"


def public_url(settings: Settings) -> str:
    """Return the URL that callers reach the service at, without the base path."""
    return settings.http.public_url or f"http://{settings.http.host}:{settings.http.port}"


def api_url(settings: Settings) -> str:
    """Return the URL in front of every call."""
    return public_url(settings) + settings.http.base_path


def limits_of(settings: Settings) -> GuessingLimits:
    """Return the list of waits that these settings give."""
    return guessing.limits(
        free_failures=settings.guessing.free_failures,
        first_wait_s=settings.guessing.first_wait_s,
        longest_wait_s=settings.guessing.longest_wait_s,
        disable_after=settings.guessing.disable_after,
    )


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
    registry = await open_registry(database_url(settings), clock=clock, limits=limits_of(settings))
    try:
        await registry.check_schema()
    except BaseException:
        await registry.close()
        raise
    return registry


@asynccontextmanager
async def open_server(settings: Settings, *, clock: Clock, request_log: RequestLog) -> AsyncIterator[web.Server]:
    """Put the service together and look after it while it is open.

    Args:
        settings: what holds for it.
        clock: its time.
        request_log: takes one line a request.

    Yields:
        The server, to be bound to an address.

    Raises:
        SettingsInvalid: the settings ask for what cannot be, or another server holds `data_dir`.
        WrongRootKey: the root key is missing or not this registry's.
        SchemaStale: the database has an older schema.
        StoreUnavailable: the database or Redis is out of reach.
    """
    async with AsyncExitStack() as stack:
        folder.prepare(settings.data_dir)
        challenges = await _open_challenges(settings, stack, clock)
        registry = await open_registry_of(settings, clock=clock)
        stack.push_async_callback(registry.close)
        for warning in registry.warnings:
            _log.warning("database", warning=warning)
        keyring = await sealing.establish(
            registry.keys, await _root_key(settings, registry), clock=clock, random_bytes=random_bytes
        )
        await keysets.establish_signing_key(keyring, settings.tokens.signing_algorithm)
        table = ApplicationTable(registry.applications, clock=clock)
        await table.refresh()
        for name, pause_s, act in (
            ("applications", _APPLICATIONS_EVERY_S, table.refresh),
            ("keys", _KEYS_EVERY_S, keyring.refresh),
            ("sweep", _SWEEP_EVERY_S, lambda: registry.devices.sweep(limit=_SWEPT_ROWS)),
        ):
            _keep_doing(stack, name, pause_s, act)
        yield _compose(settings, clock, request_log, challenges, registry, keyring, table)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let open requests end."""
    request_log = logs.configure(level=settings.log.level, format=settings.log.format, stream=sys.stderr)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_server(settings, clock=SystemClock(), request_log=request_log) as server:
        runner = web.ServerRunner(server, shutdown_timeout=settings.http.shutdown_timeout_s)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.http.host, settings.http.port).start()
            _log.info("serving", url=api_url(settings))
            await stop.wait()
            await asyncio.sleep(settings.http.drain_s)
        finally:
            await runner.cleanup()
    _log.info("stopped")


def refuse_unfit(settings: Settings) -> None:
    """Refuse settings that this version cannot serve with.

    Raises:
        SettingsInvalid: one of them asks for what is not there.
    """
    if settings.http.workers > 1:
        raise SettingsInvalid("http.workers: one node runs one worker; start more nodes on one Redis and PostgreSQL")
    if settings.tokens.issuer != "embedded":
        raise SettingsInvalid("tokens.issuer: only the embedded issuer is there")
    if settings.quota.requests_per_s:
        raise SettingsInvalid("quota.requests_per_s: there is no quota yet; leave it at 0")
    if settings.audit.file is not None:
        raise SettingsInvalid("audit.file: there is no audit record yet; leave it empty")


async def _open_challenges(settings: Settings, stack: AsyncExitStack, clock: Clock) -> Challenges:
    if not settings.redis.url:
        stack.enter_context(folder.hold_alone(settings.data_dir))
        return MemoryChallenges(clock)
    challenges = await open_challenges(
        settings.redis.url,
        prefix=f"{settings.redis.key_prefix}:",
        allow_eviction=settings.redis.allow_eviction,
        deadline_s=settings.redis.deadline_ms / 1000,
    )
    stack.push_async_callback(challenges.close)
    return challenges


async def _root_key(settings: Settings, registry: Registry) -> sealing.RootKey:
    """Return the root key; one is made for an embedded registry without keys alone, so that a lost one stays lost."""
    if settings.keys.root:
        return sealing.root_key_from_text(settings.keys.root, random_bytes=random_bytes)
    path = settings.data_dir / "root.key"
    if settings.database.url or await registry.keys.all():
        return sealing.read_root_key(path, random_bytes=random_bytes)
    return sealing.read_or_make_root_key(path, random_bytes=random_bytes)


def _keep_doing(stack: AsyncExitStack, name: str, pause_s: float, act: Callable[[], Awaitable[object]]) -> None:
    task = asyncio.get_running_loop().create_task(every(pause_s, act, name=name))

    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    stack.push_async_callback(end)


def _compose(
    settings: Settings,
    clock: Clock,
    request_log: RequestLog,
    challenges: Challenges,
    registry: Registry,
    keyring: sealing.Keyring,
    table: ApplicationTable,
) -> web.Server:
    policy = CodePolicy(
        window_steps=settings.otp.window_steps,
        clock_tolerance_ms=settings.otp.clock_tolerance_ms,
        max_attempts=settings.challenge.max_attempts,
    )
    devices = registry.devices
    scale = CodeScale(challenges=challenges, devices=devices, sealing=keyring, clock=clock, policy=policy)
    own_name = f"urn:mfa-service:{keyring.registry_id}"
    issuer_name = settings.tokens.public_issuer or own_name
    audience = settings.tokens.audience or own_name
    keys = keysets.SigningKeys(keyring, clock=clock)
    return build_service(
        base_path=settings.http.base_path,
        clock=clock,
        random_bytes=random_bytes,
        authentication=Authentication(
            challenges=challenges,
            devices=devices,
            scale=scale,
            random_bytes=random_bytes,
            challenge_ttl_s=settings.challenge.ttl_s,
        ),
        registration=Registration(
            challenges=challenges,
            devices=devices,
            sealing=keyring,
            scale=scale,
            clock=clock,
            random_bytes=random_bytes,
            issuer_name=settings.otp.issuer_name,
            activation_ttl_s=settings.challenge.activation_ttl_s,
            max_per_user=settings.device.max_per_user,
        ),
        verifier=JwtVerifier(
            keys=keys,
            applications=table,
            clock=clock,
            issuer=issuer_name,
            audience=audience,
            leeway_s=settings.tokens.leeway_s,
        ),
        issuer=ClientCredentialsIssuer(
            applications=registry.applications,
            keys=keys,
            clock=clock,
            random_bytes=random_bytes,
            issuer=issuer_name,
            audience=audience,
            life_s=settings.tokens.life_s,
        ),
        discovery=Metadata(
            keys=keys,
            issuer=issuer_name,
            public_url=public_url(settings),
            base_path=settings.http.base_path,
            scopes=(SCOPE_ENROLL, SCOPE_AUTHENTICATE),
        ),
        request_log=request_log,
        fault_log=_log,
        limits=Limits(
            body_bytes=settings.http.max_body_bytes,
            header_timeout_s=settings.http.header_timeout_s,
            body_timeout_s=settings.http.body_timeout_s,
            keepalive_timeout_s=settings.http.keepalive_timeout_s,
        ),
        bind_trace_id=lambda trace_id: structlog.contextvars.bind_contextvars(trace_id=trace_id),
    )
