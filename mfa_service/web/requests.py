"""A request as the server hands it on: its head as the parser read it, its body, and the connection it came on."""

import asyncio

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage


class Request:
    """A request, in place of aiohttp's: that one prepares at length what nobody here asks for.

    Args:
        message: the head.
        payload: the body.
        protocol: the connection.
        writer: aiohttp's way to write the answer.
        task: serves the connection.

    Attributes:
        head: method, target, version and fields.
        body: what has come in of it, and what is still to come.
        connection: what it came on.
        writer: tells whether an answer has begun.
    """

    __slots__ = ("_task", "body", "connection", "head", "writer")

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None] | None,
    ) -> None:
        self.head = message
        self.body = payload
        self.connection = protocol
        self.writer = writer
        self._task = task  # aiohttp lets go of it when the request is answered

    def _cancel(self, fault: BaseException) -> None:
        """Have who waits for the rest of the body end: aiohttp says that there will be none."""
        self.body.set_exception(fault)

    def _finish(self) -> None:
        """Do nothing: aiohttp says that the request is answered, and nothing of it is left to clear away."""
