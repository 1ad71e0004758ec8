"""Logging is the process's own: what a test set up must be gone when it ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from mfa_service.ops.logs import _Forward


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Leave logging as it was at the end of the block; handlers that pytest has added or taken away stay so."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _Forward)]
        logging.captureWarnings(capture=False)
        structlog.contextvars.clear_contextvars()
        structlog.reset_defaults()


@pytest.fixture(name="logging_as_before")
def _logging_as_before() -> Iterator[None]:
    """The same around a whole test."""
    with logging_as_before():
        yield
