"""What can go wrong, in the service's own words.

Nothing here knows HTTP: `mfa_service.web.problems` holds the one table from these classes to statuses and codes.
No error carries a secret, a one-time password or a token.
"""

from collections.abc import Mapping, Sequence


class MfaError(Exception):
    """Root of everything the service raises on purpose."""


# Input


class InvalidInput(MfaError):
    """A body, a query or a path segment failed validation.

    Args:
        errors: property name → what is wrong with it, each a sentence that does not repeat the value.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__(", ".join(sorted(errors)))
        self.errors = {name: list(messages) for name, messages in errors.items()}


class NameRefused(MfaError):
    """A user or device name is not one that the service stores; the text says why."""


class MalformedOtp(MfaError):
    """A one-time password is not made of the device's number of ASCII digits."""


# Access


class AccessDenied(MfaError):
    """The access token is missing, malformed, wrongly signed or not for this service.

    Args:
        presented: whether a bearer token came with the request at all (RFC 6750 §3.1 names no error code without one).
    """

    def __init__(self, *, presented: bool) -> None:
        super().__init__("access denied")
        self.presented = presented


class TokenExpired(MfaError):
    """The access token was good and has expired."""


class ScopeMissing(MfaError):
    """The access token does not carry the scope that the call needs.

    Args:
        scope: the scope needed.
    """

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


class ClientRefused(MfaError):
    """The client is unknown, disabled or gave a wrong secret; which of them is not told (RFC 6749 §5.2).

    Args:
        basic: whether the client used HTTP Basic, which the answer then names.
    """

    def __init__(self, *, basic: bool) -> None:
        super().__init__("client refused")
        self.basic = basic


class GrantTypeMissing(MfaError):
    """A token request names no grant type."""


class GrantTypeUnsupported(MfaError):
    """A token request names another grant type than `client_credentials`."""


class ClientIdMissing(MfaError):
    """A token request names no client."""


class ClientSecretMissing(MfaError):
    """A token request carries no client secret."""


class ScopeRefused(MfaError):
    """A token request asks for a scope that the client does not have."""


class QuotaExceeded(MfaError):
    """The application is over its request quota, or its client id came with too many wrong secrets.

    Args:
        retry_after_s: whole seconds until it is worth another try, at least 1.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"over the quota for {retry_after_s} s")
        self.retry_after_s = retry_after_s


# Users and devices


class NoDevice(MfaError):
    """The user has no device at all."""


class NoActiveDevice(MfaError):
    """The user has devices, none of them activated."""


class DeviceNotUsable(MfaError):
    """The user has no device of this name, or it is not active, while another one is."""


class DeviceNotFound(MfaError):
    """The user has no device of the name that is to be removed or shown."""


class DeviceNameTaken(MfaError):
    """The user already has an activated device of this name."""


class TooManyDevices(MfaError):
    """The user already has the most devices allowed."""


class DeviceWaits(MfaError):
    """The device answers no code now, after too many wrong ones in a row.

    Args:
        retry_after_s: whole seconds until it answers again; None where it is blocked until an operator unlocks it.
    """

    def __init__(self, retry_after_s: int | None) -> None:
        super().__init__("device blocked" if retry_after_s is None else f"device waits {retry_after_s} s")
        self.retry_after_s = retry_after_s


# Challenges and codes


class ChallengeNotFound(MfaError):
    """The challenge is unknown, expired, used, or of another application, user or kind; which of them is not told."""


class ChallengeSpent(MfaError):
    """The challenge took its last wrong code."""


class ActivatedWithAnotherCode(MfaError):
    """The device is active already, and by another code than this one."""


class WrongOtp(MfaError):
    """The one-time password is not the device's, and was charged."""


class UsedOtp(MfaError):
    """The one-time password was right and a code of its step or a later one has been accepted before; not charged."""


# Registry of applications and keys, for operators


class ApplicationNameTaken(MfaError):
    """An application of this name or client id is onboarded already."""


class ApplicationNotFound(MfaError):
    """No application has this client id or name."""


class ApplicationHasDevices(MfaError):
    """The application still has devices, which removing it would orphan."""


class SettingsInvalid(MfaError):
    """A setting is unknown or has a bad value; the text names the source and the key."""


class WrongRootKey(MfaError):
    """The root key is missing, malformed, open to others, or not the one this registry was made with."""


class KeyNotFound(MfaError):
    """The registry has no key of this id."""


class KeyNeeded(MfaError):
    """The key cannot be retired now; the text says what needs it."""


class KeyRotated(MfaError):
    """Another rotation of these keys came first: look at them, then decide whether to rotate once more."""


class UnsealFailed(MfaError):
    """A sealed secret does not open: damaged, moved to another row, or of an unknown key."""


# Surroundings


class StoreUnavailable(MfaError):
    """A store or database is out of reach, too slow or over its bound; nothing was accepted."""


class RowLocked(StoreUnavailable):
    """Somebody else holds a row of the database for too long; nothing was accepted."""


class KeyRetired(StoreUnavailable):
    """A key that a secret was just sealed with is retired; nothing was accepted, and another key seals by now."""


class ClockSkewed(MfaError):
    """This machine's clock and the database's are further apart than one-time passwords bear; nothing was accepted."""


class SchemaStale(MfaError):
    """The database's schema does not fit this version; the text says which command to run."""
