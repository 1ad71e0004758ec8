"""What binds a sealed secret to the row that holds it."""

from mfa_service.model import Owner, TotpParameters


def device_context(device_id: str, owner: Owner, parameters: TotpParameters) -> bytes:
    """Return the associated data of a device's secret (AES-GCM, NIST SP 800-38D).

    Each part carries its length, so that no two rows give the same bytes.

    Args:
        device_id: the device.
        owner: its application and user.
        parameters: how it makes its codes.

    Returns:
        The parts, each behind its length in four bytes.
    """
    parts = (
        owner.application_id,
        owner.user_name,
        device_id,
        parameters.algorithm,
        str(parameters.digits),
        str(parameters.period_s),
    )
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
