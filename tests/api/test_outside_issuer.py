"""Access tokens of another issuer, over HTTP from both sides."""

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mfa_service import opening
from mfa_service import settings as settings_module
from mfa_service.access import outside
from mfa_service.access.outside import keys as keys_module
from mfa_service.model import KeyPurpose
from mfa_service.ops.health import Health
from mfa_service.ports import Clock
from tests.api.conftest import Serve
from tests.api.outside import OutsideCaller, onboarded_from
from tests.api.service import Duties, serving
from tests.attack.setups import RealTime
from tests.clocks import ManualClock
from tests.servers import oidc_provider as provider_module
from tests.servers.oidc_provider import OidcProvider
from tests.servers.service_process import running
from tests.servers.stand_in_issuer import (
    KEYS,
    METADATA,
    OPENID,
    Act,
    Key,
    StandInIssuer,
    answering,
    new_key,
    pouring,
    redirecting,
    stand_in_issuer,
    waiting,
)

GOOD = (404, "10003")  # the user has no device: the token was taken
REFUSED = (401, "10002")
AWAY = (503, "10015")
NO_ROUTE = (404, "10034")
SLOW_S = 0.5  # no answer here takes as long


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service fetches has to come within half a second."""
    monkeypatch.setattr(outside, "HttpFetch", partial(outside.HttpFetch, within_s=0.5))


@pytest.fixture
async def issuer() -> AsyncIterator[StandInIssuer]:
    async with stand_in_issuer() as started:
        yield started


@pytest.fixture
async def shop(serve: Serve, issuer: StandInIssuer) -> OutsideCaller:
    """An application of the issuer on a service that takes its tokens."""
    return await onboarded_from(await serve(issuer.settings), issuer)


async def new_look(caller: OutsideCaller) -> None:
    """Let the time come when the issuer's keys are read again."""
    await caller.service.advance(280)


# What an application sees


async def test_the_three_steps_go_with_another_issuer_s_tokens(shop: OutsideCaller) -> None:
    phone = await shop.enrolled()
    answer = await shop.validate(await shop.challenge(), phone.code())
    assert answer.status == 200


async def test_nothing_is_left_of_the_embedded_issuer(shop: OutsideCaller) -> None:
    service = shop.service
    for path in ("/get/token", "/oauth2/token"):
        for method in ("POST", "GET"):
            assert (await service.send(method, path, data=shop.grant)).outcome == NO_ROUTE
    for document in ("jwks.json", "oauth-authorization-server", "openid-configuration"):
        assert (await service.send("GET", f"/.well-known/{document}")).outcome == NO_ROUTE
    purposes = {record.purpose for record in await service.registry.keys.all()}
    assert KeyPurpose.SIGNING not in purposes
    assert KeyPurpose.SEALING in purposes


async def test_a_token_is_for_its_application_s_scopes_alone(shop: OutsideCaller, issuer: StandInIssuer) -> None:
    token = issuer.token(shop.service.clock, claims={"scope": "mfa:authenticate openid"})
    assert await shop.asks(token) == (403, "10033")


async def test_an_application_that_is_not_onboarded_or_disabled_is_refused(
    shop: OutsideCaller, issuer: StandInIssuer
) -> None:
    service = shop.service
    assert await shop.asks(issuer.token(service.clock, "bank")) == REFUSED
    token = await shop.token()
    assert await shop.asks(token) == GOOD
    await service.registry.applications.set_disabled(shop.application.id, disabled=True)
    await service.advance(0.5)
    assert await shop.asks(token) == REFUSED


async def test_a_token_older_than_the_application_s_onboarding_is_refused(
    shop: OutsideCaller, issuer: StandInIssuer
) -> None:
    service = shop.service
    token = issuer.token(service.clock, "bank")
    await service.advance(11)
    bank = await onboarded_from(service, issuer, "bank")
    assert await bank.asks(token) == REFUSED
    assert await bank.asks(await bank.token()) == GOOD


async def test_quotas_hold_for_them_too(serve: Serve, issuer: StandInIssuer) -> None:
    flags = {**issuer.settings, "quota.requests_per_s": 10, "quota.burst": 10}
    shop = await onboarded_from(await serve(flags), issuer)
    token = await shop.token()
    outcomes = [await shop.asks(token) for _ in range(30)]
    assert set(outcomes) == {GOOD, (429, "10035")}


