"""The addresses that a node listens on, taken before anything else is done: a taken port is told at once."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mfa_service.errors import SettingsInvalid

BACKLOG: Final = 1_024
"""How many connections may wait at each socket to be taken."""

# What the system keeps of a connection that the other side does not read from; Linux would let it grow to megabytes.
_UNSENT_BYTES = 32_768
_UNREAD_BYTES = 16_384

_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port of the settings with a socket for each of the host's addresses, bound and not listening yet.

    Attributes:
        section: of the settings.
        host: as set.
        port: as set; 0 for any.
        sockets: at least one, all of one port.
    """

    section: str
    host: str
    port: int
    sockets: Sequence[socket.socket]

    @property
    def bound_port(self) -> int:
        """The port that it is."""
        return int(self.sockets[0].getsockname()[1])

    def refusal(self, error: OSError) -> SettingsInvalid:
        """Return what to tell an operator where the address cannot be listened on."""
        return _refusal(self.section, self.host, self.port, error)

    def close(self) -> None:
        """Let the address go."""
        for one in self.sockets:
            one.close()


def bind(section: str, host: str, port: int) -> Address:
    """Take an address.

    Args:
        section: of the settings that name it.
        host: a name or an address.
        port: 0 takes a free one.

    Raises:
        SettingsInvalid: it is taken, or none of this machine's.
    """
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            taken = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_bound(family, kind, protocol, (address[0], taken, *address[2:])))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error  # a name may have an address of a family that this machine does without
        if absent is not None and not bound:
            raise absent
    except OSError as error:
        for one in bound:
            one.close()
        raise _refusal(section, host, port, error) from None
    return Address(section, host, port, bound)


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setblocking(False)  # noqa: FBT003  its only parameter
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed a moment ago is free
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the same port of IPv4 has its own socket
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one


def _refusal(section: str, host: str, port: int, error: OSError) -> SettingsInvalid:
    reason = (error.strerror or str(error)).lower()
    return SettingsInvalid(f"{section}.host, {section}.port: cannot listen on {host}:{port}: {reason}")
