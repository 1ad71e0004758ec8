"""What is measured: the hot calls on challenges and devices, batched as the service makes them, and each by itself."""

import enum
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from bench.single import SingleDevices, single_challenges
from mfa_service.app import SystemClock
from mfa_service.model import (
    Acceptance,
    Application,
    Challenge,
    GuessingLimits,
    KeyPurpose,
    KeyRecord,
    NewDevice,
    Owner,
    Purpose,
    SealedSecret,
    TotpParameters,
    Verdict,
)
from mfa_service.ports import Challenges
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.redis import open_challenges
from mfa_service.stores.sql import Registry, open_registry, schema
from mfa_service.stores.sql.devices import SqlDevices
from mfa_service.stores.sql.tables import devices

_COUNT = 4096  # of challenges and of devices: no two calls under way meet at one
_TTL_S = 3600
_NEVER_SPENT = 1_000_000_000  # attempts: a wrong code then makes the script read and write, every time
_LIMITS = GuessingLimits(waits_ms=(0,), disable_after=100)
_TOLERANCE_MS = 3_000
_FIRST_STEP = 60_000_000
_APPLICATION = Application("bench", "Bench", "client-bench", frozenset(), disabled=False, created_at_ms=0)
_KEY = KeyRecord("key", KeyPurpose.SEALING, 1, "A256GCM", b"", "", created_at_ms=0, active_from_ms=0)


class Way(enum.StrEnum):
    """How calls reach the store. DIRECT: there is nothing to send, and so nothing to batch."""

    DIRECT = "direct"
    BATCHED = "batched"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Operation:
    """A call to measure, ready to be made any number of times."""

    name: str
    way: Way
    call: Callable[[], Awaitable[object]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Sequence[Operation]]:
    """Give the calls on challenges in this process."""
    challenges = MemoryChallenges(SystemClock())
    yield _on_challenges(challenges, Way.DIRECT, await _open(challenges))


@asynccontextmanager
async def on_redis(url: str) -> AsyncIterator[Sequence[Operation]]:
    """Give the calls on challenges in a Redis or Valkey, of whatever topology the URL says."""
    batched = await open_challenges(url)
    single = await single_challenges(url)
    ids = await _open(batched)
    yield [*_on_challenges(batched, Way.BATCHED, ids), *_on_challenges(single, Way.SINGLE, ids)]
    await single.close()
    await batched.close()


@asynccontextmanager
async def on_sql(url: str) -> AsyncIterator[Sequence[Operation]]:
    """Give the calls on devices in a database that is empty yet."""
    await schema.upgrade(url)
    registry = await open_registry(url, clock=SystemClock(), limits=_LIMITS)
    ids = await _register(registry)
    single = SingleDevices(registry.database, _LIMITS)
    steps = itertools.count(_FIRST_STEP + 1)
    yield [
        *_on_devices(registry.devices, Way.BATCHED, ids, steps),
        *_on_devices(single, Way.SINGLE, ids, steps),
    ]
    await registry.close()


def _on_challenges(challenges: Challenges, way: Way, auth_ids: Sequence[str]) -> Sequence[Operation]:
    """Give the calls on challenges, each on the next one."""
    ids = itertools.cycle(auth_ids)

    def peek() -> Awaitable[object]:
        return challenges.peek(next(ids), application_id=_APPLICATION.id, purpose=Purpose.AUTHENTICATION)

    def settle() -> Awaitable[object]:
        return challenges.settle(next(ids), Verdict.WRONG, step=None, max_attempts=_NEVER_SPENT)

    return Operation("peek", way, peek), Operation("settle", way, settle)


def _on_devices(
    registry: SqlDevices | SingleDevices, way: Way, device_ids: Sequence[str], steps: Iterator[int]
) -> Sequence[Operation]:
    """Give the calls on devices, each on the next one; each acceptance is of a higher step than all before it."""
    ids = itertools.cycle(device_ids)
    clock = SystemClock()

    def look_up() -> Awaitable[object]:
        return registry.get(next(ids))

    def accept() -> Awaitable[object]:
        step = next(steps)
        return registry.accept(
            Acceptance(next(ids), step, _auth_id(step), clock.now_ms(), Purpose.AUTHENTICATION, _TOLERANCE_MS)
        )

    return Operation("look-up", way, look_up), Operation("acceptance", way, accept)


async def _open(challenges: Challenges) -> Sequence[str]:
    """Open challenges and return their ids."""
    opened = [
        Challenge(str(uuid.uuid4()), _APPLICATION.id, uuid.uuid4().hex, Purpose.AUTHENTICATION) for _ in range(_COUNT)
    ]
    for challenge in opened:
        await challenges.open(challenge, ttl_s=_TTL_S)
    return [challenge.auth_id for challenge in opened]


async def _register(registry: Registry) -> Sequence[str]:
    """Make active devices in long use, which remember as many acceptances as a row does, and return their ids."""
    await registry.applications.add(_APPLICATION)
    await registry.keys.add(_KEY)
    secret = SealedSecret(_KEY.id, bytes(48))
    first = NewDevice(str(uuid.uuid4()), Owner(_APPLICATION.id, "user"), "phone", TotpParameters(), secret, 0)
    await registry.devices.register(first, pending_ttl_s=_TTL_S, max_per_user=1)
    opened, now_ms = _auth_id(_FIRST_STEP), SystemClock().now_ms()
    activation = Acceptance(first.id, _FIRST_STEP, opened, now_ms, Purpose.ACTIVATION, _TOLERANCE_MS)
    await registry.devices.accept(activation)
    ids = [str(uuid.uuid4()) for _ in range(_COUNT)]
    earlier = " ".join(f"{step}:{_auth_id(step)}" for step in range(_FIRST_STEP - 1, _FIRST_STEP - 33, -1))
    async with registry.database.transaction() as connection:
        [row] = (await connection.execute(sa.select(devices))).mappings()
        copies = [
            {**row, "id": one, "user_name": f"user {number}", "earlier_acceptances": earlier}
            for number, one in enumerate(ids)
        ]
        await connection.execute(sa.insert(devices), copies)
    return ids


def _auth_id(step: int) -> str:
    return f"{step:08d}-0000-4000-8000-000000000000"
