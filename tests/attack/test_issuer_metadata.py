"""Attacks by and through what an issuer publishes: another one's metadata and keys, and the service's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, RSAKey

from mfa_service import opening
from mfa_service import settings as settings_module
from mfa_service.access import outside
from mfa_service.ops.health import Health
from tests.api.conftest import Serve
from tests.api.outside import OutsideCaller, onboarded_from
from tests.api.service import Caller, Duties, serving
from tests.attack.cases import attack
from tests.attack.outcomes import NO_DEVICE, NO_TOKEN, OUT_OF_REACH
from tests.attack.scale import times
from tests.attack.watching import listening, watched
from tests.clocks import ManualClock
from tests.servers.stand_in_issuer import (
    AUDIENCE,
    KEYS,
    METADATA,
    OPENID,
    StandInIssuer,
    answering,
    new_key,
    redirecting,
    stand_in_issuer,
    waiting,
)
from tests.servers.valkey import Deployment
from tests.unit.access.forging import base64url, hmac_signed

TAKEN = NO_DEVICE  # the answer to a good token that asks for a user without devices
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@asynccontextmanager
async def asked_for_keys(
    folder: Path, clock: ManualClock, issuer: StandInIssuer
) -> AsyncIterator[tuple[Health, Duties]]:
    """Open the keys of an issuer as a process does; give what it says of them, and its duties."""
    settings = settings_module.load(
        config_path=None, environment={}, flags={"data_dir": str(folder), **issuer.settings}
    ).settings
    health, duties = Health(("issuer",)), Duties()
    async with opening.open_issuer(settings, clock=clock, watch=health.watch, keep_doing=duties.keep_doing):
        yield health, duties
    await health.close()


async def readiness(health: Health) -> str:
    """What a process says of the issuer."""
    return (await health.report()).checks["issuer"]


@attack("K-01")
@pytest.mark.parametrize("change", ["{}/", "{}/x", "{}:443", " {}", "HTTP{4}", "http://localhost{port}", "https{4}"])
async def test_an_issuer_that_names_itself_otherwise_makes_the_service_unready(
    serve: Serve, clock: ManualClock, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    async with stand_in_issuer() as issuer:
        own = issuer.issuer
        named = change.replace("{4}", own[4:]).replace("{port}", f":{issuer.port}").replace("{}", own)
        assert named != own
        issuer.metadata = {"issuer": named}
        service = await serve(issuer.settings)
        shop = await onboarded_from(service, issuer)
        assert await shop.asks(await shop.token()) == OUT_OF_REACH
        assert await shop.asks(issuer.token(clock, claims={"iss": named})) == OUT_OF_REACH
        assert not issuer.asked[KEYS]
        async with asked_for_keys(tmp_path, clock, issuer) as (health, _):
            assert await readiness(health) == "its metadata names another issuer"
        lines = [line for line in capsys.readouterr().out.splitlines() if "issuer_unusable" in line]
        assert lines
        assert all(named.strip() in line and own in line for line in lines)


@attack("K-02")
@pytest.mark.parametrize(
    "url",
    [
        *("http://issuer.example/keys", "http://10.0.0.1/keys", "file:///etc/passwd", "ftp://issuer.example/keys"),
        *("data:application/json,{}", "gopher://localhost/", "https://user:password@issuer.example/keys", "//keys", ""),
        *("https://169.254.169.254/latest/meta-data", "http://169.254.169.254/", "https://[fe80::1]/keys", "/keys"),
        *(
            "https://[::ffff:a9fe:a9fe]/keys",
            "https://[fd00:ec2::254]/",
            "https://100.100.100.200/",
            "https://0.0.0.0/",
        ),
    ],
)
async def test_no_key_is_fetched_from_where_an_issuer_should_not_send_anybody(
    clock: ManualClock, tmp_path: Path, url: str
) -> None:
    async with stand_in_issuer() as issuer:
        issuer.metadata = {"jwks_uri": url}
        with watched() as seen:
            async with asked_for_keys(tmp_path, clock, issuer) as (health, _):
                assert (await readiness(health)).startswith("the address of its keys ")
        connections = [line for line in seen if line.startswith(("open", "socket.connect", "socket.getaddrinfo"))]
        assert not any(("passwd" in line) or ("issuer.example" in line) for line in connections)
    assert not issuer.asked[KEYS]


@attack("K-03")
async def test_a_new_key_is_taken_within_the_cool_down_whoever_asks_for_others_meanwhile(serve: Serve) -> None:
    async with stand_in_issuer() as issuer:
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        clock = shop.service.clock
        issuer.keys = [*issuer.keys, new_key("second")]
        token = await shop.token()
        for waited_s in range(31):
            for number in range(5):
                unknown = issuer.token(clock, key=new_key(f"nobody's-{waited_s}-{number}"))
                assert await shop.asks(unknown) == NO_TOKEN
            if await shop.asks(token) == TAKEN:
                break
            await shop.service.advance(1)
        assert waited_s <= 30
        assert issuer.asked[KEYS] == 2


@attack("K-04")
async def test_a_start_without_keys_is_survived_and_mended_without_another(
    serve: Serve, clock: ManualClock, tmp_path: Path
) -> None:
    async with stand_in_issuer() as issuer:
        issuer.acts[KEYS] = answering(b"", status=503)
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        assert await shop.asks(await shop.token()) == OUT_OF_REACH
        async with asked_for_keys(tmp_path, clock, issuer) as (health, duties):
            assert await readiness(health) == "answers 503"
            issuer.acts.clear()
            await shop.service.advance(5)
            await duties.do()
            assert await readiness(health) == "ok"
        assert await shop.asks(await shop.token()) == TAKEN


@attack("K-05")
async def test_keys_that_take_half_a_minute_slow_nobody_down(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "HttpFetch", partial(outside.HttpFetch, within_s=1.0))
    async with stand_in_issuer() as issuer:
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        token = await shop.token()
        usual = await percentile_s(shop, token)
        issuer.acts[KEYS] = waiting(30)
        shop.service.clock.advance(280)
        await shop.service.duties.do(but="issuer")
        look = asyncio.ensure_future(shop.service.duties.do())
        unknown = asyncio.ensure_future(shop.asks(issuer.token(shop.service.clock, key=new_key("unknown"))))
        meanwhile = await percentile_s(shop, token)
        assert not look.done()
        assert await unknown == NO_TOKEN
        await look
        assert meanwhile < usual + 0.1


async def percentile_s(shop: OutsideCaller, token: str) -> float:
    """How long nine in ten of some requests take at most."""
    taken = []
    for _ in range(30):
        began_s = time.perf_counter()
        assert await shop.asks(token) == TAKEN
        taken.append(time.perf_counter() - began_s)
    return sorted(taken)[len(taken) * 9 // 10]


def short_rsa_key() -> tuple[RSAKey, dict[str, object]]:
    """An RSA key of 1024 bits, and its JWK."""
    private = generate_private_key(65537, 1024)  # noqa: S505  too short on purpose
    numbers = private.public_key().public_numbers()
    jwk: dict[str, object] = {"kty": "RSA", "kid": "odd", "n": base64url(numbers.n.to_bytes(128, "big")), "e": "AQAB"}
    return RSAKey(private, private, {}), jwk


@attack("J-16", "K-06")
@pytest.mark.parametrize(
    ("members", "algorithm"),
    [
        ({"use": "enc"}, "RS256"),
        ({"alg": "RS512"}, "RS256"),
        ({"alg": "PS256"}, "RS256"),
        ({"alg": "RSA-OAEP"}, "RS256"),
        ({"alg": "HS256"}, "RS256"),
        ({}, "RS512"),
        ({}, "PS256"),
        ({"key_ops": ["encrypt"]}, "RS256"),
        ({"kid": None}, "RS256"),
        ({"kid": 1}, "RS256"),
        ({"kty": "EC"}, "RS256"),
        ({"kty": "XYZ"}, "RS256"),
    ],
)
async def test_a_key_that_is_not_for_tokens_verifies_none(
    serve: Serve, members: dict[str, object], algorithm: str
) -> None:
    key = RSAKey.generate_key(2048)
    changed = {**key.as_dict(private=False), "kid": "odd", **members}
    await verifies_nothing(serve, {name: one for name, one in changed.items() if one is not None}, key, algorithm)


@attack("J-16")
async def test_a_short_key_verifies_no_token(serve: Serve) -> None:
    key, jwk = short_rsa_key()
    await verifies_nothing(serve, jwk, key, "RS256")


async def verifies_nothing(serve: Serve, jwk: dict[str, object], key: RSAKey, algorithm: str) -> None:
    """Publish an odd key beside a good one: its tokens are refused, the good one's taken."""
    async with stand_in_issuer() as issuer:
        issuer.key_set = [jwk, *issuer.public_keys()]
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        odd = issuer.token(shop.service.clock, key=key, algorithm=algorithm, header={"kid": "odd"})
        assert await shop.asks(odd) == NO_TOKEN
        assert await shop.asks(await shop.token()) == TAKEN


