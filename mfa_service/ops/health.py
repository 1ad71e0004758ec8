"""Whether a node can take requests, as load balancers and orchestrators ask again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from mfa_service.errors import SchemaStale, StoreUnavailable

Check = Callable[[], Awaitable[object]]
"""Returns where all is well and raises where it is not."""

Watch = Callable[[str, Check], object]
"""Is told of a check by its name."""

OK: Final = "ok"
_TIMEOUT_S: Final = 0.9
_log = structlog.get_logger(__name__)


class NotReady(Exception):
    """This node takes no requests now; the text says why, in words that anyone may read."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of itself.

    Attributes:
        checks: the name of each check → `ok`, or why not, without secrets, addresses or versions.
    """

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether the node can take requests: every check went well."""
        return all(verdict == OK for verdict in self.checks.values())


class Health:
    """Asks everything that a node needs, all at once and in bounded time.

    A check that hangs costs a report its time and no more: it is not asked again until it has answered.

    Args:
        names: the checks; one that nobody has told how to make yet counts as not ready.
        timeout_s: for all checks together, in seconds.
    """

    def __init__(self, names: Iterable[str], *, timeout_s: float = _TIMEOUT_S) -> None:
        self._checks: dict[str, Check | None] = dict.fromkeys(names)
        self._asked: dict[str, asyncio.Task[str]] = {}
        self._timeout_s = timeout_s

    def watch(self, name: str, check: Check) -> None:
        """Make a check from now on, in place of one of the same name."""
        self._checks[name] = check

    async def report(self) -> Report:
        """Make every check; nothing is raised."""
        loop = asyncio.get_running_loop()
        for name, check in self._checks.items():
            if name not in self._asked or self._asked[name].done():
                self._asked[name] = loop.create_task(_verdict(name, check))
        asked = dict(self._asked)
        if asked:
            await asyncio.wait(asked.values(), timeout=self._timeout_s)
        return Report({name: task.result() if task.done() else "no answer in time" for name, task in asked.items()})

    async def close(self) -> None:
        """Give up the checks that are still under way."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        self._asked.clear()


async def _verdict(name: str, check: Check | None) -> str:
    if check is None:
        return "starting"
    try:
        await check()
    except NotReady as reason:
        return str(reason)
    except StoreUnavailable:
        return "out of reach"
    except SchemaStale:
        return "does not fit"
    except Exception:  # noqa: BLE001  a defect in a check is a node that is not ready
        _log.exception("check_broken", check=name)
        return "broken"
    return OK
