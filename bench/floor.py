"""The floor: what aiohttp itself costs, as an application that parses the same body and answers a fixed one."""

import asyncio
import os
import signal
import socket
import sys

import orjson
import uvloop
from aiohttp import web

_ANSWER = orjson.dumps(
    {
        "authId": "00000000-0000-4000-8000-000000000000",
        "status": "SUCCESS",
        "message": "Please get the OTP from registered device to authenticate",
    }
)
_BACKLOG = 1024


async def _answer(request: web.Request) -> web.Response:
    await request.json()
    return web.Response(status=201, body=_ANSWER, content_type="application/json")


async def _serve(listener: socket.socket) -> None:
    application = web.Application()
    application.router.add_post("/ciam-mfa/v2/deviceAuthentications", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    print(f'{{"event":"serving","port":{listener.getsockname()[1]}}}', file=sys.stderr, flush=True)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await runner.cleanup()


def main(workers: int) -> None:
    """Serve with so many processes on one port of the system's choice.

    SIGTERM ends one of them: whoever started them ends their group.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        for _ in range(workers - 1):
            if not os.fork():
                break
        uvloop.run(_serve(listener))


if __name__ == "__main__":
    main(int(sys.argv[1]))
