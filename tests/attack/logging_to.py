"""The service's log, written to where a test can read it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

from mfa_service.ops import logs
from mfa_service.web.service import RequestLog
from tests.clocks import ManualClock


@contextmanager
def logging_to(stream: TextIO, clock: ManualClock) -> Iterator[RequestLog]:
    """Log everything as JSON lines to a stream, and leave logging as it was at the end of the block."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield logs.configure(level="debug", format="json", stream=stream, now_ms=clock.now_ms)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.captureWarnings(capture=False)
        structlog.contextvars.clear_contextvars()
        structlog.reset_defaults()
