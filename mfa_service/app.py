"""The composition root: what a process opens to serve or to look after the registry; it alone reads the clock."""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from mfa_service import opening, sealing
from mfa_service.access import keysets, outside
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.quotas import LeasedQuotas
from mfa_service.assembly import assemble
from mfa_service.errors import SettingsInvalid
from mfa_service.model import QuotaLimits
from mfa_service.ops import guessing
from mfa_service.ops.health import NotReady, Watch
from mfa_service.ops.upkeep import every
from mfa_service.ports import Clock, QuotaLeases, RandomBytes
from mfa_service.settings import Settings
from mfa_service.web.service import RequestLog, Server

random_bytes: RandomBytes = os.urandom

_APPLICATIONS_EVERY_S = 0.5
_KEYS_EVERY_S = 1.0
_HOLD_EVERY_S = 1.0
_SWEEP_EVERY_S = 30.0
_SWEPT_ROWS = 200
_log = structlog.get_logger(__name__)


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


def public_url(settings: Settings) -> str:
    """Return the URL that callers reach the service at, without the base path."""
    return settings.http.public_url or f"http://{settings.http.host}:{settings.http.port}"


def api_url(settings: Settings) -> str:
    """Return the URL in front of every call."""
    return public_url(settings) + settings.http.base_path


@asynccontextmanager
async def open_server(
    settings: Settings,
    *,
    clock: Clock,
    request_log: RequestLog,
    random_bytes: RandomBytes = random_bytes,
    keep_doing: opening.Upkeep = every,
    watch: Watch = lambda _name, _check: None,
    count_unwatched: Callable[[], object] = lambda: None,
) -> AsyncIterator[Server]:
    """Put the service together and look after it while it is open.

    Args:
        settings: what holds for it.
        clock: its time.
        request_log: takes one line a request.
        random_bytes: the source of keys, secrets and ids.
        keep_doing: does each of its duties again and again until cancelled, as `ops.upkeep.every`.
        watch: is told how to ask each store for an answer, and the issuer, as `opening` does.
        count_unwatched: counts a request that passed its quota because the store was away.

    Yields:
        The server, to be bound to an address.

    Raises:
        SettingsInvalid: the settings ask for what cannot be, or another server holds the registry.
        WrongRootKey: the root key is missing or not this registry's.
        SchemaStale: the database has an older schema.
        StoreUnavailable: the database or Redis is out of reach.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opening.open_stores(settings, clock=clock, watch=watch))
        registry = stores.registry
        for warning in registry.warnings:
            _log.warning("database", warning=warning)
        if not settings.redis.url:
            hold = registry.hold()
            await hold.take()
            stack.push_async_callback(hold.release)
            opening.begin(stack, keep_doing(_HOLD_EVERY_S, hold.take, name="hold"))

            async def still_held() -> None:
                if hold.is_elsewhere:
                    raise NotReady("another server holds the registry")

            watch("challenges", still_held)
        keyring = await stack.enter_async_context(
            opening.open_keyring(settings, registry, clock=clock, random_bytes=random_bytes)
        )
        outside_keys = await stack.enter_async_context(
            opening.open_issuer(settings, clock=clock, watch=watch, keep_doing=keep_doing)
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
            opening.begin(stack, keep_doing(pause_s, act, name=name))
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
            quotas=_quotas(settings, stack, stores.leases, clock, count_unwatched),
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
    opening.refuse_unfit_urls(settings)
    if settings.keys.root:
        sealing.root_key_from_text(settings.keys.root, random_bytes=random_bytes)


def _quotas(
    settings: Settings, stack: AsyncExitStack, leases: QuotaLeases, clock: Clock, count_unwatched: Callable[[], object]
) -> LeasedQuotas | None:
    """Return this worker's quotas, or None where there is no limit."""
    if not settings.quota.requests_per_s:
        return None
    limits = QuotaLimits(settings.quota.requests_per_s, settings.quota.burst)
    quotas = LeasedQuotas(leases, clock=clock, limits=limits, count_unwatched=count_unwatched)
    stack.push_async_callback(quotas.close)
    return quotas
