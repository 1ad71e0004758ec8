"""Logs: one line of plain ASCII for each event, for machines or for people, to one stream.

Modules log through `structlog.get_logger()`; the trace id that is bound here, and what is bound with
`structlog.contextvars`, stands in every line. Libraries are heard from warnings on. ASCII alone, so that no value
breaks a line or moves a cursor.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog

from mfa_service.ops.lines import Lines
from mfa_service.ops.redaction import describe, presentable
from mfa_service.ops.request_log import JsonRequestLog, RequestLog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PLAIN = re.compile(r"[!#-~]+", re.ASCII)
_COLUMN = 8  # as wide as the longest level's name, so that events stand below one another

# A variable of its own: structlog's binding makes one for each name, at eight times the cost for each request.
_TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)

Event = MutableMapping[str, Any]


def configure(
    *,
    level: str,
    format: str,  # noqa: A002  # the setting's own name
    stream: TextIO,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    requests_kept_back_s: float = 0.0,
) -> RequestLog:
    """Send every log of the process, the libraries' included, to one stream; a second call replaces the first.

    Args:
        level: `debug`, `info`, `warning` or `error`; less than that is not logged.
        format: `json` for one JSON object a line, `console` for lines that people read.
        stream: takes whole lines; one that fails loses them, and nothing else is disturbed.
        now_ms: Unix time in milliseconds.
        requests_kept_back_s: for which lines of requests may be kept back, inside a running event loop, to be written
            together; 0 writes each at once.

    Returns:
        The log of requests, to the same stream in the same format.
    """
    render = {"json": _json_line, "console": _console_line}[format]
    lines = Lines(stream, kept_back_s=requests_kept_back_s)

    def now() -> str:
        return _to_the_millisecond(now_ms())

    def in_order(_logger: object, _method: str, event: Event) -> Event:
        head = {"timestamp": now(), "level": event.pop("level"), "event": event.pop("event")}
        return {**head, **event}

    structlog.configure(
        processors=[
            _with_trace_id,
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
    request_log = JsonRequestLog if format == "json" else RequestLog
    return request_log(lines, render, now=now, enabled=_LEVELS[level] <= logging.INFO)


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


def bind_trace_id(trace_id: str) -> None:
    """Have a trace id stand in every line that is logged in the running context from now on."""
    _TRACE_ID.set(trace_id)


def _with_trace_id(_logger: object, _method: str, event: Event) -> Event:
    trace_id = _TRACE_ID.get()
    return event if trace_id is None else {"trace_id": trace_id, **event}


def _presentable(_logger: object, _method: str, event: Event) -> Event:
    return {str(name): presentable(str(name), value) for name, value in event.items()}


@lru_cache(maxsize=1)  # at many requests a second several lines are of one millisecond
def _to_the_millisecond(unix_ms: int) -> str:
    unix_s, ms = divmod(unix_ms, 1000)
    return f"{_to_the_second(unix_s)}.{ms:03d}Z"


@lru_cache(maxsize=1)
def _to_the_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()[:19]


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
