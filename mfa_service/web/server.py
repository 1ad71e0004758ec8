"""The HTTP server: aiohttp's own, which makes the service's connections and waits for them to end."""

import asyncio
from typing import Any, cast

from aiohttp import http_parser, web

from mfa_service.web.answers import WireFormat
from mfa_service.web.connection import Connection, Dispatcher
from mfa_service.web.limits import Limits

_LOOK_EVERY_S = 0.02


class Server(web.Server):
    """Makes the connections.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.

    Attributes:
        is_ending: whether every connection ends with its next answer, which says so (RFC 9112 §9.6). To be set before
            the server closes, so that no caller sends a request into a connection that is being closed.
    """

    def __init__(self, dispatch: Dispatcher, limits: Limits) -> None:
        super().__init__(cast("Any", dispatch))  # which the connections call themselves
        self._dispatch = dispatch
        self._wire = WireFormat()
        self._limits = limits
        self.is_ending = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self, dispatch=self._dispatch, wire=self._wire, limits=self._limits, loop=self._loop)

    async def end(self, *, idle_s: float, timeout_s: float) -> None:
        """Wait until every connection has ended; nothing may listen for new ones any more.

        Args:
            idle_s: for which a connection may stay on which nothing is asked.
            timeout_s: after which those that are left are left, in seconds.
        """
        self.is_ending = True
        began_s = self._loop.time()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)  # first of all: the connection accepted last is not here yet
            waited_s = self._loop.time() - began_s
            if not self.connections or waited_s >= timeout_s:
                return
            if waited_s >= idle_s:
                for connection in self.connections:
                    if isinstance(connection, Connection):
                        connection.end_if_idle()


def parses_in_c() -> bool:
    """Whether aiohttp's parser in C reads the requests here, and not its slower one in Python."""
    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


def build_server(dispatch: Dispatcher, limits: Limits) -> Server:
    """Return a server, inside a running event loop, as `aiohttp.web.ServerRunner` takes it.

    Args:
        dispatch: answers the requests.
        limits: the bounds of each connection.
    """
    return Server(dispatch, limits)