async def test_the_settings_say_where_a_token_names_its_application_and_its_scope(
    serve: Serve, issuer: StandInIssuer
) -> None:
    flags = {
        **issuer.settings,
        "tokens.profile": "relaxed",
        "tokens.client_claim": "appid",
        "tokens.scope_claim": "roles",
        "tokens.scope_map": "Devices.Enroll=mfa:enroll Login=mfa:authenticate",
    }
    shop = await onboarded_from(await serve(flags), issuer)
    less = {"client_id": None, "jti": None, "scope": None, "appid": "shop"}

    def token(**claims: object) -> str:
        return issuer.token(shop.service.clock, header={"typ": "JWT"}, claims={**less, **claims})

    assert await shop.asks(token(roles=["Devices.Enroll"])) == GOOD
    assert await shop.asks(token(roles=["Login"])) == (403, "10033")
    assert await shop.asks(token(roles=["mfa:enroll"])) == (403, "10033")
    assert await shop.asks(token(roles=["Devices.Enroll"], appid="bank")) == REFUSED
    assert await shop.asks(token(roles=["Devices.Enroll"], nonce="of an ID token")) == REFUSED


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        *((algorithm, lambda: RSAKey.generate_key(2048)) for algorithm in ("RS256", "RS384", "RS512")),
        *((algorithm, lambda: RSAKey.generate_key(2048)) for algorithm in ("PS256", "PS384", "PS512")),
        ("ES256", lambda: ECKey.generate_key("P-256")),
        ("ES384", lambda: ECKey.generate_key("P-384")),
        ("ES512", lambda: ECKey.generate_key("P-521")),
        ("EdDSA", lambda: OKPKey.generate_key("Ed25519")),
    ],
)
async def test_every_algorithm_of_the_list_is_taken_and_each_key_has_one(
    serve: Serve, issuer: StandInIssuer, algorithm: str, make: Callable[[], Key]
) -> None:
    key = make()
    issuer.key_set = [{**key.as_dict(private=False), "kid": "a", "alg": algorithm}]
    shop = await onboarded_from(await serve(issuer.settings), issuer)
    clock = shop.service.clock
    assert await shop.asks(issuer.token(clock, key=key, algorithm=algorithm, header={"kid": "a"})) == GOOD
    for other in {"RS256", "PS256", "ES256", "none", "HS256"} - {algorithm}:
        lying = issuer.token(clock, key=key, algorithm=algorithm, header={"kid": "a", "alg": other})
        assert await shop.asks(lying) == REFUSED


# Keys that change


async def test_a_new_key_is_taken_at_once_and_a_removed_one_for_five_minutes_at_most(
    shop: OutsideCaller, issuer: StandInIssuer
) -> None:
    old = await shop.token()
    assert await shop.asks(old) == GOOD
    issuer.keys = [*issuer.keys, new_key("second")]
    await shop.service.advance(30)
    new = await shop.token()
    assert await shop.asks(new) == GOOD
    issuer.keys = issuer.keys[1:]
    assert await shop.asks(old) == GOOD
    await new_look(shop)
    assert [await shop.asks(old), await shop.asks(new)] == [REFUSED, GOOD]


async def test_a_key_replaced_under_its_id_no_longer_verifies_what_it_did(
    shop: OutsideCaller, issuer: StandInIssuer
) -> None:
    old = await shop.token()
    assert await shop.asks(old) == GOOD
    issuer.keys = [new_key("first")]
    await new_look(shop)
    assert [await shop.asks(old), await shop.asks(await shop.token())] == [REFUSED, GOOD]


# An issuer that fails


def faults() -> dict[str, Act]:
    key_set = {"keys": [{"kty": "EC", "kid": "first"}] * 101}
    return {
        "slow": waiting(30),
        "failing": answering(b"", status=500),
        "gone": answering(b"", status=404),
        "garbage": answering(b"\x00\xff{"),
        "a page": answering(b"<html>sign in</html>"),
        "no key set": answering({"error": "x"}),
        "no keys": answering({"keys": []}),
        "no key that is taken": answering({"keys": [{"kty": "oct", "kid": "first", "k": "AAAA"}]}),
        "too many keys": answering(key_set),
        "fifty mebibytes": pouring(50, poured=[]),
        "fifty mebibytes announced": pouring(50, poured=[], announced=True),
        "another host": redirecting("https://evil.example/keys"),
        "in circles": redirecting(KEYS),
    }


