"""Puts the HTTP layer together: the table of the service's calls, and the server that answers them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.ports import Clock, Quotas, RandomBytes, TokenIssuer, TokenVerifier
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.web import answers
from mfa_service.web.answers import Answer
from mfa_service.web.bodies import MediaType
from mfa_service.web.dispatch import Dispatch, FaultLog, RequestLog
from mfa_service.web.handlers import AuthenticationCalls, DeviceCalls
from mfa_service.web.limits import Limits
from mfa_service.web.routes import Call, Handler, Route, RouteTable
from mfa_service.web.server import Server, build_server
from mfa_service.web.token_call import TokenCall

__all__ = ["Discovery", "FaultLog", "Limits", "RequestLog", "Server", "build_service"]

_JSON = frozenset({MediaType.JSON})
_JSON_OR_FORM = frozenset({MediaType.JSON, MediaType.FORM})


class Discovery(Protocol):
    """What other parties read to use the service's tokens."""

    def jwks(self) -> Mapping[str, object]:
        """Return the public keys that tokens are verified with (RFC 7517 §5)."""
        ...

    def metadata(self) -> Mapping[str, object]:
        """Return the authorization server's metadata (RFC 8414 §2)."""
        ...


def build_service(
    *,
    base_path: str,
    clock: Clock,
    random_bytes: RandomBytes,
    authentication: Authentication,
    registration: Registration,
    verifier: TokenVerifier,
    issuer: TokenIssuer | None,
    discovery: Discovery | None,
    request_log: RequestLog,
    fault_log: FaultLog,
    limits: Limits,
    quotas: Quotas | None = None,
    bind_trace_id: Callable[[str], object] | None = None,
    pages: Sequence[Route] = (),
) -> Server:
    """Return the server of the whole API, inside a running event loop.

    Args:
        base_path: in front of every call; empty, or begins with a slash and does not end with one.
        clock: times and dates.
        random_bytes: the source of trace ids.
        authentication: the rules of calls 6 and 7.
        registration: the rules of calls 2 to 5.
        verifier: tells who an access token is.
        issuer: issues access tokens; None where another service does, and then the token call is not there.
        discovery: what `/.well-known/…` answers; None where another service does.
        request_log: takes one line a request.
        fault_log: takes what operators must see.
        limits: of connections and bodies.
        quotas: how much each application may ask with its tokens; None sets no limit.
        bind_trace_id: called with each request's trace id in the request's own context.
        pages: further public routes, at the root.
    """
    routes = [
        *device_routes(base_path, DeviceCalls(registration)),
        *authentication_routes(base_path, AuthenticationCalls(authentication)),
        *(token_routes(base_path, issuer) if issuer is not None else ()),
        *(discovery_routes(discovery) if discovery is not None else ()),
        *pages,
    ]
    dispatch = Dispatch(
        routes=RouteTable(routes),
        verifier=verifier,
        clock=clock,
        random_bytes=random_bytes,
        request_log=request_log,
        fault_log=fault_log,
        bind_trace_id=bind_trace_id,
        limits=limits,
        quotas=quotas,
    )
    return build_server(dispatch, limits)


def device_routes(base_path: str, calls: DeviceCalls) -> Sequence[Route]:
    """Return calls 2 to 5."""
    devices = f"{base_path}/users/{{userName}}/mfadevices"
    activation = f"{devices}/{{authId}}"
    device = f"{devices}/{{deviceType}}/{{deviceName}}"
    return (
        Route("POST", devices, calls.pair, scope=SCOPE_ENROLL, media=_JSON),
        Route("POST", activation, calls.activate, scope=SCOPE_ENROLL, media=_JSON),
        Route("GET", devices, calls.list_devices, scope=SCOPE_ENROLL, query=frozenset({"type"})),
        Route("DELETE", device, calls.unpair, scope=SCOPE_ENROLL),
    )


def authentication_routes(base_path: str, calls: AuthenticationCalls) -> Sequence[Route]:
    """Return calls 6 and 7."""
    challenges = f"{base_path}/deviceAuthentications"
    challenge = f"{challenges}/{{authId}}"
    return (
        Route("POST", challenges, calls.initiate, scope=SCOPE_AUTHENTICATE, media=_JSON),
        Route("POST", challenge, calls.validate, scope=SCOPE_AUTHENTICATE, media=_JSON),
    )


def token_routes(base_path: str, issuer: TokenIssuer) -> Sequence[Route]:
    """Return call 1, which two paths lead to."""
    issue = TokenCall(issuer).issue
    return tuple(
        Route("POST", f"{base_path}{path}", issue, public=True, media=_JSON_OR_FORM, oauth=True)
        for path in ("/get/token", "/oauth2/token")
    )


def discovery_routes(discovery: Discovery) -> Sequence[Route]:
    """Return the two documents that are at the root."""
    return (
        Route("GET", "/.well-known/jwks.json", _document(discovery.jwks), public=True, query=None),
        Route("GET", "/.well-known/oauth-authorization-server", _document(discovery.metadata), public=True, query=None),
    )


def _document(content: Callable[[], Mapping[str, object]]) -> Handler:
    async def show(_: Call) -> Answer:
        return answers.answer(200, content())

    return show
