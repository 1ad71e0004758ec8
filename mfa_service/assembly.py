"""The API of one process, put together: rules over stores and keys, tokens, and the HTTP server above them."""

import structlog

from mfa_service import sealing
from mfa_service.access import keysets
from mfa_service.access.applications import ApplicationTable
from mfa_service.access.issuer import ClientCredentialsIssuer
from mfa_service.access.metadata import Metadata
from mfa_service.access.profiles import profile_of
from mfa_service.access.verifier import JwtVerifier
from mfa_service.identifiers import BlockwiseRandomBytes
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.ops import logs
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
    outside_keys: keysets.KeySet | None,
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
        outside_keys: the keys of another issuer of access tokens; None where they are issued here.
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
    issuer_name = settings.tokens.issuer if outside_keys else settings.tokens.public_issuer or own_name
    audience = settings.tokens.audience or own_name
    own_keys = keysets.SigningKeys(keyring, clock=clock)
    issuer = ClientCredentialsIssuer(
        applications=registry.applications,
        keys=own_keys,
        clock=clock,
        random_bytes=random_bytes,
        issuer=issuer_name,
        audience=audience,
        life_s=settings.tokens.life_s,
        quotas=quotas,
    )
    discovery = Metadata(
        keys=own_keys,
        issuer=issuer_name,
        public_url=public_url,
        base_path=settings.http.base_path,
        scopes=(SCOPE_ENROLL, SCOPE_AUTHENTICATE),
    )
    bytes_of_ids = BlockwiseRandomBytes(random_bytes).take  # this process's own
    return build_service(
        base_path=settings.http.base_path,
        clock=clock,
        random_bytes=bytes_of_ids,
        authentication=Authentication(
            challenges=challenges,
            devices=devices,
            scale=scale,
            random_bytes=bytes_of_ids,
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
            keys=own_keys if outside_keys is None else outside_keys,
            applications=table,
            clock=clock,
            issuer=issuer_name,
            audience=audience,
            leeway_s=settings.tokens.leeway_s,
            profile=profile_of(settings.tokens, audience=audience),
        ),
        issuer=None if outside_keys else issuer,
        discovery=None if outside_keys else discovery,
        request_log=request_log,
        fault_log=_log,
        limits=Limits(
            requests=settings.http.max_requests,
            body_bytes=settings.http.max_body_bytes,
            header_timeout_s=settings.http.header_timeout_s,
            body_timeout_s=settings.http.body_timeout_s,
            keepalive_timeout_s=settings.http.keepalive_timeout_s,
        ),
        quotas=quotas,
        bind_trace_id=logs.bind_trace_id,
    )
