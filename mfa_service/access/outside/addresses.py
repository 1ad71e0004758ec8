"""Which URLs another issuer's documents are fetched from: `https`, and plain `http` on this machine alone."""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mfa_service.access.outside.documents import Unusable
from mfa_service.errors import SettingsInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Clouds answer any process here with its machine's credentials; 169.254.169.254 and fe80:: are link-local anyway.
_METADATA_SERVICES: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)


def refuse_unfit_issuer(issuer: str) -> None:
    """Refuse an issuer that nothing would be fetched from.

    Args:
        issuer: the setting `tokens.issuer`.

    Raises:
        SettingsInvalid: it is not an `https` URL, nor one of `http` on this machine.
    """
    try:
        parse(issuer)
    except Unusable as reason:
        raise SettingsInvalid(f"tokens.issuer: its URL {reason}") from None


def parse(url: str) -> SplitResult:
    """Return the parts of a URL that documents may be fetched from.

    Raises:
        Unusable: its scheme, its host or its form is not one that is taken.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Unusable("is malformed") from None
    if not host or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Unusable("is malformed")
    if parts.username is not None or parts.password is not None:
        raise Unusable("has credentials in it")
    if parts.fragment:
        raise Unusable("has a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(host)):
        raise Unusable("must be of https, or of http on this machine")
    address = _literal(host)
    if address is not None and is_off_limits(address):
        raise Unusable("leads to an address that is never asked")
    return parts


def parse_named(url: str, *, by: SplitResult) -> SplitResult:
    """Return the parts of a URL that an issuer's document names.

    Args:
        url: as named.
        by: the issuer's own URL. Only an issuer on this machine may name another place on it.

    Raises:
        Unusable: as `parse`, or it leads an issuer elsewhere to this machine.
    """
    parts = parse(url)
    if is_this_machine(parts.hostname or "") and not is_this_machine(by.hostname or ""):
        raise Unusable("leads to this machine")
    return parts


def is_same_origin(one: SplitResult, other: SplitResult) -> bool:
    """Whether two URLs have the same scheme, host and port (RFC 6454 §5)."""
    return (one.scheme, one.hostname, one.port or _PORTS[one.scheme]) == (
        other.scheme,
        other.hostname,
        other.port or _PORTS.get(other.scheme),
    )


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    address = _literal(host)
    return host == "localhost" if address is None else _mapped(address).is_loopback


def is_off_limits(address: Address) -> bool:
    """Whether nothing is ever fetched from an address: link-local ones and those of clouds' metadata services."""
    plain = _mapped(address)
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain in _METADATA_SERVICES


_PORTS: Final = {"http": 80, "https": 443}


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _mapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for (RFC 4291 §2.5.5.2), or the address itself."""
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
