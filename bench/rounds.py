"""Every call in turn against one running service, the floor before and after."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import calls, enrolment, fleet
from bench.calls import Credentials
from bench.connections import Expected, Load
from bench.fleet import KnownDevice
from bench.meter import Meter
from bench.sweeps import Sweep, joined

FLOOR = "floor"
INITIATE = "initiate"
VALIDATE = "validate"
WRONG = "wrong code"
TOKEN = "token"  # noqa: S105  the name of a call

_WARM_UP = 300  # of each call
_WARM_UP_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Size:
    """What one run is made of.

    Attributes:
        block: devices that are authenticated one after the other, each once.
        blocks: of them; what they accepted is taken back after each.
        wrong: devices that a wrong code is given for.
        tokens: token calls.
    """

    block: int
    blocks: int
    wrong: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Target:
    """A running service and the floor beside it.

    Attributes:
        service: sends to the service, and measures it and its stores.
        floor: the same for the floor.
        database_url: of the service's registry.
        credentials: of the application that calls.
        devices: how many are enrolled.
    """

    service: Meter
    floor: Meter
    database_url: str
    credentials: Credentials
    devices: int


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a round.

    Attributes:
        call: what it is there for.
        take: does it and returns, by call, what that cost; raises `UnexpectedAnswer` where a request was not answered
            as it has to be.
    """

    call: str
    take: Callable[[], Mapping[str, Sweep]]


class Rounds:
    """Measures a service.

    Args:
        target: the service.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._numbers = itertools.count()  # of blocks of devices

    def warm_up(self) -> None:
        """Send some of everything: connections to the stores are opened, statements compiled, memory taken."""
        some = min(_WARM_UP, self._target.devices)
        for step in self.steps(Size(block=some, blocks=1, wrong=some, tokens=_WARM_UP), _WARM_UP_CONNECTIONS):
            step.take()

    def steps(self, size: Size, connections: int) -> Sequence[Step]:
        """Return what to do, in this order, to make every call over so many connections."""
        token = calls.token_in(self._take_tokens(1, 1)[1][0])
        floor = Step(FLOOR, lambda: {FLOOR: self._floor(size.block * size.blocks, token, connections)})
        return (
            floor,
            Step(VALIDATE, lambda: self._authenticate(size, token, connections)),
            Step(WRONG, lambda: {WRONG: self._guess(size.wrong, token, connections)}),
            floor,
            Step(TOKEN, lambda: {TOKEN: self._take_tokens(size.tokens, connections)[0]}),
        )

    def open_challenges(self, count: int) -> None:
        """Open challenges and leave them open."""
        token = calls.token_in(self._take_tokens(1, 1)[1][0])
        self._initiate(self._some(count), token, _WARM_UP_CONNECTIONS)

    def _floor(self, count: int, token: str, connections: int) -> Sweep:
        """Send the floor the very requests that initiate takes."""
        requests = [calls.initiate(one, token) for one in self._some(min(count, self._target.devices))]
        repeated = list(itertools.islice(itertools.cycle(requests), count))
        return _sweep(self._target.floor, repeated, calls.ANSWERED, connections)[0]

    def _authenticate(self, size: Size, token: str, connections: int) -> Mapping[str, Sweep]:
        """Authenticate some devices, each once, by the block; what either call costs is told apart."""
        initiated, validated = [], []
        for _ in range(size.blocks):
            devices = self._some(size.block)
            sweep, auth_ids = self._initiate(devices, token, connections)
            initiated.append(sweep)
            validated.append(self._give(devices, auth_ids, fleet.right_code, calls.VALIDATED, token, connections))
        return {INITIATE: joined(initiated), VALIDATE: joined(validated)}

    def _guess(self, count: int, token: str, connections: int) -> Sweep:
        """Give one wrong code for each of some devices."""
        devices = self._some(count)
        _, auth_ids = self._initiate(devices, token, connections)
        return self._give(devices, auth_ids, fleet.wrong_code, calls.REFUSED, token, connections)

    def _give(
        self,
        devices: Sequence[KnownDevice],
        auth_ids: Sequence[str],
        code: Callable[[KnownDevice, int], str],
        expected: Expected,
        token: str,
        connections: int,
    ) -> Sweep:
        """Give each device's challenge a code, and make the devices ready for the next one."""
        now_ms = time.time_ns() // 1_000_000
        requests = [
            calls.validate(auth_id, code(one, now_ms), token) for one, auth_id in zip(devices, auth_ids, strict=True)
        ]
        try:
            return _sweep(self._target.service, requests, expected, connections)[0]
        finally:
            asyncio.run(enrolment.make_ready(self._target.database_url, devices))

    def _initiate(self, devices: Sequence[KnownDevice], token: str, connections: int) -> tuple[Sweep, Sequence[str]]:
        requests = [calls.initiate(one, token) for one in devices]
        initiated, answers = _sweep(self._target.service, requests, calls.INITIATED, connections, keeps_answers=True)
        return initiated, calls.auth_ids_in(answers)

    def _take_tokens(self, count: int, connections: int) -> tuple[Sweep, Sequence[bytes]]:
        requests = [calls.token_request(self._target.credentials)] * count
        return _sweep(self._target.service, requests, calls.ISSUED, connections, keeps_answers=True)

    def _some(self, count: int) -> Sequence[KnownDevice]:
        return fleet.block(self._target.devices, count, next(self._numbers))


def _sweep(
    meter: Meter, requests: Sequence[bytes], expected: Expected, connections: int, *, keeps_answers: bool = False
) -> tuple[Sweep, Sequence[bytes]]:
    return meter.sweep(Load(meter.port, requests, expected, connections, keeps_answers))
