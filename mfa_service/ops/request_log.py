"""One line for each request, past structlog's chain: no value in it needs redaction."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from mfa_service.ops.lines import Lines

Render = Callable[[Mapping[str, Any]], str]

_KINDS = 1_024  # of lines, which differ in more than their time, trace id and duration


class RequestLog:
    """Writes one line for each request.

    Args:
        lines: take them, and may keep them back for a moment.
        render: makes a line of an event.
        now: tells the time as it stands in a line.
        enabled: whether anything is written at all.
    """

    def __init__(self, lines: Lines, render: Render, *, now: Callable[[], str], enabled: bool) -> None:
        self._lines = lines
        self._render = render
        self._now = now
        self._enabled = enabled

    def request(
        self, *, trace_id: str, application: str | None, method: str, route: str, status: int, duration_ms: float
    ) -> None:
        """Write the line of one request that has been answered.

        Args:
            trace_id: 32 hexadecimal digits.
            application: the client id; None where no token told it.
            method: as in the request, one that the parser knows.
            route: the route's pattern, never the path, which names users; `-` where there is none.
            status: of the answer.
            duration_ms: from the complete head to the answer, in milliseconds.
        """
        if self._enabled:
            kind = {"application": application, "method": method, "route": route, "status": status}
            event = {"timestamp": self._now(), "level": "info", "event": "request", "trace_id": trace_id}
            self._lines.collect(self._render({**event, **kind, "duration_ms": round(duration_ms, 3)}))

    def flush(self) -> None:
        """Write what was kept back."""
        self._lines.flush()


class JsonRequestLog(RequestLog):
    """The same in JSON, where all but time, trace id and duration is rendered once for each kind of line."""

    def __init__(self, lines: Lines, render: Render, *, now: Callable[[], str], enabled: bool) -> None:
        super().__init__(lines, render, now=now, enabled=enabled)
        self._kind = lru_cache(_KINDS)(self._rendered_kind)

    def request(
        self, *, trace_id: str, application: str | None, method: str, route: str, status: int, duration_ms: float
    ) -> None:
        """Write the line of one request; as `RequestLog.request`."""
        if self._enabled:
            kind = self._kind(application, method, route, status)
            self._lines.collect(
                f'{{"timestamp":"{self._now()}","level":"info","event":"request","trace_id":"{trace_id}",'
                f'{kind},"duration_ms":{duration_ms:.3f}}}'
            )

    def _rendered_kind(self, application: str | None, method: str, route: str, status: int) -> str:
        kind = {"application": application, "method": method, "route": route, "status": status}
        return self._render(kind)[1:-1]
