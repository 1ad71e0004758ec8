"""What a load costs: every process that takes part is asked before its first request and after its last answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.connections import Load
from bench.generator import Generator
from bench.processes import Tree
from bench.sweeps import Spent, Sweep


@dataclass(frozen=True, slots=True)
class Meter:
    """Sends loads to one service, or to the floor in its place, and tells what they cost.

    Attributes:
        generator: sends them.
        port: where the service is.
        service: its processes.
        redis: the processes of the Redis that it uses; None where it uses none.
        database: the same of its database.
    """

    generator: Generator
    port: int
    service: Tree
    redis: Tree | None = None
    database: Tree | None = None

    def sweep(self, load: Load) -> tuple[Sweep, Sequence[bytes]]:
        """Send a load.

        Returns:
            What it cost, and the answers where the load keeps them.

        Raises:
            UnexpectedAnswer: an answer was not as expected.
        """
        before: list[Spent] = []
        outcome = self.generator.send(load, when_connected=lambda: before.append(self._spent()))
        spent = self._spent(outcome.cpu_s) - before[0]
        return Sweep(outcome.elapsed_s, outcome.latencies_ns, spent, self.service.rss_bytes()), outcome.answers

    def _spent(self, generator_s: float = 0.0) -> Spent:
        return Spent(
            service_s=self.service.cpu_s(),
            redis_s=0.0 if self.redis is None else self.redis.cpu_s(),
            database_s=0.0 if self.database is None else self.database.cpu_s(),
            generator_s=generator_s,
        )
