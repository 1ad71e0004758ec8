"""What the layers hand to one another: frozen values, no behaviour beyond reading them."""

import enum
from dataclasses import dataclass, field
from typing import Literal

from mfa_service.values import value

Algorithm = Literal["SHA1", "SHA256", "SHA512"]

SCOPE_ENROLL = "mfa:enroll"
SCOPE_AUTHENTICATE = "mfa:authenticate"


@dataclass(frozen=True, slots=True)
class TotpParameters:
    """How a device makes its codes (RFC 6238 §4, §5.2)."""

    algorithm: Algorithm = "SHA1"
    digits: Literal[6, 8] = 6
    period_s: Literal[30, 60] = 30


class DeviceStatus(enum.StrEnum):
    """Where a device stands in its life; the values are the registry's."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    BLOCKED = "BLOCKED"


@value
class Owner:
    """Whose devices are meant: a user of one application."""

    application_id: str
    user_name: str


@value
class SealedSecret:
    """A device's secret as the registry keeps it: the sealed bytes and the id of the key that opens them."""

    key_id: str
    blob: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedDevice:
    """What it takes to seal a device's secret anew: whose it is, what binds it, and how it is sealed now."""

    id: str
    owner: Owner
    parameters: TotpParameters
    secret: SealedSecret


@dataclass(frozen=True, slots=True)
class Resealed:
    """A device's secret sealed anew, and what the row must still hold for that to count."""

    device_id: str
    was: SealedSecret
    becomes: SealedSecret


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device about to be registered, pending until its first code."""

    id: str
    owner: Owner
    name: str
    parameters: TotpParameters
    secret: SealedSecret
    created_at_ms: int


@value
class Standing:
    """Whether a device answers codes now: as much of it as opening a challenge looks at.

    Attributes:
        locked_until_ms: no code counts before this moment of the database's clock; 0 where it does not wait.
        read_at_ms: the database's clock when the row was read.
    """

    id: str
    status: DeviceStatus
    locked_until_ms: int
    read_at_ms: int


@value
class Credential(Standing):
    """What a code is weighed with: as much of a device as that looks at.

    Attributes:
        last_step: the highest accepted time step; -1 before the first.
        last_auth_id: the challenge that the code of `last_step` came with; empty before the first.
    """

    owner: Owner
    name: str
    parameters: TotpParameters
    secret: SealedSecret
    last_step: int
    last_auth_id: str


@value
class Device(Credential):
    """A device as the registry holds it at one moment.

    Attributes:
        earlier_acceptances: the steps and challenges before the last one as `step:challenge` between blanks, the newest
            first; a few more than can be accepted while a challenge lives by default, and none from before a pause of
            hours.
        failures: wrong codes in a row, over all challenges.
        slow_failures: wrong codes since `slow_since_ms`, which no right code clears; `rules.guessing` reads them.
        slow_since_ms: when the first of those was charged, by the database's clock; 0 before it.
        pending_until_ms: a pending device vanishes at this moment of the database's clock.
        last_used_ms: when the last accepted code was matched, by the matching worker's clock; 0 before the first.
    """

    earlier_acceptances: str
    failures: int
    slow_failures: int
    slow_since_ms: int
    pending_until_ms: int
    created_at_ms: int
    last_used_ms: int

    def has_accepted(self, step: int, auth_id: str) -> bool:
        """Whether the row shows that a challenge's code of this step was accepted."""
        if self.last_auth_id == auth_id and self.last_step == step:
            return True
        return f"{step}:{auth_id}" in self.earlier_acceptances.split()


class Purpose(enum.StrEnum):
    """What a challenge is for."""

    AUTHENTICATION = "authenticate"
    ACTIVATION = "activate"


@value
class Challenge:
    """An open challenge as peeked at.

    Attributes:
        auth_id: its id, as `identifiers` makes them.
        device_id: the same of its device's.
        attempts: wrong codes given to it so far.
        taken_step: the time step of the right code given to it; None before that.
    """

    auth_id: str
    application_id: str
    device_id: str
    purpose: Purpose
    attempts: int = 0
    taken_step: int | None = None


