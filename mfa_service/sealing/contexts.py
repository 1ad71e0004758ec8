"""What binds a sealed secret to the row that holds it: associated data (AES-GCM, NIST SP 800-38D §5.2.1.1)."""

from functools import lru_cache
from struct import Struct
from typing import Final

from mfa_service.model import KeyPurpose, Owner, TotpParameters

_length: Final = Struct(">I").pack


def device_context(device_id: str, owner: Owner, parameters: TotpParameters) -> bytes:
    """Return the associated data of a device's secret.

    Args:
        device_id: the device.
        owner: its application and user.
        parameters: how it makes its codes.

    Returns:
        Application, user, device id, algorithm, digits and period, each behind its length in four bytes.
    """
    application, user, device = owner.application_id.encode(), owner.user_name.encode(), device_id.encode()
    return b"".join(
        (
            _length(len(application)),
            application,
            _length(len(user)),
            user,
            _length(len(device)),
            device,
            _of_parameters(parameters.algorithm, parameters.digits, parameters.period_s),
        )
    )


def key_context(key_id: str, purpose: KeyPurpose, generation: int, algorithm: str) -> bytes:
    """Return the associated data of a key in the registry.

    Args:
        key_id: the key.
        purpose: what it is for.
        generation: which key of its purpose it is.
        algorithm: what it is used with.

    Returns:
        The word `key` and the four parts, each behind its length in four bytes.
    """
    return _joined("key", purpose.value, key_id, str(generation), algorithm)


@lru_cache(maxsize=16)
def _of_parameters(algorithm: str, digits: int, period_s: int) -> bytes:
    return _joined(algorithm, str(digits), str(period_s))


def _joined(*parts: str) -> bytes:
    """Return the parts, each with its length, so that no two lists of parts give the same bytes."""
    return b"".join(map(_part, parts))


def _part(text: str) -> bytes:
    encoded = text.encode()
    return _length(len(encoded)) + encoded
