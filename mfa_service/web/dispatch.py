"""The way of a request, from top to bottom: everything between its bytes and a handler, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
import re

from aiohttp import web
from aiohttp.http import HttpVersion11
from multidict import istr

from mfa_service.errors import ScopeMissing
from mfa_service.ports import Clock, RandomBytes, TokenVerifier
from mfa_service.web import bodies, paths, tracing
from mfa_service.web.answers import Answer, WireFormat
from mfa_service.web.credentials import bearer_token
from mfa_service.web.problems import error_answer, problem_of
from mfa_service.web.refusals import MalformedRequest, MethodNotAllowed
from mfa_service.web.routes import Call, Resource, Route, RouteTable
from mfa_service.web.server import Limits, Reply

_AUTHORIZATION = istr("Authorization")
_HOST = istr("Host")
_UNROUTED = "-"

# RFC 9110 §7.2, RFC 3986 §3.2: a name or an address, and perhaps a port.
_HOST_VALUE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-fv:.]+\])(?::[0-9]*)?", re.ASCII)


class RequestLog(Protocol):
    """Where every request leaves one line."""

    def request(  # noqa: D102  the class says it
        self, *, trace_id: str, application: str | None, method: str, route: str, status: int, duration_ms: float
    ) -> None: ...


class FaultLog(Protocol):
    """Where faults are told to operators, as structlog's loggers take them."""

    def error(self, event: str, **fields: object) -> object: ...  # noqa: D102  the class says it