class Verdict(enum.StrEnum):
    """What the comparison of a code with a device said, before anything is answered."""

    WRONG = "wrong"
    USED = "used"
    MATCH = "match"


class Settlement(enum.StrEnum):
    """What settling a verdict on a challenge did.

    WRONG: counted, on a challenge that is still open. LAST_WRONG: the same, and it takes no more codes. USED: not
    counted. TAKEN: the challenge now holds the step.
    REPEAT: the challenge held this very step already. MISMATCH: counted, on a challenge taken by another code.
    """

    WRONG = "wrong"
    LAST_WRONG = "last_wrong"
    USED = "used"
    TAKEN = "taken"
    REPEAT = "repeat"
    MISMATCH = "mismatch"


@value
class Acceptance:
    """One code about to be accepted: everything the conditional UPDATE compares.

    Attributes:
        step: the time step whose code was given.
        matched_at_ms: the worker's clock when it compared.
        purpose: an activation turns a pending device active, an authentication needs an active one.
        clock_tolerance_ms: how far that clock may be from the database's.
    """

    device_id: str
    step: int
    auth_id: str
    matched_at_ms: int
    purpose: Purpose
    clock_tolerance_ms: int


@dataclass(frozen=True, slots=True)
class Charged:
    """What a device's row holds after one wrong code was charged to it.

    Attributes:
        failures: wrong codes in a row, this one included.
        slow_failures: the same over the slow counter's window, which no right code clears.
    """

    failures: int
    slow_failures: int


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: an onboarded application and what its token allows."""

    application_id: str
    client_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class SecretHash:
    """The SHA-256 of a client secret and until when it is good; None: for good."""

    digest: bytes = field(repr=False)
    valid_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """An application onboarded to the service: an OAuth 2 client (RFC 6749 §2)."""

    id: str
    name: str
    client_id: str
    scopes: frozenset[str]
    disabled: bool
    created_at_ms: int
    secret_hashes: tuple[SecretHash, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A client credentials request that is complete (RFC 6749 §4.4.2).

    Attributes:
        scopes: the scopes asked for; None asks for all that the client has.
        basic: whether the credentials came by HTTP Basic (§2.3.1).
    """

    client_id: str
    client_secret: str = field(repr=False)
    scopes: frozenset[str] | None
    basic: bool


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token just signed (RFC 6749 §5.1)."""

    access_token: str = field(repr=False)
    expires_in_s: int
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a user needs to put a new device into an authenticator, shown once."""

    auth_id: str
    device_name: str
    secret_base32: str = field(repr=False)
    registration_uri: str = field(repr=False)


class KeyPurpose(enum.StrEnum):
    """What a key in the registry is for; CANARY proves the root key."""

    CANARY = "canary"
    SEALING = "sealing"
    SIGNING = "signing"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the registry keeps it, sealed by the root key.

    Attributes:
        id: the key id; a signing key's is its RFC 7638 thumbprint, the canary's names the registry.
        generation: 1 for the first key of its purpose; the highest one in use is the current one.
        algorithm: `A256GCM` or a JWS algorithm (RFC 7518).
        sealed: the key material, sealed.
        public_jwk: the public half as JSON (RFC 7517); empty where there is none.
        active_from_ms: from when on it seals or signs; it opens and verifies at once.
    """

    id: str
    purpose: KeyPurpose
    generation: int
    algorithm: str
    sealed: bytes = field(repr=False)
    public_jwk: str
    created_at_ms: int
    active_from_ms: int


@dataclass(frozen=True, slots=True)
class GuessingLimits:
    """How a device answers wrong codes in a row.

    Attributes:
        waits_ms: at index n, how long the device waits after its n-th wrong code in a row; the last one holds on.
        disable_after: the device is blocked at this many wrong codes in a row.
    """

    waits_ms: tuple[int, ...]
    disable_after: int


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """How much one application may ask: a bucket of `burst` requests that fills at `requests_per_s`."""

    requests_per_s: int
    burst: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What a store gave of an application's quota.

    Attributes:
        granted: requests that the holder may let pass.
        left: requests still in the store's bucket after that; no whole number.
    """

    granted: int
    left: float
