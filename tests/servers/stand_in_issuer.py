"""An issuer of access tokens on this machine that does as it is told: slow, down, garbled, rotated, or right."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mfa_service.ports import Clock
from tests.servers.valkey import free_port
from tests.unit.access.forging import sign

Key = RSAKey | ECKey | OKPKey
Act = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

AUDIENCE = "https://mfa.example/api"
KEYS = "/keys"
METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
_NUMBERS = itertools.count(1)


def new_key(kid: str) -> ECKey:
    """A key on an elliptic curve, which is made in a moment."""
    return ECKey.generate_key("P-256", {"kid": kid})


class StandInIssuer:
    """An issuer.

    Attributes:
        keys: what it publishes; it signs with the last one, by ES256 unless told otherwise.
        key_set: what it publishes in their place, where it is not None.
        metadata: what it says of itself beside its own name and the address of its keys, or in their place.
        acts: path → what is done there in place of what is right.
        headers: of the answer with its keys.
        asked: how often each path was.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.keys: Sequence[Key] = [new_key("first")]
        self.key_set: Sequence[object] | None = None
        self.metadata: Mapping[str, object] = {}
        self.acts: dict[str, Act] = {}
        self.headers: Mapping[str, str] = {}
        self.asked: Counter[str] = Counter()
        self._runner: web.ServerRunner | None = None

    @property
    def issuer(self) -> str:
        """Its identifier."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, object]:
        """The settings of a service that takes its tokens."""
        return {"tokens.issuer": self.issuer, "tokens.audience": AUDIENCE}

    async def start(self) -> None:
        """Begin to answer."""
        self._runner = web.ServerRunner(web.Server(self._answer, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Refuse connections; without effect where it does."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def public_keys(self) -> list[object]:
        """The JWKs of its keys."""
        return [key.as_dict(private=False) for key in self.keys]

    def token(
        self,
        clock: Clock,
        client_id: str = "shop",
        *,
        key: Key | None = None,
        algorithm: str = "ES256",
        header: Mapping[str, object] | None = None,
        claims: Mapping[str, object] | None = None,
    ) -> str:
        """An access token, with members of header and claims changed; None leaves one out."""
        key = self.keys[-1] if key is None else key
        now_s = clock.now_ms() // 1000
        good_header = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid, **(header or {})}
        good_claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": client_id,
            "client_id": client_id,
            "iat": now_s,
            "exp": now_s + 3_600,
            "jti": str(next(_NUMBERS)),
            "scope": "mfa:enroll mfa:authenticate",
            **(claims or {}),
        }
        return sign(_given(good_header), _given(good_claims), key, algorithm=algorithm)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked[request.path] += 1
        act = self.acts.get(request.path)
        if act is not None:
            return await act(request)
        if request.path == METADATA:
            own = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"}
            return web.json_response({**own, **self.metadata})
        if request.path == KEYS:
            listed = self.public_keys() if self.key_set is None else self.key_set
            return web.json_response({"keys": listed}, headers=self.headers)
        return web.Response(status=404)


def _given(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


@asynccontextmanager
async def stand_in_issuer(*, running: bool = True) -> AsyncIterator[StandInIssuer]:
    """Give an issuer that is stopped at the end of the block."""
    issuer = StandInIssuer(free_port())
    try:
        if running:
            await issuer.start()
        yield issuer
    finally:
        await issuer.stop()


def answering(content: object, *, status: int = 200, **headers: str) -> Act:
    """Answer with these bytes, or with the JSON of an object."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    async def act(_: web.BaseRequest) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=named)

    return act


def redirecting(location: str, *, status: int = 302) -> Act:
    """Answer with another address."""

    async def act(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return act


def pouring(megabytes: int, *, poured: list[int], announced: bool = False) -> Act:
    """Answer with so many mebibytes of blanks, and note how many bytes were taken."""
    piece = b" " * 65_536

    async def act(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        if announced:
            answer.content_length = megabytes << 20
        await answer.prepare(request)
        poured.append(0)
        for _ in range((megabytes << 20) // len(piece)):
            await answer.write(piece)
            poured[-1] += len(piece)
        return answer

    return act


def waiting(seconds: float) -> Act:
    """Answer nothing for so long, and then nothing of use."""

    async def act(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(status=500)

    return act
