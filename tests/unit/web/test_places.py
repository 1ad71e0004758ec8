"""How many requests a worker works on at once: beyond, it refuses at once, and goes on with all others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from mfa_service.model import Device, Owner, Principal
from mfa_service.web.places import Places
from mfa_service.web.refusals import Overloaded
from mfa_service.web.service import Limits
from tests.unit.web.stand_ins import BASE, BEARER, Api, Behind, Response, Serve, Wire

HEADERS = f"HTTP/1.1\r\nHost: mfa.example\r\nAuthorization: {BEARER['Authorization']}\r\n"
LISTING = f"GET {BASE}/users/alice/mfadevices {HEADERS}\r\n".encode()
JSON = "Content-Type: application/json\r\nContent-Length: 9\r\n"
SLOW = f"POST {BASE}/deviceAuthentications {HEADERS}{JSON}\r\n{{".encode()
REMOVAL = f"{BASE}/users/alice/mfadevices/TOTP/all"
KEYS = "/.well-known/jwks.json"
COUNT, OF_ONE = 4, 3


class Busy(Behind):
    """Rules whose listing takes until it is let go on; each step is told."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()
        self.verified = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)

    async def verify(self, token: str) -> Principal:
        self.verified.release()
        return await super().verify(token)

    async def devices_of(self, owner: Owner) -> Sequence[Device]:
        self.begun.release()
        await self.may_end.wait()
        self.ended.release()
        return await super().devices_of(owner)


@pytest.fixture
def rules() -> Busy:
    return Busy()


@pytest.fixture
async def busy(serve: Serve, rules: Busy) -> Api:
    """A server with few places."""
    return await serve(limits=Limits(requests=COUNT), registration=rules, verifier=rules)


@asynccontextmanager
async def crowd(api: Api, rules: Busy) -> AsyncIterator[list[Wire]]:
    """As many requests of one application under way as it may have."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(api.connect()) for _ in range(OF_ONE)]
        for wire in wires:
            await wire.send(LISTING)
            await rules.begun.acquire()
        yield wires


def assert_overloaded(response: Response) -> None:
    assert (response.status, response.json["code"]) == (503, "10015")
    assert response.header("Retry-After") == "1"
    assert response.header("Connection") is None


async def test_beyond_its_places_an_application_is_refused_at_once(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules) as wires:
        assert_overloaded(await busy.call("DELETE", REMOVAL, headers=BEARER))
        assert {name for name, *_ in rules.calls} == {"verify"}
        rules.may_end.set()
        assert [(await wire.response()).status for wire in wires] == [200] * OF_ONE
    assert (await busy.call("DELETE", REMOVAL, headers=BEARER)).status == 204


async def test_others_find_a_place_beside_it(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules):
        assert (await busy.call("GET", KEYS)).status == 200


async def test_a_request_whose_body_is_not_here_yet_has_no_place(busy: Api, rules: Busy) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(COUNT):
            await (await stack.enter_async_context(busy.connect())).send(SLOW)
            await rules.verified.acquire()
        assert (await busy.call("DELETE", REMOVAL, headers=BEARER)).status == 204


async def test_a_failed_request_gives_its_place_back(busy: Api, rules: Busy) -> None:
    rules.error = RuntimeError()
    for _ in range(COUNT + 1):
        assert (await busy.call("DELETE", REMOVAL, headers=BEARER)).status == 500


async def test_a_caller_who_has_gone_gives_its_place_back(busy: Api, rules: Busy) -> None:
    for _ in range(COUNT + 1):
        async with busy.connect() as wire:
            await wire.send(LISTING)
            await rules.begun.acquire()
        rules.may_end.set()
        await rules.ended.acquire()
        rules.may_end.clear()


async def test_a_refused_connection_takes_no_further_request_for_a_while(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules), busy.connect() as wire:
        await wire.send(LISTING)
        assert_overloaded(await wire.response())
        rules.may_end.set()
        refused_at_s = asyncio.get_running_loop().time()
        await wire.send(LISTING)
        assert (await wire.response()).status == 200
        assert asyncio.get_running_loop().time() - refused_at_s > 0.4


def test_one_holder_gets_three_quarters_and_all_together_the_whole() -> None:
    places = Places(8)
    for _ in range(6):
        places.take("shop")
    with pytest.raises(Overloaded):
        places.take("shop")
    places.take("bank")
    places.take(None)
    with pytest.raises(Overloaded):
        places.take("bank")
    places.leave("shop")
    places.take("bank")
    with pytest.raises(Overloaded):
        places.take("shop")


def test_all_places_come_back() -> None:
    places = Places(4)
    for _ in range(5):
        for holder in ("shop", "shop", None, "bank"):
            places.take(holder)
        for holder in ("bank", "shop", None, "shop"):
            places.leave(holder)
