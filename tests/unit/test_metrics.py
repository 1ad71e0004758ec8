"""What the workers of a node count comes together on one page."""

import os
from collections.abc import Callable

from mfa_service.ops.metrics import Metrics
from tests.metrics import samples

COUNTED = "mfa_quota_unwatched_requests_total"


def in_a_forked_process(act: Callable[[], None]) -> None:
    """Do something where a worker would do it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def counting(count: Callable[[], None], times: int) -> Callable[[], None]:
    def act() -> None:
        for _ in range(times):
            count()

    return act


def test_what_several_workers_count_is_one_number_that_outlives_them() -> None:
    metrics = Metrics()
    in_a_forked_process(counting(metrics.count_unwatched(1), 3))
    in_a_forked_process(counting(metrics.count_unwatched(2), 1_000))
    assert samples(metrics.page()) == {COUNTED: 1_003}


def test_nothing_counted_is_zero_not_nothing() -> None:
    assert samples(Metrics().page()) == {COUNTED: 0}


def test_a_worker_whose_place_another_had_counts_on() -> None:
    metrics = Metrics()
    counting(metrics.count_unwatched(1), 2)()
    counting(metrics.count_unwatched(1 + 4_096), 3)()
    assert samples(metrics.page()) == {COUNTED: 5}
