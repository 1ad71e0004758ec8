"""The API of one process, put together: rules over stores and keys, tokens, and the HTTP server above them."""

import structlog

from mfa_service import sealing
from mfa_service.access import keysets
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.issuer import ClientCredentialsIssuer
from mfa_service.access.metadata import Metadata
from mfa_service.access.verifier import JwtVerifier
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.ops.alerts import LoggedAlerts
from mfa_service.ports import Challenges, Clock, Quotas, RandomBytes
from mfa_service.rules.acceptance import CodePolicy, CodeScale
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.settings import Settings
from mfa_service.stores.sql import Registry
from mfa_service.web.service import Limits, RequestLog, Server, build_service

_log = structlog.get_logger("mfa_service")


def assemble(
    settings: Settings,
    *,
    public_url: str,
    clock: Clock,
    random_bytes: RandomBytes,
    request_log: RequestLog,
    challenges: Challenges,
    registry: Registry,
    keyring: sealing.Keyring,
    table: ApplicationTable,
    quotas: Quotas | None,
) -> Server:
    """Return the server of the whole API, inside a running event loop.

    Args:
        settings: what holds for it.
        public_url: where callers reach it, without the base path.
        clock: its time.
        random_bytes: the source of secrets and ids.
        request_log: takes one line a request.
        challenges: open challenges.
        registry: devices and applications.
        keyring: the registry's keys.
        table: the onboarded applications, kept up to date.
        quotas: how much each of them may ask; None sets no limit.
    """
    policy = CodePolicy(
        window_steps=settings.otp.window_steps,
        clock_tolerance_ms=settings.otp.clock_tolerance_ms,
        max_attempts=settings.challenge.max_attempts,
    )
    devices = registry.devices
    scale = CodeScale(
        challenges=challenges, devices=devices, sealing=keyring, clock=clock, alerts=LoggedAlerts(), policy=policy
    )
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
            quotas=quotas,
        ),
        discovery=Metadata(
            keys=keys,
            issuer=issuer_name,
            public_url=public_url,
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
        quotas=quotas,
        bind_trace_id=lambda trace_id: structlog.contextvars.bind_contextvars(trace_id=trace_id),
    )