@attack("J-16", "K-06")
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
async def test_a_shared_secret_among_the_keys_verifies_no_token(serve: Serve, digest: str) -> None:
    algorithm = f"HS{digest[3:]}"
    secret = OctKey.generate_key(512, {"kid": "secret", "alg": algorithm})
    async with stand_in_issuer() as issuer:
        [good] = issuer.keys
        issuer.key_set = [secret.as_dict(private=True), *issuer.public_keys()]
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        now_s = shop.service.clock.now_ms() // 1000
        times_s = {"iat": now_s, "exp": now_s + 60}
        claims = {"iss": issuer.issuer, "aud": AUDIENCE, "sub": "shop", "client_id": "shop", "jti": "1", **times_s}
        assert isinstance(good, ECKey)
        pem = good.get_op_key("verify").public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for kid, octets in (("secret", secret.raw_value), ("first", pem), ("first", b""), ("", b"")):
            header = {"alg": algorithm, "typ": "at+jwt", "kid": kid}
            assert await shop.asks(hmac_signed(header, claims, octets, digest)) == NO_TOKEN
        assert await shop.asks(await shop.token()) == TAKEN


@attack("K-06")
async def test_of_two_keys_with_one_id_neither_verifies_a_token(serve: Serve) -> None:
    async with stand_in_issuer() as issuer:
        issuer.keys = [new_key("twin"), new_key("twin"), new_key("single")]
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        for key, outcome in zip(issuer.keys, (NO_TOKEN, NO_TOKEN, TAKEN), strict=True):
            assert await shop.asks(issuer.token(shop.service.clock, key=key)) == outcome


