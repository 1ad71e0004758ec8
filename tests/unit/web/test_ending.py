"""A server that ends: callers on open connections are told, and what has begun is finished."""

import asyncio
from typing import cast

from mfa_service.web.service import Server
from tests.unit.web.stand_ins import BASE, Api

LISTING = (
    f"GET {BASE}/users/alice/mfadevices HTTP/1.1\r\nHost: mfa.example\r\nAuthorization: Bearer both\r\n\r\n".encode()
)


def server_of(api: Api) -> Server:
    return cast("Server", api.server)


async def test_an_open_connection_ends_with_its_next_answer_which_says_so(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(LISTING)
        assert (await wire.response()).header("Connection") is None
        server_of(api).is_ending = True
        await wire.send(LISTING)
        response = await wire.response()
        assert (response.status, response.header("Connection")) == (200, "close")
        assert await wire.is_closed()
    await server_of(api).end(idle_s=5, timeout_s=5)


async def test_a_connection_on_which_nothing_is_asked_is_closed_after_a_while(api: Api) -> None:
    async with api.connect() as fresh, api.connect() as used:
        await used.send(LISTING)
        await used.response()
        await asyncio.wait_for(server_of(api).end(idle_s=0.05, timeout_s=5), 2)
        assert await fresh.is_closed()
        assert await used.is_closed()


async def test_a_request_that_has_begun_is_waited_for_until_the_time_is_up(api: Api) -> None:
    async with api.connect() as wire:
        await wire.send(LISTING[:40])
        await asyncio.sleep(0.05)
        await asyncio.wait_for(server_of(api).end(idle_s=0.01, timeout_s=0.1), 2)  # gives up, and leaves it
        ending = asyncio.create_task(server_of(api).end(idle_s=0.01, timeout_s=5))
        await wire.send(LISTING[40:])
        response = await wire.response()
        assert (response.status, response.header("Connection")) == (200, "close")
        await asyncio.wait_for(ending, 2)