@pytest.mark.alone
@pytest.mark.parametrize("fault", faults())
async def test_known_keys_work_and_nothing_slows_down_while_the_issuer_fails(
    shop: OutsideCaller, issuer: StandInIssuer, fault: str
) -> None:
    token, service = await shop.token(), shop.service
    issuer.acts[KEYS] = faults()[fault]
    issuer.keys = [new_key("second")]
    unknown = issuer.token(service.clock)
    service.clock.advance(280)
    await service.duties.do(but="issuer")
    looking = asyncio.ensure_future(service.duties.do())
    slowest_s, asked = 0.0, 0
    while not looking.done() or asked < 20:
        began_s = time.perf_counter()
        assert await shop.asks(token) == GOOD
        slowest_s, asked = max(slowest_s, time.perf_counter() - began_s), asked + 1
        await asyncio.sleep(0.02)
    await looking
    assert slowest_s < SLOW_S
    looks = issuer.asked[KEYS]
    began_s = time.perf_counter()
    for _ in range(10):
        assert await shop.asks(unknown) == REFUSED
    assert time.perf_counter() - began_s < SLOW_S
    assert issuer.asked[KEYS] == looks
    del issuer.acts[KEYS]
    await service.advance(30)
    assert [await shop.asks(unknown), await shop.asks(token)] == [GOOD, REFUSED]


async def test_a_redirect_within_the_issuer_s_host_is_followed(shop: OutsideCaller, issuer: StandInIssuer) -> None:
    issuer.acts[KEYS] = redirecting("/moved")
    issuer.keys = [new_key("second")]
    issuer.acts["/moved"] = answering({"keys": issuer.public_keys()})
    await new_look(shop)
    assert await shop.asks(await shop.token()) == GOOD


async def test_an_hour_without_the_issuer_costs_known_keys_nothing(shop: OutsideCaller, issuer: StandInIssuer) -> None:
    await issuer.stop()
    for minute in range(60):
        if minute % 10 == 0:
            token = await shop.token()
        for _ in range(4):
            await shop.service.advance(15)
            assert await shop.asks(token) == GOOD
            assert await shop.asks(issuer.token(shop.service.clock, key=new_key(f"unknown-{minute}"))) == REFUSED


# A start without the issuer


async def test_without_keys_tokens_are_answered_503_until_the_issuer_is_there(serve: Serve) -> None:
    async with stand_in_issuer(running=False) as issuer:
        service = await serve(issuer.settings)
        shop = await onboarded_from(service, issuer)
        answer = await service.send("GET", "/users/a/mfadevices", headers=await shop.bearer())
        assert (answer.outcome, answer.headers["Retry-After"]) == (AWAY, "1")
        assert (await service.send("GET", "/users/a/mfadevices", headers={"Authorization": "Bearer x"})).status == 401
        assert (await service.send("GET", "/users/a/mfadevices")).status == 401
        assert (await service.send("GET", "/nowhere")).outcome == NO_ROUTE
        await issuer.start()
        await service.advance(5)
        assert await shop.asks(await shop.token()) == GOOD


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (answering(b"", status=500), "answers 500"),
        (answering(b"<html>"), "its metadata is none"),
        (answering({"issuer": "http://127.0.0.1/"}), "its metadata names another issuer"),
        (waiting(30), "does not answer in time"),
    ],
)
async def test_readiness_says_what_is_wrong_with_the_issuer_and_recovers(
    tmp_path: Path, clock: ManualClock, issuer: StandInIssuer, act: Act, reason: str
) -> None:
    issuer.acts = {METADATA: act, OPENID: act}
    settings = settings_module.load(
        config_path=None, environment={}, flags={"data_dir": str(tmp_path), **issuer.settings}
    ).settings
    health, duties = Health(opening.watched(settings)), Duties()
    async with opening.open_issuer(settings, clock=clock, watch=health.watch, keep_doing=duties.keep_doing):
        assert (await health.report()).checks == {
            **dict.fromkeys(opening.WATCHED, "starting"),
            "issuer": reason,
        }
        issuer.acts = {}
        clock.advance(5)
        await duties.do()
        assert (await health.report()).checks["issuer"] == "ok"
    await health.close()