@attack("K-07")
async def test_the_service_publishes_public_members_alone_and_its_right_name(caller: Caller) -> None:
    service = caller.service
    keys = await service.send("GET", "/.well-known/jwks.json")
    metadata = await service.send("GET", "/.well-known/oauth-authorization-server")
    assert keys.json["keys"]
    for key in keys.json["keys"]:
        assert not key.keys() & PRIVATE_MEMBERS
        assert key["use"] == "sig"
    for answer in (keys, metadata):
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"].startswith("application/json")
    elsewhere = await service.send("GET", "/.well-known/oauth-authorization-server", headers={"Host": "evil.example"})
    assert elsewhere.json == metadata.json
    assert b"evil" not in elsewhere.body


@attack("K-08")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_host_is_not_gone_to(serve: Serve, status: int) -> None:
    async with stand_in_issuer() as issuer, listening() as elsewhere:
        shop = await onboarded_from(await serve(issuer.settings), issuer)
        token = await shop.token()
        to_elsewhere = redirecting(f"{elsewhere.url}/keys", status=status)
        issuer.acts = dict.fromkeys((METADATA, OPENID, KEYS), to_elsewhere)
        for _ in range(3):
            await shop.service.advance(280)
            assert await shop.asks(token) == TAKEN
        assert issuer.asked[KEYS] == 2
        assert elsewhere.connections == 0


@attack("R-12")
async def test_no_valid_token_is_refused_while_two_workers_read_an_issuer_s_keys_anew(
    tmp_path: Path, clock: ManualClock, valkey: Deployment
) -> None:
    async with stand_in_issuer() as issuer:
        flags = {**issuer.settings, "redis.url": valkey.url, "redis.key_prefix": "outside-keys"}
        async with serving(tmp_path, clock, flags) as first, serving(tmp_path, clock, flags) as second:
            one = await onboarded_from(first, issuer)
            other = OutsideCaller(second, one.application, issuer)

            async def outcomes(tokens: Sequence[str]) -> set[object]:
                """What both workers say to tokens while they read the keys."""
                for service in (first, second):
                    await service.duties.do(but="issuer")
                asked = [caller.asks(token) for token in tokens for caller in (one, other) for _ in range(5)]
                _, _, *found = await asyncio.gather(first.duties.do(), second.duties.do(), *asked)
                return set(found)

            old, new = issuer.keys[0], new_key("second")
            tokens = [issuer.token(clock, key=old)]
            for published, signing in (([old], old), ([old, new], old), ([old, new], new)):
                issuer.keys = published
                for _ in range(times(4)):
                    clock.advance(75)
                    tokens.append(issuer.token(clock, key=signing))
                    assert await outcomes(tokens) == {TAKEN}
            issuer.keys = [new]
            clock.advance(280)
            await asyncio.gather(first.duties.do(), second.duties.do())
            removed, left = issuer.token(clock, key=old), issuer.token(clock, key=new)
            assert await outcomes([removed, tokens[0]]) == {NO_TOKEN}
            assert await outcomes([left, tokens[-1]]) == {TAKEN}
