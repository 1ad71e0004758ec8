"""The rules on a real registry and real challenges, called one at a time from code that waits for nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from mfa_service.errors import DeviceWaits, MfaError, StoreUnavailable
from mfa_service.model import Acceptance, Application, Charged, Credential, KeyPurpose, KeyRecord, SealedSecret
from mfa_service.rules import guessing
from mfa_service.rules.acceptance import CodePolicy, CodeScale
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.sql import open_registry
from mfa_service.stores.sql.devices import SqlDevices
from tests.clocks import ManualClock
from tests.contract.sql_stores import LIMITS, sqlite_url
from tests.model import expectations
from tests.model.expectations import PASSED, Fault, Outcome

APPLICATIONS = ("shop", "bank")
Given = TypeVar("Given")
Judged = TypeVar("Judged")


class _Sealing:
    """Seals a secret by writing its context before it."""

    async def seal(self, secret: bytes, *, context: bytes) -> SealedSecret:
        return SealedSecret("k", context + secret)

    async def unseal(self, sealed: SealedSecret, *, context: bytes) -> bytes:
        assert sealed.blob.startswith(context)
        return sealed.blob.removeprefix(context)


class _Repeatable:
    """Random bytes that are the same in every run, so that a failing run can be repeated."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        self._calls += 1
        return (sha256(b"%d" % self._calls).digest() * 2)[:size]


class _Untold:
    """Operators that are told nothing."""

    def many_wrong_codes(self, device: Credential, *, failures: int) -> None:
        assert failures == guessing.ALERT_AT, device


class _Faulty(SqlDevices):
    """A registry of devices whose judgements meet a fault where there is one.

    Attributes:
        fault: what befalls the next judgement.
    """

    fault: Fault | None = None

    async def accept(self, acceptance: Acceptance) -> None:
        await self._judged(partial(super().accept, acceptance))

    async def charge(self, device_id: str) -> Charged:
        return await self._judged(partial(super().charge, device_id))

    async def _judged(self, act: Callable[[], Awaitable[Judged]]) -> Judged:
        if self.fault is Fault.LOST:
            raise StoreUnavailable
        judged = await act()
        if self.fault is Fault.UNANSWERED:
            raise StoreUnavailable
        return judged


class Site:
    """The rules, and what they stand on.

    Args:
        path: of an SQLite file with the schema and nothing else.

    Attributes:
        clock: everything goes by it.
    """

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self._runner = asyncio.Runner()
        self._registry = self._runner.run(open_registry(sqlite_url(path), clock=self.clock, limits=LIMITS))
        for name in APPLICATIONS:
            application = Application(name, name, name, frozenset({"mfa:enroll"}), disabled=False, created_at_ms=1)
            self._runner.run(self._registry.applications.add(application))
        key = KeyRecord("k", KeyPurpose.SEALING, 1, "none", b"", "", created_at_ms=1, active_from_ms=1)
        self._runner.run(self._registry.keys.add(key))
        self.devices = _Faulty(self._registry.database, LIMITS)
        self.challenges = MemoryChallenges(self.clock)
        sealing, random_bytes = _Sealing(), _Repeatable()
        scale = CodeScale(
            challenges=self.challenges,
            devices=self.devices,
            sealing=sealing,
            clock=self.clock,
            alerts=_Untold(),
            policy=CodePolicy(
                window_steps=expectations.WINDOW_STEPS,
                clock_tolerance_ms=3_000,
                max_attempts=expectations.MAX_ATTEMPTS,
            ),
        )
        self.authentication = Authentication(
            challenges=self.challenges,
            devices=self.devices,
            scale=scale,
            random_bytes=random_bytes,
            challenge_ttl_s=expectations.CHALLENGE_TTL_S,
        )
        self.registration = Registration(
            challenges=self.challenges,
            devices=self.devices,
            sealing=sealing,
            scale=scale,
            clock=self.clock,
            random_bytes=random_bytes,
            issuer_name="mfa",
            activation_ttl_s=expectations.ACTIVATION_TTL_S,
            max_per_user=expectations.MAX_DEVICES,
        )

    def close(self) -> None:
        """Let go of everything."""
        self._runner.run(self.devices.close())
        self._runner.run(self._registry.close())
        self._runner.close()

    def call(self, act: Coroutine[None, None, Given], fault: Fault | None = None) -> tuple[Outcome, Given | None]:
        """Do one thing; return what became of it, and what it gave where it passed."""
        self.devices.fault = fault
        try:
            return PASSED, self._runner.run(act)
        except DeviceWaits as waits:
            return ("waits", waits.retry_after_s), None
        except MfaError as refusal:
            return type(refusal), None
        finally:
            self.devices.fault = None
