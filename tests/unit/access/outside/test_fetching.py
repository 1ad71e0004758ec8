"""Documents over HTTP from a server on this machine that does what it should not."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from mfa_service.access.outside import HttpFetch, open_session
from mfa_service.access.outside.addresses import parse
from mfa_service.access.outside.documents import Document, Unusable
from mfa_service.access.outside.fetching import _max_age_s, _Resolver
from tests.servers.stand_in_issuer import (
    StandInIssuer,
    answering,
    pouring,
    redirecting,
    stand_in_issuer,
    waiting,
)

MOST_BYTES = 256 * 1024


@pytest.fixture
async def server() -> AsyncIterator[StandInIssuer]:
    async with stand_in_issuer() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session("http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def fetch(session: aiohttp.ClientSession) -> HttpFetch:
    return HttpFetch(session)


async def refusal(fetch: HttpFetch, url: str) -> str:
    with pytest.raises(Unusable) as refused:
        await fetch(url)
    return str(refused.value)


async def test_a_document_comes_with_how_long_it_is_fresh(server: StandInIssuer, fetch: HttpFetch) -> None:
    server.acts["/a"] = answering(b"text", Cache_Control="public, max-age=120")
    assert await fetch(f"{server.issuer}/a") == Document(b"text", 120)
    server.acts["/a"] = answering(b"text")
    assert await fetch(f"{server.issuer}/a") == Document(b"text", None)


async def test_the_url_goes_out_as_it_is_written_and_nothing_of_this_service_with_it(
    server: StandInIssuer, fetch: HttpFetch
) -> None:
    seen: list[tuple[str, set[str]]] = []

    async def note(request: web.BaseRequest) -> web.Response:
        seen.append((request.raw_path, set(request.headers)))
        return web.Response(headers={"Set-Cookie": "a=b"})

    server.acts["/a/b"] = note
    for _ in range(2):
        await fetch(f"{server.issuer}/a%2Fb?p=%7e")
    names = {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}
    assert seen == [("/a%2Fb?p=%7e", names)] * 2


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 401, 404, 429, 500, 503])
async def test_any_other_answer_than_200_is_none(server: StandInIssuer, fetch: HttpFetch, status: int) -> None:
    server.acts["/a"] = answering(b"" if status in (204, 304) else b"{}", status=status)
    told = await refusal(fetch, f"{server.issuer}/a")
    assert told == ("leads in circles" if status == 301 else f"answers {status}")


async def test_a_document_has_a_most_size(server: StandInIssuer, fetch: HttpFetch) -> None:
    server.acts["/a"] = answering(b"x" * MOST_BYTES)
    assert len((await fetch(f"{server.issuer}/a")).content) == MOST_BYTES
    server.acts["/a"] = answering(b"x" * (MOST_BYTES + 1))
    assert await refusal(fetch, f"{server.issuer}/a") == "answers too much"


@pytest.mark.parametrize("announced", [True, False])
async def test_of_fifty_mebibytes_hardly_any_are_taken(
    server: StandInIssuer, fetch: HttpFetch, *, announced: bool
) -> None:
    poured: list[int] = []
    server.acts["/a"] = pouring(50, poured=poured, announced=announced)
    assert await refusal(fetch, f"{server.issuer}/a") == "answers too much"
    assert poured[0] < 16 << 20  # what the sockets between the two hold


async def test_nothing_is_unpacked(server: StandInIssuer, fetch: HttpFetch) -> None:
    server.acts["/a"] = answering(gzip.compress(b"x" * 10_000_000), Content_Encoding="gzip")
    assert await refusal(fetch, f"{server.issuer}/a") == "answers in a coding that was not asked for"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_the_host_is_followed(server: StandInIssuer, fetch: HttpFetch, status: int) -> None:
    server.acts["/a"] = redirecting("/b", status=status)
    server.acts["/b"] = redirecting(f"{server.issuer}/c?d", status=status)
    server.acts["/c"] = answering(b"text")
    assert (await fetch(f"{server.issuer}/a")).content == b"text"


async def test_a_redirect_to_another_host_or_port_is_not_followed(server: StandInIssuer, fetch: HttpFetch) -> None:
    async with stand_in_issuer() as other:
        for location in (f"{other.issuer}/b", f"//127.0.0.1:{other.port}/b", f"http://localhost:{server.port}/b"):
            server.acts["/a"] = redirecting(location)
            assert await refusal(fetch, f"{server.issuer}/a") == "leads to another host"
        assert not other.asked
    assert server.asked == {"/a": 3}


@pytest.mark.parametrize(
    "location", ["https://evil.example/", "https://[", "file:///etc/passwd", "http://evil.example"]
)
async def test_a_redirect_to_nowhere_good_is_not_followed(
    server: StandInIssuer, fetch: HttpFetch, location: str
) -> None:
    server.acts["/a"] = redirecting(location)
    assert await refusal(fetch, f"{server.issuer}/a")
    assert server.asked == {"/a": 1}


async def test_redirects_in_circles_end(server: StandInIssuer, fetch: HttpFetch) -> None:
    server.acts["/a"] = redirecting("/a")
    assert await refusal(fetch, f"{server.issuer}/a") == "leads in circles"
    assert server.asked == {"/a": 4}


async def test_a_document_comes_in_time_or_not_at_all(server: StandInIssuer, session: aiohttp.ClientSession) -> None:
    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b" ")
            await asyncio.sleep(0.05)
        return answer

    hasty = HttpFetch(session, within_s=0.2)
    server.acts |= {"/slow": waiting(30), "/drip": drip}
    for path in ("/slow", "/drip"):
        began_s = time.monotonic()
        assert await refusal(hasty, f"{server.issuer}{path}") == "does not answer in time"
        assert time.monotonic() - began_s < 2


async def test_what_does_not_speak_http_is_out_of_reach(fetch: HttpFetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert await refusal(fetch, f"http://127.0.0.1:{port}/") == "is out of reach"
    assert await refusal(fetch, "https://no-such-host.invalid/") == "is out of reach"
    assert await refusal(fetch, f"https://{'a' * 64}.example/") == "is out of reach"


async def test_plain_http_is_spoken_with_no_other_machine(fetch: HttpFetch) -> None:
    assert await refusal(fetch, "http://issuer.example/") == "must be of https, or of http on this machine"


@pytest.mark.parametrize(
    ("cache_control", "max_age_s"),
    [
        *(("", None), ("public", None), ("max-age", None), ("max-age=x", None), ("x-max-age=5", None)),
        *(("max-age=5", 5), ("public, MAX-AGE=5,x", 5), ('max-age="5"', 5), ("s-maxage=7, max-age=5", 5)),
        *(("no-store", 0), ("no-cache, max-age=5", 0), ('no-cache="x"', 0), ("max-age=99999999999", None)),
    ],
)
def test_cache_control_is_read(cache_control: str, max_age_s: int | None) -> None:
    assert _max_age_s(cache_control) == max_age_s


class Names(AbstractResolver):
    """Finds the same addresses for any name.

    Attributes:
        asked: the names, in order.
    """

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        family = socket.AF_INET
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self._addresses
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        *((one, "never asked") for one in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::")),
        *((one, "never asked") for one in ("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%1", "64:ff9b::")),
        *((one, "this machine") for one in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")),
        *((one, "this machine") for one in ("2002:7f00:1::", "::7f00:1")),
    ],
)
async def test_a_name_leads_nowhere_that_its_issuer_could_not_name_by_address(address: str, reason: str) -> None:
    names = Names("10.0.0.1", address)
    async with open_session("https://issuer.example", names=names) as session:
        assert reason in await refusal(HttpFetch(session), "https://keys.example/")
    assert names.asked == ["keys.example"]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
async def test_an_address_in_an_odd_form_is_not_asked_for(host: str) -> None:
    names = Names("127.0.0.1")
    async with open_session("https://issuer.example", names=names) as session:
        assert await refusal(HttpFetch(session), f"https://{host}/") == "is malformed"
    assert not names.asked


async def test_an_issuer_on_this_machine_alone_may_name_another_place_on_it(server: StandInIssuer) -> None:
    server.acts["/a"] = answering(b"text")
    named = f"http://localhost:{server.port}/a"
    async with open_session(server.issuer, names=Names("127.0.0.1")) as session:
        assert (await HttpFetch(session)(named)).content == b"text"
    for issuer in ("https://issuer.example", f"https://issuer.example:{server.port}"):
        async with open_session(issuer, names=Names("127.0.0.1")) as session:
            assert await refusal(HttpFetch(session), named) == "leads to this machine"
    assert server.asked == {"/a": 1}


async def test_an_issuer_whose_own_name_leads_to_this_machine_is_asked_at_its_own_port_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with open_session(f"https://Issuer.example:{port}", names=Names("127.0.0.1")) as session:
        fetch = HttpFetch(session)
        assert await refusal(fetch, f"https://issuer.example:{port}/keys") == "is out of reach"  # nobody listens
        assert await refusal(fetch, f"https://issuer.example.:{port}/keys") == "is out of reach"
        assert await refusal(fetch, f"https://issuer.example:{port + 1}/keys") == "leads to this machine"
        assert await refusal(fetch, f"https://keys.issuer.example:{port}/") == "leads to this machine"


async def test_names_may_lead_to_a_company_s_own_network() -> None:
    resolver = _Resolver(
        Names("10.0.0.1", "192.168.1.1", "fd00::1", "64:ff9b::a00:1"), by=parse("https://issuer.example")
    )
    assert len(await resolver.resolve("keys.example", 443)) == 4