def ready(url: str) -> tuple[int, dict[str, str]]:
    """What the operations port says."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:  # noqa: S310  of this machine
            return answer.status, json.load(answer)["checks"]
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)["checks"]


async def test_a_process_lives_without_its_issuer_and_becomes_ready_with_it(tmp_path: Path) -> None:
    async with stand_in_issuer(running=False) as issuer:
        flags = {**issuer.settings, "http.port": 0}
        words = [word for key, value in flags.items() for word in ("--set", f"{key}={value}")]
        with running([sys.executable, "-m", "mfa_service", *words, "serve"], folder=tmp_path) as service:
            status, checks = await asyncio.to_thread(ready, service.operations_url)
            assert (status, checks.pop("issuer")) == (503, "is out of reach")
            assert set(checks.values()) == {"ok"}
            await issuer.start()
            async with asyncio.timeout(15):
                while (await asyncio.to_thread(ready, service.operations_url))[0] != 200:  # noqa: ASYNC110  another process
                    await asyncio.sleep(0.2)
        assert service.exit_code == 0
        assert '"issuer_unusable"' in service.stderr
        assert '"issuer_keys_changed"' in service.stderr


# An issuer that nobody here wrote


@dataclass(frozen=True)
class Provided:
    """Tokens of `oidc-provider`, whose time is the machine's."""

    provider: OidcProvider

    def token(self, clock: Clock, client_id: str) -> str:
        assert isinstance(clock, RealTime)
        return self.provider.token(client_id)


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("RS256", lambda: RSAKey.generate_key(2048)),
        ("PS256", lambda: RSAKey.generate_key(2048)),
        ("ES256", lambda: ECKey.generate_key("P-256")),
        ("EdDSA", lambda: OKPKey.generate_key("Ed25519")),
    ],
)
async def test_the_three_steps_go_with_tokens_of_a_certified_issuer(
    tmp_path: Path, oidc_provider: OidcProvider, algorithm: str, make: Callable[[], Key]
) -> None:
    start(oidc_provider, make(), algorithm)
    async with serving(tmp_path, RealTime(), provided_by(oidc_provider)) as service:
        shop = await onboarded_from(service, Provided(oidc_provider))
        phone, auth_id = await shop.pending(period=60)
        assert (await shop.activate(auth_id, phone.code(steps=-1))).status == 200
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200
        assert await shop.asks(oidc_provider.token(scope="mfa:authenticate")) == (403, "10033")
        assert await shop.asks(oidc_provider.token("bank")) == REFUSED
        bank = await onboarded_from(service, Provided(oidc_provider), "bank")
        assert (await bank.devices()).outcome == GOOD


async def test_a_certified_issuer_that_is_restarted_with_new_keys_is_followed(
    tmp_path: Path, oidc_provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_COOL_DOWN_S", 0.1)
    first, second = (RSAKey.generate_key(2048) for _ in range(2))
    start(oidc_provider, first, "RS256")
    async with serving(tmp_path, RealTime(), provided_by(oidc_provider)) as service:
        shop = await onboarded_from(service, Provided(oidc_provider))
        old = await shop.token()
        assert await shop.asks(old) == GOOD
        oidc_provider.stop()
        assert await shop.asks(old) == GOOD
        start(oidc_provider, second, "RS256")
        await asyncio.sleep(0.2)
        assert await shop.asks(await shop.token()) == GOOD
        assert await shop.asks(old) == REFUSED


def start(provider: OidcProvider, key: Key, algorithm: str) -> None:
    """Start a provider that signs with one key."""
    jwk = {**key.as_dict(private=True), "kid": key.thumbprint(), "use": "sig", "alg": algorithm}
    fallback = {**RSAKey.generate_key(2048).as_dict(private=True), "kid": "other", "use": "sig", "alg": "RS256"}
    provider.start([jwk] if algorithm == "RS256" else [jwk, fallback], algorithm=algorithm)


def provided_by(provider: OidcProvider) -> dict[str, object]:
    """The settings of a service that takes a provider's tokens."""
    return {"tokens.issuer": provider.issuer, "tokens.audience": provider_module.AUDIENCE}
