"""Random identifiers in their wire forms."""

from mfa_service.ports import RandomBytes


def auth_id(random_bytes: RandomBytes) -> str:
    """Return a new random challenge id: a version 4 UUID in lower-case canonical form (RFC 9562 §5.4)."""
    octets = bytearray(random_bytes(16))
    octets[6] = octets[6] & 0x0F | 0x40
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def device_id(random_bytes: RandomBytes) -> str:
    """Return a new random device id: 32 lower-case hexadecimal digits."""
    return random_bytes(16).hex()
