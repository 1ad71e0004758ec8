"""Where another issuer's documents are fetched from: by `https`, and by plain `http` on this machine alone.

This machine is `localhost` and the loopback addresses; others that it may have are asked like any of its network.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mfa_service.access.outside.documents import Unusable
from mfa_service.errors import SettingsInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Clouds answer any process here with its machine's credentials; 169.254.169.254 and fe80:: are link-local anyway.
_METADATA_SERVICES: Final[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = (
    *map(ipaddress.IPv4Network, ("100.100.100.200", "168.63.129.16", "192.0.0.192")),
    *map(ipaddress.IPv6Network, ("fd00:ec2::/32", "fd20:ce::254", "fd00:c1::a9fe:a9fe")),
)

# IPv6 addresses whose last 32 bits are an IPv4 one that they may lead to (RFC 4291 §2.5.5, RFC 2765 §2.1, RFC 6052
# §2.1); a network's own translator (RFC 8215) may put it elsewhere, but hardly does.
_ENDING_IN_IPV4: Final = tuple(
    map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII | re.DOTALL)
_PORTS: Final = {"http": 80, "https": 443}
_NEVER_ASKED: Final = "leads to an address that is never asked"
_THIS_MACHINE: Final = "leads to this machine"


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
        raise Unusable(_NEVER_ASKED)
    if "%" in host or (address is None and _ENDS_IN_NUMBER.fullmatch(host)):
        # No name ends in a number: it is an address in a form that one reader takes for another than the next.
        raise Unusable("is malformed")
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
    host = parts.hostname or ""
    if not is_this_machine(by.hostname or ""):
        address = _literal(host)
        if is_this_machine(host) or (address is not None and leads_here(address)):
            raise Unusable(_THIS_MACHINE)
    return parts


def refuse_resolved(address: Address, host: str, port: int, *, by: SplitResult) -> None:
    """Refuse an address that a name leads to.

    Args:
        address: what the name stands for now.
        host: the name.
        port: what is asked there.
        by: the issuer's own URL. Where that leads to this machine, its own host and port may, and nothing else.

    Raises:
        Unusable: the address is never asked, or it leads an issuer elsewhere to this machine.
    """
    if is_off_limits(address):
        raise Unusable(_NEVER_ASKED)
    own = by.hostname or ""
    is_own = (host.rstrip(".").lower(), port) == (own.rstrip("."), by.port or _PORTS[by.scheme])
    if leads_here(address) and not is_own and not is_this_machine(own):
        raise Unusable(_THIS_MACHINE)


def is_same_origin(one: SplitResult, other: SplitResult) -> bool:
    """Whether two URLs have the same scheme, host and port (RFC 6454 §5)."""
    return (one.scheme, one.hostname, one.port or _PORTS[one.scheme]) == (
        other.scheme,
        other.hostname,
        other.port or _PORTS.get(other.scheme),
    )


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine by the name `localhost` or a loopback address."""
    address = _literal(host)
    return host == "localhost" if address is None else _mapped(address).is_loopback


def leads_here(address: Address) -> bool:
    """Whether an address is a loopback or unspecified one, by whatever way of writing an IPv4 one in IPv6."""
    return any(one.is_loopback or one.is_unspecified for one in _meanings(address))


def is_off_limits(address: Address) -> bool:
    """Whether nothing is ever fetched from an address: link-local ones and those of clouds' metadata services."""
    return any(
        one.is_link_local or one.is_multicast or one.is_unspecified or any(one in place for place in _METADATA_SERVICES)
        for one in _meanings(address)
    )


def _literal(host: str) -> Address | None:
    """Return the address that a host is written as, or None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _mapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for (RFC 4291 §2.5.5.2), or the address itself."""
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _meanings(address: Address) -> Iterator[Address]:
    """Yield an address and every IPv4 one that a translator or tunnel may take it for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.sixtofour is not None:
            yield address.sixtofour
        if any(address in network for network in _ENDING_IN_IPV4):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
