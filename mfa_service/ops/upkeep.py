"""What a process does by itself, again and again, beside answering requests."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from mfa_service.errors import MfaError

_log = structlog.get_logger(__name__)


async def every(interval_s: float, act: Callable[[], Awaitable[object]], *, name: str) -> None:
    """Do one thing again and again until cancelled; a failure is logged once, until it has worked again.

    Args:
        interval_s: the pause between two goes, in seconds.
        act: the thing to do.
        name: what the log calls it.
    """
    failing = False
    while True:
        await asyncio.sleep(interval_s)
        try:
            await act()
        except MfaError as error:
            if not failing:
                _log.warning("upkeep_failed", upkeep=name, error=type(error).__name__)
            failing = True
        except Exception:  # noqa: BLE001  a defect in one duty must not end the others
            _log.exception("upkeep_broken", upkeep=name)
        else:
            if failing:
                _log.info("upkeep_works_again", upkeep=name)
            failing = False
