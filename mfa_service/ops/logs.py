"""Logs: one line of plain ASCII for each event, for machines or for people, to one stream.

Modules log through `structlog.get_logger()`; what is bound with `structlog.contextvars`, such as the trace id, stands
in every line. Libraries are heard from warnings on. ASCII alone, so that no value breaks a line or moves a cursor.
"""

import contextlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog

from mfa_service.ops.redaction import describe, presentable

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PLAIN = re.compile(r"[!#-~]+", re.ASCII)
_COLUMN = 8  # as wide as the longest level's name, so that events stand below one another

Event = MutableMapping[str, Any]
Render = Callable[[Mapping[str, Any]], str]


def configure(
    *,
    level: str,
    format: str,  # noqa: A002  # the setting's own name
    stream: TextIO,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> "RequestLog":
    """Send every log of the process, the libraries' included, to one stream; a second call replaces the first.

    Args:
        level: `debug`, `info`, `warning` or `error`; less than that is not logged.
        format: `json` for one JSON object a line, `console` for lines that people read.
        stream: takes whole lines; one that fails loses them, and nothing else is disturbed.
        now_ms: Unix time in milliseconds.

    Returns:
        The log of requests, to the same stream in the same format.
    """
    render = {"json": _json_line, "console": _console_line}[format]
    lines = _Lines(stream)

    def in_order(_logger: object, _method: str, event: Event) -> Event:
        head = {"timestamp": _rfc3339(now_ms()), "level": event.pop("level"), "event": event.pop("event")}
        return {**head, **event}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(lambda exc_info: describe(exc_info[1])),
            _presentable,
            in_order,
            lambda _logger, _method, event: render(event),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=False,
    )
    _hear_libraries()
    return RequestLog(lines.write, render, now_ms=now_ms, enabled=_LEVELS[level] <= logging.INFO)


class RequestLog:
    """Writes one line for each request, past structlog's chain: no value in it needs redaction."""

    def __init__(
        self, write: Callable[[str], None], render: Render, *, now_ms: Callable[[], int], enabled: bool
    ) -> None:
        self._write = write
        self._render = render
        self._now_ms = now_ms
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
        if not self._enabled:
            return
        self._write(
            self._render(
                {
                    "timestamp": _rfc3339(self._now_ms()),
                    "level": "info",
                    "event": "request",
                    "trace_id": trace_id,
                    "application": application,
                    "method": method,
                    "route": route,
                    "status": status,
                    "duration_ms": round(duration_ms, 3),
                }
            )
        )


class _Lines:
    """The stream, with the methods of a logger that structlog calls by the level's name."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        # One write a line, so that the lines of several workers do not run into one another. A full disk or a closed
        # pipe must not fail the request that would have been logged.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


class _Forward(logging.Handler):
    """Hands what libraries log by the standard library to the one chain."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(level, self._event(record), logger=record.name, exc_info=record.exc_info or None)

    @staticmethod
    def _event(record: logging.LogRecord) -> str:
        template = str(record.msg)
        if record.exc_info:  # what is filled in, or follows on further lines, repeats the exception's own text
            return template.partition("\n")[0]
        try:
            return record.getMessage().rstrip()
        except (TypeError, ValueError, KeyError):  # the arguments do not fit the template
            return template


def _hear_libraries() -> None:
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, _Forward):
            break
    else:
        root.addHandler(_Forward())
    root.setLevel(logging.WARNING)
    # At info it logs statements with their parameters.
    logging.getLogger("sqlalchemy").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _presentable(_logger: object, _method: str, event: Event) -> Event:
    return {str(name): presentable(str(name), value) for name, value in event.items()}


def _rfc3339(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms // 1000, UTC).isoformat()[:19]}.{unix_ms % 1000:03d}Z"


def _json_line(event: Mapping[str, Any]) -> str:
    try:
        line = orjson.dumps(event)
    except TypeError:  # a lone surrogate in a line that came past the chain
        return _json_line({name: presentable(name, value) for name, value in event.items()})
    if line.isascii() and b"\x7f" not in line:
        return line.decode()
    return _escaped(event)


def _console_line(event: Mapping[str, Any]) -> str:
    rest = dict(event)
    time_of_day = rest.pop("timestamp")[11:23]
    level, text = rest.pop("level"), rest.pop("event")
    exceptions = rest.pop("exception") if isinstance(rest.get("exception"), list) else []
    line = [f"{time_of_day} {level:<{_COLUMN}} {_bare(text)}"]
    line += [f"{_bare(name)}={_word(value)}" for name, value in rest.items()]
    return "\n".join([" ".join(line), *_exception_lines(exceptions)])


def _exception_lines(exceptions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for exception in exceptions:
        yield f"    {exception['type']}: {_escaped(exception['text'])}"
        yield from (f"        {frame}" for frame in exception["frames"])


def _word(value: object) -> str:
    """Return a value as a person reads it: text without quotes where it is one plain word."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else _escaped(value)


def _bare(text: object) -> str:
    return _escaped(str(text))[1:-1]


def _escaped(value: object) -> str:
    """Return JSON of ASCII alone; DEL is ASCII, and a control character no less."""
    return json.dumps(value).replace("\x7f", "\\u007f")
