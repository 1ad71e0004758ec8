"""Whether two requests take the same time."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

_SAMPLES = 120
_ROUNDS = 8


async def medians_differ(acts: Sequence[Callable[[], Awaitable[object]]], *, by_more_than: float) -> bool:
    """Whether the median times of requests differ by more than a share of them.

    Noise of a busy machine makes some rounds differ, a real difference makes all: one round that does not is enough.
    """
    for _ in range(_ROUNDS):
        taken: list[list[float]] = [[] for _ in acts]
        for _ in range(_SAMPLES):
            for act, times_s in zip(acts, taken, strict=True):
                began_s = time.perf_counter()
                await act()
                times_s.append(time.perf_counter() - began_s)
        medians = [statistics.median(times_s) for times_s in taken]
        if max(medians) <= min(medians) * (1 + by_more_than):
            return False
    return True
