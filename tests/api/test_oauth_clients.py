"""OAuth clients and token libraries that nobody here wrote, used as their manuals say: they get tokens, and call."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import joserfc.jwt
import jwt
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session
from yarl import URL

from mfa_service.model import SCOPE_ENROLL
from tests.api.conftest import Serve
from tests.api.service import BASE, Caller, Service, serving
from tests.clocks import ManualClock

DISCOVERY = "/.well-known/oauth-authorization-server"
PUBLIC_URL = "https://mfa.example"
DEVICES = f"{BASE}/users/alice/mfadevices"
NO_DEVICE = "10003"
"""What a listing without devices is answered, by whoever has the scope."""


@pytest.fixture
def clock() -> ManualClock:
    """The present time, as the libraries take it from this machine."""
    return ManualClock(time.time_ns() // 1_000_000)


class Proxy(httpx2.AsyncBaseTransport):
    """What ends TLS in front of a service: the service is at its public URL."""

    def __init__(self, service: Service) -> None:
        self._to = URL(service.url)
        self._through = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass a request on."""
        assert str(request.url).startswith(f"{PUBLIC_URL}/")
        request.url = request.url.copy_with(scheme="http", host=self._to.host, port=self._to.port)
        return await self._through.handle_async_request(request)

    async def aclose(self) -> None:
        """Close."""
        await self._through.aclose()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_authlib_finds_the_service_gets_a_token_and_calls(serve: Serve, method: str) -> None:
    service = await serve({"http.public_url": PUBLIC_URL, "tokens.public_issuer": PUBLIC_URL})
    shop = await service.onboard()
    async with httpx2.AsyncClient(transport=Proxy(service)) as plain:
        metadata = AuthorizationServerMetadata((await plain.get(f"{PUBLIC_URL}{DISCOVERY}")).json())
    metadata.validate()
    assert metadata["issuer"] == PUBLIC_URL
    assert method in metadata.token_endpoint_auth_methods_supported
    async with AsyncOAuth2Client(
        shop.application.client_id,
        shop.client_secret,
        token_endpoint_auth_method=method,
        transport=Proxy(service),
        **metadata,
    ) as client:
        token = await client.fetch_token(grant_type="client_credentials")
        assert (token["token_type"], token.is_expired()) == ("Bearer", False)
        answer = await client.get(f"{PUBLIC_URL}{DEVICES}")
        assert (answer.status_code, answer.json()["code"]) == (404, NO_DEVICE)


async def discovered(service: Service, url: str) -> AuthorizationServerMetadata:
    """Find an issuer by its URL as RFC 8414 §3 says.

    Raises:
        ValueError: its metadata is none, or that of another issuer (§3.3).
    """
    async with httpx2.AsyncClient(transport=Proxy(service)) as plain:
        metadata = AuthorizationServerMetadata((await plain.get(get_well_known_url(url, external=True))).json())
    metadata.validate()
    if metadata["issuer"] != url:
        raise ValueError("the metadata is another issuer's")
    return metadata


async def test_a_strict_client_discovers_the_service_by_its_public_issuer_alone(serve: Serve) -> None:
    named = await serve({"http.public_url": PUBLIC_URL, "tokens.public_issuer": PUBLIC_URL})
    metadata = await discovered(named, PUBLIC_URL)
    assert metadata["token_endpoint"] == f"{PUBLIC_URL}{BASE}/oauth2/token"


async def test_without_a_public_issuer_there_is_nothing_to_discover(serve: Serve) -> None:
    unnamed = await serve({"http.public_url": PUBLIC_URL})
    with pytest.raises(ValueError, match="issuer"):
        await discovered(unnamed, PUBLIC_URL)


