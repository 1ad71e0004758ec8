"""Where it takes place: fresh stores with enrolled devices, and service, floor and generator on cores of their own."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import calls, cores, enrolment, processes
from bench.connections import Load
from bench.cores import Cores
from bench.generator import Generator, generating
from bench.meter import Meter
from bench.processes import Served
from bench.rounds import Rounds, Target
from bench.setups import Setup, Stores
from bench.sweeps import Figures, figures_of

_ROOT = Path(__file__).parents[1]
_MOST_PROCESSES = 4  # of the generator
_CEILING_REQUESTS = 40_000
_CEILING_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """A service that has been warmed up.

    Attributes:
        rounds: measures it.
        stores: what it keeps things in.
        device_bytes: what one device took in the database before the first of them was authenticated.
    """

    rounds: Rounds
    stores: Stores
    device_bytes: float


@dataclass(frozen=True, slots=True)
class House:
    """What the services of a scene share.

    Attributes:
        workers: of each service, and of the floor.
        cores: which are for what.
        generator: sends to all of them, one at a time.
        floor: what each is held against.
    """

    workers: int
    cores: Cores
    generator: Generator
    floor: Meter


@contextmanager
def opened(workers: int) -> Iterator[House]:
    """Start what services of so many workers share, and end it with the block."""
    with _divided(workers) as divided, tempfile.TemporaryDirectory(prefix="mfa-bench-") as name:
        floor = _bench_server("bench.floor", Path(name), workers, divided.service)
        with _generating(divided) as generator, floor as served:
            yield House(workers, divided, generator, Meter(generator, served.port, served.tree))


@contextmanager
def set_up(setup: Setup, house: House, *, devices: int) -> Iterator[Stage]:
    """Enrol devices on stores of their own, start a service on them, and end it with the block."""
    with tempfile.TemporaryDirectory(prefix="mfa-bench-") as name, setup.start(Path(name)) as stores:
        credentials = asyncio.run(enrolment.enrol(stores.environment, devices))
        device_bytes = asyncio.run(enrolment.bytes_per_device(stores.database_url))
        with _service(stores, Path(name), house.workers, house.cores.service) as service:
            target = Target(
                service=Meter(house.generator, service.port, service.tree, stores.redis, stores.database),
                floor=house.floor,
                database_url=stores.database_url,
                credentials=credentials,
                devices=devices,
            )
            rounds = Rounds(target)
            rounds.warm_up()
            yield Stage(rounds, stores, device_bytes)


def ceiling(*, requests: int = _CEILING_REQUESTS) -> Figures:
    """Measure what the generator reaches with so many requests to a server that does next to nothing, on one core."""
    with _divided(1) as divided, tempfile.TemporaryDirectory(prefix="mfa-bench-") as name:
        responder = _bench_server("bench.responder", Path(name), 1, divided.service)
        with _generating(divided) as generator, responder as served:
            request = calls.validate("0" * 36, "000000", "0" * 700)
            load = Load(served.port, [request] * requests, calls.ANSWERED, _CEILING_CONNECTIONS)
            meter = Meter(generator, served.port, served.tree)
            meter.sweep(load)
            return figures_of(meter.sweep(load)[0])


@contextmanager
def _divided(workers: int) -> Iterator[Cores]:
    """Divide the cores; in the block this process, and what it starts, keep to those that are not the service's."""
    divided = cores.divide(cores.available(), workers)
    with cores.on(divided.others):
        yield divided


def _generating(divided: Cores) -> AbstractContextManager[Generator]:
    return generating(min(len(divided.others) or 1, _MOST_PROCESSES))


def _bench_server(module: str, folder: Path, workers: int, on: AbstractSet[int]) -> AbstractContextManager[Served]:
    environment = processes.plain_environment() | {"PYTHONPATH": str(_ROOT)}
    command = (sys.executable, "-m", module, str(workers))
    return processes.serving(command, environment, log=folder / f"{module}.log", workers=workers, on=on)


def _service(stores: Stores, folder: Path, workers: int, on: AbstractSet[int]) -> AbstractContextManager[Served]:
    environment = {**stores.environment, "MFA_HTTP_WORKERS": str(workers)}
    command = (sys.executable, "-m", "mfa_service", "serve")
    return processes.serving(command, environment, log=folder / "service.log", workers=workers, on=on)
