"""A request as the server hands it on: its head as the parser read it, its body, and the connection it came on."""

import asyncio

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage


class Request(web.BaseRequest):
    """A request whose parts are plain attributes.

    aiohttp's own constructor prepares what nobody asks for here, and its properties take longer than what they give.

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
    """

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        self.head = message
        self.body = payload
        self.connection = protocol
        # What aiohttp itself goes by, while it serves the connection and where that is lost.
        self._payload = payload
        self._payload_writer = writer
        self._task = task
