"""The least a server can do, the same answer to whatever comes: here the generator reaches what it ever can."""

import asyncio
import signal
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 20\r\n\r\n" + b'{"status":"SUCCESS"}'


class _Responder(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, _: bytes) -> None:
        self._transport.write(ANSWER)  # one request is under way on a connection, and comes in one piece


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Responder, "127.0.0.1", 0)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    print(f'{{"event":"serving","port":{server.sockets[0].getsockname()[1]}}}', file=sys.stderr, flush=True)
    await told.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
