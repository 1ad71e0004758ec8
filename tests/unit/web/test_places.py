"""How many requests a worker works on at once: beyond, it refuses, and goes on with all others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from mfa_service.model import Device, IssuedToken, Owner, Principal, TokenRequest
from mfa_service.web.places import Places
from mfa_service.web.refusals import Overloaded
from mfa_service.web.service import Limits, Server
from tests.unit.web.stand_ins import BASE, BEARER, TOKENS, Api, Behind, Response, Serve, Wire

HEADERS = f"HTTP/1.1\r\nHost: mfa.example\r\nAuthorization: {BEARER['Authorization']}\r\n"
LISTING = f"GET {BASE}/users/alice/mfadevices {HEADERS}\r\n".encode()
JSON = "Content-Type: application/json\r\nContent-Length: 9\r\n"
SLOW = f"POST {BASE}/deviceAuthentications {HEADERS}{JSON}\r\n{{".encode()
REMOVAL = f"{BASE}/users/alice/mfadevices/TOTP/all"
ANOTHER = {"Authorization": "Bearer another"}
ANOTHERS_LISTING = LISTING.replace(b"both", b"another")
ENDING = {**BEARER, "Connection": "close"}
CREDENTIALS = b"grant_type=client_credentials&client_id=client-1&client_secret=secret"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FORM_HEADERS = f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: {len(CREDENTIALS)}\r\n"
TOKEN_PATH = f"{BASE}/oauth2/token"
TOKEN_CALL = f"POST {TOKEN_PATH} HTTP/1.1\r\nHost: mfa.example\r\n{FORM_HEADERS}\r\n".encode() + CREDENTIALS
DOCUMENTS = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server")
COUNT, OF_ONE, WITHOUT_TOKEN = 4, 3, 1
PAUSE_S = 0.5


class Busy(Behind):
    """Rules whose listing takes until it is let go on, as a token call does; each step is told."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()
        self.verified = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)

    async def verify(self, token: str) -> Principal:
        self.verified.release()
        if token == "another":
            return Principal("app-2", "client-2", TOKENS["both"])
        return await super().verify(token)

    async def issue(self, request: TokenRequest) -> IssuedToken:
        self.begun.release()
        await self.may_end.wait()
        return await super().issue(request)

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
    return await serve(limits=Limits(requests=COUNT), registration=rules, verifier=rules, issuer=rules)


@asynccontextmanager
async def crowd(api: Api, rules: Busy, request: bytes = LISTING, count: int = OF_ONE) -> AsyncIterator[list[Wire]]:
    """As many requests under way as one application, or all without a token, may have."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(api.connect()) for _ in range(count)]
        for wire in wires:
            await wire.send(request)
            await asyncio.wait_for(rules.begun.acquire(), 5)
        yield wires


def now_s() -> float:
    return asyncio.get_running_loop().time()


def assert_overloaded(response: Response) -> None:
    assert (response.status, response.json["code"]) == (503, "10015")
    assert response.header("Retry-After") == "1"
    assert response.header("Connection") is None


async def test_beyond_its_places_an_application_is_refused(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules) as wires:
        assert_overloaded(await busy.call("DELETE", REMOVAL, headers=BEARER))
        assert {name for name, *_ in rules.calls} == {"verify"}
        rules.may_end.set()
        assert [(await wire.response()).status for wire in wires] == [200] * OF_ONE
    assert (await busy.call("DELETE", REMOVAL, headers=BEARER)).status == 204


async def test_others_find_a_place_beside_it(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules):
        assert (await busy.call("DELETE", REMOVAL, headers=ANOTHER)).status == 204


async def test_one_application_s_token_calls_take_no_place_from_others(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules), crowd(busy, rules, TOKEN_CALL, WITHOUT_TOKEN):
        assert_overloaded(await busy.call("POST", TOKEN_PATH, CREDENTIALS, FORM))
        assert (await busy.call("DELETE", REMOVAL, headers=ANOTHER)).status == 204


async def test_token_calls_have_their_places_however_much_is_asked_with_tokens(busy: Api, rules: Busy) -> None:
    async with (
        crowd(busy, rules),
        crowd(busy, rules, ANOTHERS_LISTING, COUNT - OF_ONE),
        crowd(busy, rules, TOKEN_CALL, WITHOUT_TOKEN) as wires,
    ):
        rules.may_end.set()
        assert [(await wire.response()).status for wire in wires] == [200] * WITHOUT_TOKEN


async def test_documents_need_no_place(busy: Api, rules: Busy) -> None:
    async with (
        crowd(busy, rules),
        crowd(busy, rules, ANOTHERS_LISTING, COUNT - OF_ONE),
        crowd(busy, rules, TOKEN_CALL, WITHOUT_TOKEN),
    ):
        for path in DOCUMENTS:
            assert (await busy.call("GET", path)).status == 200


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


async def test_a_refusal_comes_after_a_while_and_others_requests_behind_it_at_once(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules), busy.connect() as wire:
        asked_at_s = now_s()
        await wire.send(LISTING)
        assert_overloaded(await wire.response())
        refused_at_s = now_s()
        assert refused_at_s - asked_at_s > 0.9 * PAUSE_S
        await wire.send(ANOTHERS_LISTING)  # by a proxy, which takes the connection for free now
        await rules.begun.acquire()
        rules.may_end.set()
        assert (await wire.response()).status == 200
        assert now_s() - refused_at_s < 0.5 * PAUSE_S


async def test_a_refusal_that_ends_its_connection_comes_at_once(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules):
        asked_at_s = now_s()
        response = await busy.call("DELETE", REMOVAL, headers=ENDING)
        assert (response.status, response.header("Connection")) == (503, "close")
        assert now_s() - asked_at_s < 0.5 * PAUSE_S


async def test_a_refusal_held_back_while_the_server_ends_says_so_and_holds_it_up_no_longer(
    busy: Api, rules: Busy
) -> None:
    async with crowd(busy, rules) as wires, busy.connect() as wire:
        await wire.send(LISTING)
        for _ in range(OF_ONE + 1):
            await rules.verified.acquire()
        rules.may_end.set()
        assert [(await answered.response()).status for answered in wires] == [200] * OF_ONE
        ending = asyncio.create_task(cast("Server", busy.server).end(idle_s=0, timeout_s=5))
        began_at_s = now_s()
        response = await wire.response()
        assert (response.status, response.header("Connection")) == (503, "close")
        await ending
        assert now_s() - began_at_s < 2 * PAUSE_S


async def test_a_caller_who_goes_before_its_refusal_comes_is_no_fault(busy: Api, rules: Busy) -> None:
    async with crowd(busy, rules):
        async with busy.connect() as wire:
            await wire.send(LISTING)
            for _ in range(OF_ONE + 1):
                await rules.verified.acquire()
        await asyncio.sleep(1.1 * PAUSE_S)
    assert rules.faults == busy.behind.faults == []


def test_one_application_gets_three_quarters_of_the_places_and_token_calls_as_many_as_the_last_quarter_has() -> None:
    limits = Limits(requests=1_024)
    assert (limits.requests_of_one, limits.requests_without_token) == (768, 256)


def test_one_holder_gets_its_part_and_all_together_the_whole() -> None:
    places = Places(8, of_one=6)
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
    places = Places(4, of_one=3)
    for _ in range(5):
        for holder in ("shop", "shop", None, "bank"):
            places.take(holder)
        for holder in ("bank", "shop", None, "shop"):
            places.leave(holder)
