"""The way of a request, from top to bottom: everything between its bytes and a handler, and back."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from multidict import istr

from mfa_service.errors import ScopeMissing
from mfa_service.ports import Clock, Quotas, RandomBytes, TokenVerifier
from mfa_service.web import bodies, paths, tracing
from mfa_service.web.answers import Answer, Reply
from mfa_service.web.credentials import bearer_token
from mfa_service.web.limits import Limits
from mfa_service.web.places import Places
from mfa_service.web.problems import error_answer, problem_of
from mfa_service.web.refusals import MalformedRequest, MethodNotAllowed
from mfa_service.web.requests import Request
from mfa_service.web.routes import Call, RouteTable

_AUTHORIZATION = istr("Authorization")
_HOST = istr("Host")
_TRANSFER_ENCODING = istr("Transfer-Encoding")
_VERSIONS = (HttpVersion11, HttpVersion10)
_NONE = "-"

# RFC 9110 §7.2 and RFC 3986 §3.2: a name or an address, and perhaps a port.
_HOST_VALUE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-fv:.]+\])(?::[0-9]*)?", re.ASCII)


class RequestLog(Protocol):
    """Where every request leaves one line."""

    def request(
        self, *, trace_id: str, application: str | None, method: str, route: str, status: int, duration_ms: float
    ) -> None:
        """Write the line of one request.

        Args:
            trace_id: 32 hexadecimal digits.
            application: the client id of the application that called; None where none has proved to be one.
            method: one that the parser knows; `-` where there was no request.
            route: the route's pattern, never the path itself; `-` where there is none.
            status: what was answered.
            duration_ms: from the complete head to the answer, which may pause before it is written.
        """
        ...


class FaultLog(Protocol):
    """Where faults are told to operators, as structlog's loggers take them."""

    def error(self, event: str, **fields: object) -> object:
        """Write one fault; `exc_info` is the exception where its traceback belongs into the log."""
        ...


class Dispatch:
    """Answers requests.

    Args:
        routes: what is where.
        verifier: tells who an access token is.
        clock: times and dates.
        random_bytes: the source of new trace ids.
        request_log: takes one line a request.
        fault_log: takes what operators must see.
        bind_trace_id: called with each request's trace id, in the request's own context, before anything else.
        limits: of bodies, and of requests under way.
        quotas: how much each application may ask; None sets no limit.
    """

    def __init__(
        self,
        *,
        routes: RouteTable,
        verifier: TokenVerifier,
        clock: Clock,
        random_bytes: RandomBytes,
        request_log: RequestLog,
        fault_log: FaultLog,
        bind_trace_id: Callable[[str], object] | None,
        limits: Limits,
        quotas: Quotas | None = None,
    ) -> None:
        self._routes = routes
        self._verifier = verifier
        self._clock = clock
        self._random_bytes = random_bytes
        self._request_log = request_log
        self._fault_log = fault_log
        self._bind_trace_id = bind_trace_id
        self._limits = limits
        self._places = Places(limits.requests, of_one=limits.requests_of_one)
        self._places_without_token = Places(limits.requests_without_token, of_one=limits.requests_without_token)
        self._quotas = quotas

    async def __call__(self, request: Request) -> Reply:
        """Answer a request, and leave one line of it in the log."""
        begun_s = self._clock.monotonic_s()
        trace_id = tracing.trace_id(request.head.headers, self._random_bytes)
        if self._bind_trace_id is not None:
            self._bind_trace_id(trace_id)
        call = Call()
        try:
            given = await self._answer(request, call)
        except Exception as error:  # noqa: BLE001  whatever it is, it has an answer
            given = self._error_answer(error, call, trace_id)
        self._request_log.request(
            trace_id=trace_id,
            application=call.client_id,
            method=request.head.method,
            route=_NONE if call.resource is None else call.resource.pattern,
            status=given.status,
            duration_ms=(self._clock.monotonic_s() - begun_s) * 1000,
        )
        return self._reply(given, trace_id)

    async def _answer(self, request: Request, call: Call) -> Answer:
        """Take a request through every step before its handler; each may refuse it."""
        head = request.head
        _refuse_malformed(head)
        path, _, query = head.path.partition("?")
        resource, call.arguments = self._routes.find(path)
        call.resource = resource
        route = resource.routes.get(head.method)
        if route is None:
            raise MethodNotAllowed(resource.allow)
        call.authorization = head.headers.getall(_AUTHORIZATION, ())
        if not route.public:
            principal = await self._verifier.verify(bearer_token(call.authorization))
            call.principal, call.client_id = principal, principal.client_id
            if self._quotas is not None:
                self._quotas.spend(principal.application_id)
            if route.scope not in principal.scopes:
                raise ScopeMissing(str(route.scope))
        if query and route.query is not None:
            call.query = paths.query(query, known=route.query)
        if route.media:
            call.body = await bodies.read(
                request,
                media=route.media,
                most_bytes=self._limits.body_bytes,
                timeout_s=self._limits.body_timeout_s,
            )
        elif route.public:
            return await route.handler(call)  # a document: nothing is waited for, so no place is taken
        # Not before the body is here: a slow one would keep a place from others for as long as it may take.
        places = self._places_without_token if route.public else self._places
        holder = call.client_id  # the token call's handler changes it
        places.take(holder)
        try:
            return await route.handler(call)
        finally:
            places.leave(holder)

    def _error_answer(self, error: Exception, call: Call, trace_id: str) -> Answer:
        problem = problem_of(error)
        if problem.alarm:
            self._fault_log.error("request_failed", trace_id=trace_id, fault=type(error).__name__, exc_info=error)
        return error_answer(
            error,
            problem=problem,
            trace_id=trace_id,
            now_ms=self._clock.now_ms(),
            oauth=call.resource is not None and call.resource.oauth,
        )

    def refuse(self, error: Exception) -> Reply:
        """Return, and log, the answer to something that is no request, or that the dispatcher itself broke on."""
        trace_id = self._random_bytes(16).hex()
        if self._bind_trace_id is not None:
            self._bind_trace_id(trace_id)
        given = self._error_answer(error, Call(), trace_id)
        self._request_log.request(
            trace_id=trace_id, application=None, method=_NONE, route=_NONE, status=given.status, duration_ms=0.0
        )
        return self._reply(given, trace_id)

    def report(self, event: str, fault: BaseException | None) -> None:
        """Tell operators of a fault outside any request."""
        self._fault_log.error(event, fault=type(fault).__name__)

    def _reply(self, given: Answer, trace_id: str) -> Reply:
        return Reply(given, trace_id, self._clock.now_ms())


def _refuse_malformed(head: RawRequestMessage) -> None:
    """Refuse what the parser lets pass, on whatever path.

    That is another version of HTTP, a `Host` that is none (RFC 9112 §3.2), and a coding that the parser does not know,
    or any before HTTP/1.1: who stands between may see the request end elsewhere (RFC 9112 §6.1).
    """
    host = head.headers.get(_HOST)
    if host is not None and not _is_host(host):
        raise MalformedRequest
    if head.version not in _VERSIONS:
        raise MalformedRequest
    coding = head.headers.get(_TRANSFER_ENCODING)
    if coding is not None and (coding.lower() != "chunked" or head.version == HttpVersion10):
        raise MalformedRequest


@lru_cache(maxsize=64)
def _is_host(value: str) -> bool:
    return _HOST_VALUE.fullmatch(value) is not None
