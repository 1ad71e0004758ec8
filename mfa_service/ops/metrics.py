"""What the processes of one node count, and the page that Prometheus reads of it."""

import mmap
import struct
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from mfa_service.ops.board import PLACES

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the page, as the text format of Prometheus has it."""

_COUNT: Final = struct.Struct("=Q")


class Metrics:
    """Memory that a process shares with those forked from it: what each worker has counted.

    A worker has the place of its number, and is the only one to write there. A place keeps what is in it when its
    worker ends, so that counts never fall while the node runs.
    """

    def __init__(self) -> None:
        self._octets = mmap.mmap(-1, PLACES * _COUNT.size)
        self._registry = CollectorRegistry()
        self._registry.register(_Counts(self))

    def count_unwatched(self, number: int) -> Callable[[], None]:
        """Return what counts a request that passed its quota unwatched.

        Args:
            number: the worker's that calls it.
        """
        octets, at = self._octets, number % PLACES * _COUNT.size

        def count() -> None:
            _COUNT.pack_into(octets, at, _COUNT.unpack_from(octets, at)[0] + 1)

        return count

    @property
    def unwatched(self) -> int:
        """Requests that passed unwatched, of all workers since the node began."""
        return sum(count for (count,) in _COUNT.iter_unpack(self._octets[:]))

    def page(self) -> bytes:
        """Return every metric in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Counts(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        unwatched = CounterMetricFamily(
            "mfa_quota_unwatched_requests",
            "Requests that passed uncounted by any quota because the challenge store was out of reach.",
        )
        unwatched.add_metric([], self._metrics.unwatched)
        yield unwatched
