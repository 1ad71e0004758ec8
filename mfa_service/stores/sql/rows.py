"""Rows of devices as the values that they are, by position: a look-up by name costs more than all else."""

from functools import lru_cache
from typing import Literal, cast

from mfa_service.model import (
    Algorithm,
    Credential,
    Device,
    DeviceStatus,
    Owner,
    SealedSecret,
    Standing,
    TotpParameters,
)
from mfa_service.stores.sql.prepared import Row

_STATUSES = {status.value: status for status in DeviceStatus}


def standing_of(row: Row) -> Standing:
    """Return the standing in a row of `statements.columns_of_standing`."""
    device_id, status, locked_until_ms, read_at_ms = row
    return Standing(device_id, _STATUSES[status], locked_until_ms, read_at_ms)


def credential_of(row: Row) -> Credential:
    """Return the credential in a row of `statements.columns_of_credential`."""
    (
        device_id, status, locked_until_ms, read_at_ms, application_id, user_name, name, algorithm, digits, period_s,
        key_id, secret, last_step, last_auth_id,
    ) = row  # fmt: skip
    return Credential(
        device_id,
        _STATUSES[status],
        locked_until_ms,
        read_at_ms,
        Owner(application_id, user_name),
        name,
        parameters_of(algorithm, digits, period_s),
        SealedSecret(key_id, bytes.fromhex(secret)),
        last_step,
        last_auth_id,
    )


def device_of(row: Row) -> Device:
    """Return the device in a row of `statements.columns_of_device`."""
    (
        device_id, status, locked_until_ms, read_at_ms, application_id, user_name, name, algorithm, digits, period_s,
        key_id, secret, last_step, last_auth_id, earlier_acceptances, failures, slow_failures, slow_since_ms,
        pending_until_ms, created_at_ms, last_used_ms,
    ) = row  # fmt: skip
    return Device(
        id=device_id,
        status=_STATUSES[status],
        locked_until_ms=locked_until_ms,
        read_at_ms=read_at_ms,
        owner=Owner(application_id, user_name),
        name=name,
        parameters=parameters_of(algorithm, digits, period_s),
        secret=SealedSecret(key_id, bytes.fromhex(secret)),
        last_step=last_step,
        last_auth_id=last_auth_id,
        earlier_acceptances=earlier_acceptances,
        failures=failures,
        slow_failures=slow_failures,
        slow_since_ms=slow_since_ms,
        pending_until_ms=pending_until_ms,
        created_at_ms=created_at_ms,
        last_used_ms=last_used_ms,
    )


@lru_cache(maxsize=16)
def parameters_of(algorithm: str, digits: int, period_s: int) -> TotpParameters:
    """Return how a device makes its codes, from the three columns that say it."""
    return TotpParameters(
        cast("Algorithm", algorithm), cast("Literal[6, 8]", digits), cast("Literal[30, 60]", period_s)
    )
