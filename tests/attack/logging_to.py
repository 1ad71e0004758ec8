"""The service's log, written to where a test can read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mfa_service.ops import logs
from mfa_service.web.service import RequestLog
from tests.clocks import ManualClock
from tests.logging_as_before import logging_as_before


@contextmanager
def logging_to(stream: TextIO, clock: ManualClock) -> Iterator[RequestLog]:
    """Log everything as JSON lines to a stream, and leave logging as it was at the end of the block."""
    with logging_as_before():
        yield logs.configure(level="debug", format="json", stream=stream, now_ms=clock.now_ms)
