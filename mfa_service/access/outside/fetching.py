"""Documents over HTTP, by aiohttp's client: bounded in bytes and seconds, and never from another host than asked."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mfa_service.access.outside import addresses
from mfa_service.access.outside.documents import Document, Unusable
from mfa_service.hostnames import HostNames

_MOST_BYTES: Final = 256 * 1024
_WITHIN_S: Final = 5.0
_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})\"?(?=$|[\s,])", re.ASCII | re.IGNORECASE)
_STALE_AT_ONCE: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?=$|[\s,=])", re.ASCII | re.IGNORECASE)
_CONNECTIONS: Final = 4


class HttpFetch:
    """Gets documents over HTTP (`Fetch`).

    Args:
        session: of `open_session`.
        within_s: for one document with all its redirects, in seconds.
    """

    def __init__(self, session: aiohttp.ClientSession, *, within_s: float = _WITHIN_S) -> None:
        self._session = session
        self._within_s = within_s

    async def __call__(self, url: str) -> Document:
        """Return what is at a URL, as the port says."""
        try:
            async with asyncio.timeout(self._within_s):
                return await self._document(url)
        except TimeoutError:
            raise Unusable("does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError):  # ValueError: what is no header field, no host, no URL
            raise Unusable("is out of reach") from None

    async def _document(self, url: str) -> Document:
        asked = addresses.parse(url)
        for _ in range(_MOST_REDIRECTS + 1):
            # The URL goes out as it stands: quoting it anew could change what it names.
            async with self._session.get(URL(url, encoded=True), allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    return await _read(answer)
                url = urljoin(url, answer.headers.get("Location", ""))
                if not addresses.is_same_origin(asked, addresses.parse(url)):
                    raise Unusable("leads to another host")
        raise Unusable("leads in circles")


@asynccontextmanager
async def open_session(issuer: str, *, names: AbstractResolver | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """Open what an issuer's documents are fetched with: no cookies, no proxy, no credentials, no connection kept.

    Args:
        issuer: its identifier, a URL that `addresses` lets pass.
        names: looks up the names of hosts; by default as the system does.
    """
    resolver = _Resolver(HostNames() if names is None else names, by=addresses.parse(issuer))
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, force_close=True, resolver=resolver, family=socket.AF_UNSPEC)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        # What comes is no larger than what is counted: nothing is unpacked.
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mfa-service"},
        trust_env=False,
    ) as session:
        yield session


async def _read(answer: aiohttp.ClientResponse) -> Document:
    if answer.status != HTTPStatus.OK:
        raise Unusable(f"answers {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unusable("answers in a coding that was not asked for")
    if (answer.content_length or 0) > _MOST_BYTES:
        raise Unusable("answers too much")
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > _MOST_BYTES:
            raise Unusable("answers too much")
    return Document(bytes(content), _max_age_s(",".join(answer.headers.getall("Cache-Control", ()))))


def _max_age_s(cache_control: str) -> int | None:
    """Return for how long an answer is fresh (RFC 9111 §5.2.2), or None where it does not say."""
    if _STALE_AT_ONCE.search(cache_control):
        return 0
    said = _MAX_AGE.search(cache_control)
    return None if said is None else int(said.group(1))


class _Resolver(AbstractResolver):
    """Looks up names, and lets none pass that leads to where an issuer may not send anybody, whatever it is called.

    Args:
        names: looks them up.
        by: the issuer's own URL.
    """

    def __init__(self, names: AbstractResolver, *, by: SplitResult) -> None:
        self._names = names
        self._by = by

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be asked.

        Raises:
            Unusable: one of them may not be.
            OSError: it has none.
        """
        found = await self._names.resolve(host, port, family)
        for one in found:
            addresses.refuse_resolved(ipaddress.ip_address(one["host"]), host, port, by=self._by)
        return found

    async def close(self) -> None:
        """End."""
        await self._names.close()
