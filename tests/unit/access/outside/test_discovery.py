"""Where an issuer says its keys are."""

import json
from collections.abc import Mapping

import pytest

from mfa_service.access.outside.addresses import parse
from mfa_service.access.outside.discovery import find_keys_url, metadata_urls
from mfa_service.access.outside.documents import Document, Unusable

ISSUER = "https://issuer.example/realms/one"
OAUTH = "https://issuer.example/.well-known/oauth-authorization-server/realms/one"
OPENID = "https://issuer.example/realms/one/.well-known/openid-configuration"
KEYS = "https://issuer.example/keys"
GOOD = {"issuer": ISSUER, "jwks_uri": KEYS}


class Web:
    """Documents by their URLs; what is not there is not there.

    Attributes:
        asked: the URLs, in order.
    """

    def __init__(self, documents: Mapping[str, object]) -> None:
        self._documents = documents
        self.asked: list[str] = []

    async def __call__(self, url: str) -> Document:
        self.asked.append(url)
        if url not in self._documents:
            raise Unusable("answers 404")
        content = self._documents[url]
        return Document(content if isinstance(content, bytes) else json.dumps(content).encode())


async def refusal(documents: Mapping[str, object], issuer: str = ISSUER) -> str:
    with pytest.raises(Unusable) as refused:
        await find_keys_url(issuer, Web(documents))
    assert refused.value.__cause__ is None
    return str(refused.value)


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (ISSUER, (OAUTH, OPENID)),
        (f"{ISSUER}/", (OAUTH, OPENID)),
        *(
            (
                f"https://issuer.example:8443{slash}",
                (
                    "https://issuer.example:8443/.well-known/oauth-authorization-server",
                    "https://issuer.example:8443/.well-known/openid-configuration",
                ),
            )
            for slash in ("", "/")
        ),
    ],
)
def test_metadata_has_two_addresses(issuer: str, urls: tuple[str, str]) -> None:
    assert metadata_urls(parse(issuer)) == urls


async def test_the_first_address_that_fits_counts() -> None:
    web = Web({OAUTH: GOOD, OPENID: {"issuer": "https://evil.example"}})
    assert await find_keys_url(ISSUER, web) == KEYS
    assert web.asked == [OAUTH]


@pytest.mark.parametrize("at_first", [None, b"<html>", b"[]", {}, {"jwks_uri": KEYS}, {**GOOD, "issuer": "x"}])
async def test_openid_s_address_is_asked_where_nothing_fits_at_the_first(at_first: object) -> None:
    documents = {OPENID: GOOD, **({} if at_first is None else {OAUTH: at_first})}
    assert await find_keys_url(ISSUER, Web(documents)) == KEYS


@pytest.mark.parametrize(
    "named",
    [
        *(
            "https://issuer.example/realms/one/",
            "https://ISSUER.example/realms/one",
            "https://issuer.example/Realms/one",
        ),
        *("https://issuer.example:443/realms/one", "http://issuer.example/realms/one", "issuer.example/realms/one"),
        *(None, "", 1, [ISSUER], {"issuer": ISSUER}, "https://evil.example", f" {ISSUER}", "x" * 10_000),
    ],
    ids=lambda named: repr(named)[:50],
)
async def test_an_issuer_that_names_itself_otherwise_is_refused_and_both_names_are_told(named: object) -> None:
    for place in (OAUTH, OPENID):
        with pytest.raises(Unusable, match="its metadata names another issuer") as refused:
            await find_keys_url(ISSUER, Web({place: {**GOOD, "issuer": named}}))
        assert refused.value.details == {"expected_issuer": ISSUER, "named_issuer": str(named)[:200]}


async def test_a_slash_at_the_end_of_the_setting_is_part_of_the_name() -> None:
    assert await refusal({OAUTH: GOOD}, f"{ISSUER}/") == "its metadata names another issuer"
    assert await find_keys_url(f"{ISSUER}/", Web({OAUTH: {**GOOD, "issuer": f"{ISSUER}/"}})) == KEYS


@pytest.mark.parametrize("named", [None, 1, [], [KEYS], {}])
async def test_metadata_without_an_address_of_keys_is_refused(named: object) -> None:
    assert await refusal({OAUTH: {**GOOD, "jwks_uri": named}}) == "its metadata names no address of keys"


@pytest.mark.parametrize(
    "named",
    [
        *("", "/keys", "http://issuer.example/keys", "file:///etc/passwd", "ftp://issuer.example/keys", "data:,{}"),
        *("https://u:p@issuer.example/keys", "https://169.254.169.254/keys", "https://127.0.0.1/keys"),
    ],
)
async def test_an_address_of_keys_that_is_never_asked_is_refused(named: str) -> None:
    assert (await refusal({OAUTH: {**GOOD, "jwks_uri": named}})).startswith("the address of its keys ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"null", b"[" * 100_000, b'"text"'])
async def test_garbage_is_no_metadata(content: bytes) -> None:
    assert await refusal({OAUTH: content, OPENID: content}) == "its metadata is none"
    assert await refusal({}) == "answers 404"
