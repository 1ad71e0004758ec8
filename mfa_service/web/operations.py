"""What is on the operations port: two calls for load balancers and orchestrators, one for Prometheus, nothing else."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mfa_service.errors import AccessDenied
from mfa_service.model import Principal
from mfa_service.ports import Clock, RandomBytes
from mfa_service.web import answers
from mfa_service.web.answers import Answer
from mfa_service.web.dispatch import Dispatch, FaultLog
from mfa_service.web.limits import Limits
from mfa_service.web.routes import Call, Handler, Route, RouteTable
from mfa_service.web.server import Server, build_server


class Readiness(Protocol):
    """Whether the node can take requests, and what each check says."""

    @property
    def ready(self) -> bool:
        """Whether every check went well."""
        ...

    @property
    def checks(self) -> Mapping[str, str]:
        """Each check's name, and `ok` or why not."""
        ...


def build_operations(
    report: Callable[[], Awaitable[Readiness]],
    metrics: Callable[[], Answer],
    *,
    clock: Clock,
    random_bytes: RandomBytes,
    fault_log: FaultLog,
) -> Server:
    """Return the server of the operations port, inside a running event loop.

    Args:
        report: makes every check, in bounded time.
        metrics: returns what has been counted, at once.
        clock: times and dates.
        random_bytes: the source of trace ids.
        fault_log: takes what operators must see.
    """

    async def live(_: Call) -> Answer:
        return answers.answer(200, {"status": "alive"})

    async def ready(_: Call) -> Answer:
        found = await report()
        status = "ready" if found.ready else "not ready"
        return answers.answer(200 if found.ready else 503, {"status": status, "checks": dict(found.checks)})

    async def counted(_: Call) -> Answer:
        return metrics()

    limits = Limits()
    dispatch = Dispatch(
        routes=RouteTable([*_probe("/livez", live), *_probe("/readyz", ready), *_probe("/metrics", counted)]),
        verifier=_Nobody(),
        clock=clock,
        random_bytes=random_bytes,
        request_log=_Unlogged(),
        fault_log=fault_log,
        bind_trace_id=None,
        limits=limits,
    )
    return build_server(dispatch, limits)


def _probe(path: str, handler: Handler) -> list[Route]:
    return [Route(method, path, handler, public=True, query=None) for method in ("GET", "HEAD")]


class _Nobody:
    """Knows no access token: nothing here asks for one."""

    async def verify(self, token: str) -> Principal:
        raise AccessDenied(presented=bool(token))


class _Unlogged:
    """Writes nothing: a probe each second would fill the log."""

    def request(self, **_: object) -> None:
        return
