"""What the rules need from outside: time, randomness, stores and keys.

No method here can express a race: there is no `exists` and no get-then-set. Each says what is atomic and what it
raises; every one that reaches a store also raises `StoreUnavailable`, and then nothing was accepted.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from mfa_service.model import (
    Acceptance,
    Application,
    Challenge,
    Charged,
    Credential,
    Device,
    IssuedToken,
    KeyRecord,
    Lease,
    NewDevice,
    Owner,
    Principal,
    Purpose,
    QuotaLimits,
    Resealed,
    SealedDevice,
    SealedSecret,
    SecretHash,
    Settlement,
    Standing,
    TokenRequest,
    Verdict,
)

RandomBytes = Callable[[int], bytes]
"""Gives as many bytes as asked for, from a cryptographic source."""


class Clock(Protocol):
    """The time, twice: what the wall says, and what only ever rises."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment, never set back."""
        ...


class Challenges(Protocol):
    """Open challenges, each with a deadline; losing all of them is allowed."""

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge for `ttl_s` seconds; nothing done to it later moves that deadline."""
        ...

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return an open, taken or spent challenge without changing it.

        Raises:
            ChallengeNotFound: it is unknown, expired, or of another application or purpose.
        """
        ...

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, in one atomic act on this one challenge, before anything of it is told.

        A spent challenge (`max_attempts` wrong codes) refuses every verdict. On an open one WRONG counts and gives
        WRONG, or LAST_WRONG where this was the last one it takes; USED changes nothing and gives USED; MATCH takes the
        challenge, notes `step` and gives TAKEN. On a taken one a verdict (MATCH or USED) of the noted step gives
        REPEAT, USED of another one is as on an open one, and anything else counts and gives MISMATCH.

        Args:
            auth_id: the challenge, as peeked at.
            verdict: what the comparison said.
            step: the time step whose code was given; None with WRONG.
            max_attempts: how many wrong codes a challenge takes.

        Raises:
            ChallengeNotFound: it has expired since.
            ChallengeSpent: it takes no more codes.
        """
        ...


class NotAccepted(Exception):
    """The acceptance rule did not hold for the device's row, which is unchanged."""


class NotCharged(Exception):
    """The device's row takes no wrong code now: it waits, is blocked, or is gone."""


class Devices(Protocol):
    """The registry of devices; everything acknowledged here is durable. Expired pending devices do not exist in it."""

    async def register(self, device: NewDevice, *, pending_ttl_s: int, max_per_user: int) -> None:
        """Insert a pending device into a free slot of its user, replacing a pending one of the same name, atomically.

        Raises:
            DeviceNameTaken: the name is that of an activated device.
            TooManyDevices: all `max_per_user` slots are taken.
        """
        ...

    def get(self, device_id: str) -> Awaitable[Device]:
        """Return a device by its id.

        Raises:
            DeviceNotFound: there is none.
        """
        ...

    def credential(self, device_id: str) -> Awaitable[Credential]:
        """Return as much of a device as a code is weighed with.

        Raises:
            DeviceNotFound: there is none.
        """
        ...

    def standing(self, owner: Owner, name: str) -> Awaitable[Standing]:
        """Return whether a user's device answers codes now, by its name, whatever its status.

        Raises:
            DeviceNotFound: the user has none of this name.
        """
        ...

    def find(self, owner: Owner, name: str) -> Awaitable[Device]:
        """Return a user's device by name, whatever its status.

        Raises:
            DeviceNotFound: the user has none of this name.
        """
        ...

    async def all_of(self, owner: Owner) -> Sequence[Device]:
        """Return a user's devices, oldest first; none for an unknown user."""
        ...

    def accept(self, acceptance: Acceptance) -> Awaitable[None]:
        """Accept one code by the one conditional UPDATE of the acceptance rule, durably.

        The row changes only where the device is active (or pending, for an activation), does not wait, has accepted no
        code of this step or a later one (but for this very challenge), and `matched_at_ms` is within the acceptance's
        tolerance of the database's clock. It then holds the step and the challenge, and no wrong codes from before.

        Raises:
            NotAccepted: the row does not fulfil that, or is gone.
        """
        ...

    def charge(self, device_id: str) -> Awaitable[Charged]:
        """Count one wrong code against an active or pending device that does not wait, durably and atomically.

        It then waits as its new count in a row says, and is blocked at the limit. The slow counter rises with it, and
        begins anew with the first wrong code after its window.

        Returns:
            Both counts, this code included: of any number of parallel charges each gets its own.

        Raises:
            NotCharged: it waits, is blocked, or is gone; nothing was counted.
        """
        ...

    async def remove(self, owner: Owner, name: str) -> None:
        """Remove a user's device by name, durably.

        Raises:
            DeviceNotFound: the user has none of this name.
        """
        ...

    async def remove_all(self, owner: Owner) -> None:
        """Remove every device of a user, durably.

        Raises:
            NoDevice: there was none.
        """
        ...

    async def remove_pending(self, device_id: str) -> None:
        """Remove a device that is still pending; one that is not, or is gone, is left as it is."""
        ...

    async def sweep(self, *, limit: int) -> int:
        """Remove at most `limit` expired pending devices and return how many."""
        ...

    async def unlock(self, owner: Owner, name: str) -> None:
        """Clear the wrong codes in a row, the wait and the block of a device, durably; its slow counter stays.

        Raises:
            DeviceNotFound: the user has none of this name.
        """
        ...

    async def owners_named(self, user_name: str) -> Sequence[Owner]:
        """Return the owners of this user name over all applications, for operators."""
        ...


