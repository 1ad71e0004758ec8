"""How often a call is made and what CPU this process spends on each, by so many callers at once."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mfa_service.errors import StoreUnavailable

_WARM_UP_S = 0.1  # connections are opened and statements compiled before the count begins

_CALLS_A_TURN = 256  # then others have theirs: calls that wait for nothing would keep the loop for themselves


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one call gave.

    Attributes:
        per_s: calls that ended well, a second.
        cpu_us: microseconds of user and system time of this process for each of them, the servers' not included.
        refused: calls that the store was too slow for; none, where the machine is fit to measure on.
    """

    per_s: float
    cpu_us: float
    refused: int


class _Tally:
    """What the callers share: their counts, and whether to go on."""

    def __init__(self) -> None:
        self.done = 0
        self.refused = 0
        self.goes_on = True


async def measure(call: Callable[[], Awaitable[object]], *, callers: int, duration_s: float) -> Figures:
    """Have callers make a call again and again, each as soon as its last one has ended.

    Args:
        call: makes the call once; every time on another device or challenge.
        callers: how many there are at a time.
        duration_s: how long is counted, after a short warm-up.
    """
    tally = _Tally()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(_call_again_and_again(call, tally))
        await asyncio.sleep(_WARM_UP_S)
        done, refused = tally.done, tally.refused
        cpu_s, now_s = time.process_time(), time.perf_counter()
        await asyncio.sleep(duration_s)
        cpu_s, now_s = time.process_time() - cpu_s, time.perf_counter() - now_s
        done, refused = tally.done - done, tally.refused - refused
        tally.goes_on = False
    return Figures(done / now_s, 1e6 * cpu_s / max(done, 1), refused)


async def _call_again_and_again(call: Callable[[], Awaitable[object]], tally: _Tally) -> None:
    for number in itertools.count(1):
        if not tally.goes_on:
            return
        if number % _CALLS_A_TURN == 0:
            await asyncio.sleep(0)
        try:
            await call()
        except StoreUnavailable:
            tally.refused += 1
        else:
            tally.done += 1