async def test_a_public_issuer_ends_the_tokens_before_it_and_a_new_one_is_there_for_the_asking(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with serving(tmp_path, clock) as before:
        shop = await before.onboard()
        old = await shop.bearer()
    async with serving(tmp_path, clock, {"tokens.public_issuer": PUBLIC_URL}) as after:
        response = await after.send("GET", "/users/alice/mfadevices", headers=old)
        assert response.outcome == (401, "10002")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        assert (await Caller(after, shop.application, shop.client_secret).devices()).outcome == (404, NO_DEVICE)


async def test_authlib_renews_a_token_that_has_ended(service: Service, shop: Caller, clock: ManualClock) -> None:
    async with AsyncOAuth2Client(
        shop.application.client_id,
        shop.client_secret,
        token_endpoint=f"{service.url}{BASE}/oauth2/token",
        grant_type="client_credentials",
    ) as client:
        first = await client.fetch_token()
        client.token["expires_at"] = 0
        clock.advance(3_700)
        await service.duties.do()
        answer = await client.get(f"{service.url}{DEVICES}")
        assert answer.json()["code"] == NO_DEVICE
        assert client.token["access_token"] != first["access_token"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_authlib_on_requests_gets_a_token_of_one_scope(service: Service, shop: Caller, method: str) -> None:
    def act() -> tuple[Mapping[str, Any], int]:
        with AuthlibSession(
            shop.application.client_id,
            shop.client_secret,
            scope=SCOPE_ENROLL,
            token_endpoint_auth_method=method,
        ) as client:
            token = client.fetch_token(f"{service.url}{BASE}/oauth2/token", grant_type="client_credentials")
            return token, client.post(f"{service.url}{BASE}/deviceAuthentications", json={}).status_code

    token, status = await asyncio.to_thread(act)
    assert (token["scope"], status) == (SCOPE_ENROLL, 403)


@pytest.mark.parametrize("path", ["/oauth2/token", "/get/token"])
@pytest.mark.parametrize("in_body", [False, True], ids=["client_secret_basic", "client_secret_post"])
async def test_requests_oauthlib_gets_a_token_and_calls(
    service: Service, shop: Caller, monkeypatch: pytest.MonkeyPatch, path: str, *, in_body: bool
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # plain HTTP, on this machine

    def act() -> tuple[Mapping[str, Any], Any]:
        client_id = shop.application.client_id
        with OAuth2Session(client=BackendApplicationClient(client_id=client_id)) as session:
            token = session.fetch_token(
                token_url=f"{service.url}{BASE}{path}",
                client_id=client_id,
                client_secret=shop.client_secret,
                include_client_id=in_body or None,
            )
            return token, session.get(f"{service.url}{DEVICES}").json()

    token, answered = await asyncio.to_thread(act)
    assert (token["token_type"], answered["code"]) == ("Bearer", NO_DEVICE)


async def test_requests_oauthlib_reads_a_refusal(
    service: Service, shop: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")

    def act() -> str:
        client_id = shop.application.client_id
        with OAuth2Session(client=BackendApplicationClient(client_id=client_id)) as session:
            with pytest.raises(Exception, match="invalid_client") as refusal:
                session.fetch_token(f"{service.url}{BASE}/oauth2/token", client_id=client_id, client_secret="wrong")
            return str(refusal.type.__name__)

    assert await asyncio.to_thread(act) == "InvalidClientError"


def by_pyjwt(url: str, token: str, issuer: str) -> Mapping[str, Any]:
    """Check a token by PyJWT's client of key sets."""
    key = jwt.PyJWKClient(f"{url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["RS256", "ES256", "EdDSA"], issuer=issuer, audience=issuer)


def published(url: str) -> KeySet:
    """The service's keys as joserfc reads them."""
    return KeySet.import_key_set(httpx2.get(f"{url}/.well-known/jwks.json").json())


def by_joserfc(url: str, token: str, issuer: str) -> Mapping[str, Any]:
    """Check a token by joserfc."""
    found = joserfc.jwt.decode(token, published(url), algorithms=["RS256", "ES256", "EdDSA"])
    assert found.header["typ"] == "at+jwt"
    joserfc.jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": issuer},
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
        sub={"essential": True},
        client_id={"essential": True},
    ).validate(found.claims)
    return found.claims


def by_authlib(url: str, token: str, issuer: str) -> Mapping[str, Any]:
    """Check a token by Authlib's validator of RFC 9068."""

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self) -> KeySet:
            return published(url)

    validator = Validator(issuer=issuer, resource_server=issuer)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, [SCOPE_ENROLL], request=None)
    return claims


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated:joserfc.errors.SecurityWarning")  # RFC 9864 renames it
@pytest.mark.parametrize(
    ("algorithm", "check"),
    [
        *(("RS256", check) for check in (by_pyjwt, by_joserfc, by_authlib)),
        *(("ES256", check) for check in (by_pyjwt, by_joserfc, by_authlib)),
        *(("EdDSA", check) for check in (by_pyjwt, by_joserfc)),  # Authlib's validator does not know the name
    ],
)
async def test_a_library_takes_a_token_by_the_published_keys(
    serve: Serve, algorithm: str, check: Callable[[str, str, str], Mapping[str, Any]]
) -> None:
    service = await serve({"tokens.signing_algorithm": algorithm})
    shop = await service.onboard()
    issuer = (await service.send("GET", DISCOVERY)).json["issuer"]
    claims = await asyncio.to_thread(check, service.url, await shop.token(), issuer)
    assert claims["client_id"] == claims["sub"] == shop.application.client_id