class Alerts(Protocol):
    """What operators are told of at once."""

    def many_wrong_codes(self, device: Credential, *, failures: int) -> None:
        """Tell that so many wrong codes have come for a device within the slow counter's window."""
        ...


class QuotaLeases(Protocol):
    """The buckets of the applications' quotas, shared by every worker; losing them is allowed."""

    async def lease(self, application_id: str, wanted: int, limits: QuotaLimits) -> Lease:
        """Take up to `wanted` requests out of an application's bucket, atomically; a bucket not known is full."""
        ...


class Quotas(Protocol):
    """How much each application may still ask."""

    def spend(self, application_id: str) -> None:
        """Count one request of an application, without waiting for anything.

        Raises:
            QuotaExceeded: it is over its quota.
        """
        ...


class Applications(Protocol):
    """The registry of onboarded applications."""

    async def add(self, application: Application) -> None:
        """Insert an application, durably.

        Raises:
            ApplicationNameTaken: its name or client id is another one's name or client id.
        """
        ...

    async def all(self) -> Sequence[Application]:
        """Return every application, by name."""
        ...

    async def by_client_id(self, client_id: str) -> Application:
        """Return an application by its client id.

        Raises:
            ApplicationNotFound: there is none.
        """
        ...

    async def named(self, text: str) -> Application:
        """Return an application by its client id or its name.

        Raises:
            ApplicationNotFound: there is none.
        """
        ...

    async def set_secrets(self, application_id: str, hashes: Sequence[SecretHash]) -> None:
        """Replace the client secrets of an application, durably.

        Raises:
            ApplicationNotFound: there is none.
        """
        ...

    async def set_disabled(self, application_id: str, *, disabled: bool) -> None:
        """Disable or enable an application, durably.

        Raises:
            ApplicationNotFound: there is none.
        """
        ...

    async def remove(self, application_id: str, *, with_devices: bool) -> None:
        """Remove an application, durably; where told to its devices first, a few at a time.

        Interrupted in between, the application is still there with the devices left, to be removed again.

        Raises:
            ApplicationNotFound: there is none.
            ApplicationHasDevices: devices exist and `with_devices` is false.
        """
        ...


class Keys(Protocol):
    """The registry of sealed keys."""

    async def all(self) -> Sequence[KeyRecord]:
        """Return every key, by purpose and generation."""
        ...

    async def add(self, record: KeyRecord) -> KeyRecord:
        """Insert a key unless its purpose and generation are taken, durably.

        Returns:
            The record that holds that place: this one, or the one that was first.
        """
        ...

    async def retire(self, key_id: str, *, superseded_for_ms: int) -> None:
        """Remove a key that a newer one superseded long enough ago and that no device needs, atomically and durably.

        No device can come to need it meanwhile or afterwards: what is sealed with it is refused.

        Args:
            key_id: the key.
            superseded_for_ms: for how long a newer key of its purpose must have been in use, by the database's clock.

        Raises:
            KeyNotFound: there is none.
            KeyNeeded: it is the current key or a coming one, it was superseded too short a time ago, or a device's
                secret is sealed with it.
        """
        ...


class SealedDevices(Protocol):
    """The devices' secrets as they are sealed, expired pending devices included: their rows need their keys too."""

    async def after(self, device_id: str, *, limit: int) -> Sequence[SealedDevice]:
        """Return at most `limit` devices, those whose ids come next after this one, in the order of their ids."""
        ...

    async def replace(self, changes: Sequence[Resealed]) -> None:
        """Replace secrets in one transaction, each only where the row still holds what it held, durably.

        Raises:
            RowLocked: somebody else holds a row, or the database, for too long; it may be tried again.
            KeyRetired: a key that they are sealed with went away meanwhile; nothing was replaced.
            StoreUnavailable: the registry is out of reach.
        """
        ...

    async def per_key(self) -> Mapping[str, int]:
        """Return by how many devices each key is needed; a key that none needs is left out."""
        ...

    async def needing(self, key_id: str, *, limit: int) -> Sequence[str]:
        """Return the ids of at most `limit` devices that need a key, in no order."""
        ...


class Sealing(Protocol):
    """Seals secrets for the registry and opens them again."""

    async def seal(self, secret: bytes, *, context: bytes) -> SealedSecret:
        """Seal a secret under the current key, bound to its context."""
        ...

    async def unseal(self, sealed: SealedSecret, *, context: bytes) -> bytes:
        """Open a sealed secret.

        Raises:
            UnsealFailed: it is damaged, of another context, or of an unknown key.
        """
        ...


class TokenVerifier(Protocol):
    """Tells who an access token is."""

    async def verify(self, token: str) -> Principal:
        """Return whom an access token stands for, now.

        Args:
            token: the credentials after `Bearer` (RFC 6750 §2.1), any text.

        Raises:
            TokenExpired: it was good and has expired.
            AccessDenied: it is not a token for this service, or its application is unknown or disabled.
        """
        ...


class TokenIssuer(Protocol):
    """Issues access tokens for client credentials (RFC 6749 §4.4)."""

    async def issue(self, request: TokenRequest) -> IssuedToken:
        """Check a client's secret and sign a token for it.

        Raises:
            ClientRefused: the client is unknown or disabled, or its secret wrong.
            QuotaExceeded: the same once too often, or the application is over its quota.
            ScopeRefused: it asks for a scope that it does not have.
        """
        ...
