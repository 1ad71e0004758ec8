"""A request as the connection hands it on: its head as the parser read it, its body, and the connection it came on."""

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage


class Request:
    """A request, in place of aiohttp's: that one prepares at length what nobody here asks for.

    Args:
        message: the head.
        payload: the body.
        connection: what it came on.

    Attributes:
        head: method, target, version and fields.
        body: what has come in of it, and what is still to come.
        connection: what it came on.
    """

    __slots__ = ("body", "connection", "head")

    def __init__(self, message: RawRequestMessage, payload: StreamReader, connection: web.RequestHandler) -> None:
        self.head = message
        self.body = payload
        self.connection = connection

    def _cancel(self, fault: BaseException) -> None:
        """Have who waits for the rest of the body end: aiohttp says that there will be none."""
        self.body.set_exception(fault)
