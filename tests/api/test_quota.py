"""How much one application may ask, and how often a client may come with a wrong secret."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from mfa_service.ops import logs
from tests.api.conftest import Serve
from tests.api.service import Caller, Response, Service, serving
from tests.clocks import ManualClock
from tests.servers.valkey import Deployment, standalone

QUOTA = {"quota.requests_per_s": 2, "quota.burst": 10}
OVER = (429, "10035")
COUNTED = (404, "10003")  # what a listing without devices is answered


@pytest.fixture
async def limited(serve: Serve) -> Service:
    """A service with a quota of two requests a second and ten at once."""
    return await serve(QUOTA)


async def outcomes(shop: Caller, requests: int) -> list[tuple[int, str | None]]:
    """List devices so many times, one after another."""
    return [(await shop.devices()).outcome for _ in range(requests)]


class TestQuota:
    async def test_without_one_any_number_of_requests_is_answered(self, shop: Caller) -> None:
        assert set(await outcomes(shop, 50)) == {COUNTED}

    async def test_beyond_it_requests_are_told_when_to_come_again(self, limited: Service) -> None:
        shop = await limited.onboard()
        assert await outcomes(shop, 9) == [COUNTED] * 9  # the tenth was the token call
        response = await shop.devices()
        assert response.outcome == OVER
        assert response.headers["Retry-After"] == "1"
        await limited.advance(1)
        assert await outcomes(shop, 3) == [COUNTED, COUNTED, OVER]

    async def test_requests_at_once_are_counted_too(self, limited: Service) -> None:
        shop = await limited.onboard()
        await shop.bearer()
        answered = await asyncio.gather(*(shop.devices() for _ in range(30)))
        assert sorted(response.outcome for response in answered) == [COUNTED] * 9 + [OVER] * 21

    async def test_another_application_has_its_own(self, limited: Service) -> None:
        shop, bank = await limited.onboard("shop"), await limited.onboard("bank")
        assert (await outcomes(shop, 10))[-1] == OVER
        assert await outcomes(bank, 9) == [COUNTED] * 9

    async def test_token_calls_count_and_are_refused_beyond_it(self, limited: Service) -> None:
        shop = await limited.onboard()
        answered = [await limited.token_call(data=shop.grant) for _ in range(11)]
        assert [response.outcome for response in answered] == [(200, None)] * 10 + [OVER]
        assert answered[-1].headers["Retry-After"] == "1"
        assert answered[-1].json["error"] == "temporarily_unavailable"

    async def test_nobody_without_the_secret_or_a_token_spends_it(self, limited: Service) -> None:
        shop = await limited.onboard()
        headers = await shop.bearer()
        for _ in range(20):
            await limited.token_call(data={**shop.grant, "client_secret": "guessed"})
            await limited.send("GET", "/users/alice/mfadevices", headers={"Authorization": "Bearer guessed"})
            await limited.send("GET", "/no/such/route", headers=headers)
        assert await outcomes(shop, 9) == [COUNTED] * 9

    async def test_a_refused_call_does_nothing(self, limited: Service) -> None:
        shop = await limited.onboard()
        await outcomes(shop, 10)
        assert (await shop.pair()).outcome == OVER
        await limited.advance(1)
        assert (await shop.devices()).outcome == COUNTED


class TestSharedQuota:
    async def test_two_workers_together_let_no_more_pass_than_the_quota_and_their_leases(
        self, tmp_path: Path, clock: ManualClock, valkey: Deployment
    ) -> None:
        flags = {"redis.url": valkey.url, "quota.requests_per_s": 1, "quota.burst": 20}
        began_s = asyncio.get_running_loop().time()
        async with serving(tmp_path, clock, flags) as one, serving(tmp_path, clock, flags) as other:
            shop = await one.onboard()
            await other.duties.do()
            headers = await shop.bearer()
            passed = 1
            for _ in range(30):
                for worker in (one, other):
                    response = await worker.send("GET", "/users/alice/mfadevices", headers=headers)
                    assert response.outcome in {COUNTED, OVER}
                    passed += response.outcome == COUNTED
                clock.advance(0.001)
        took_s = asyncio.get_running_loop().time() - began_s
        assert 20 <= passed <= 20 + 2 + took_s + 1

    async def test_without_the_store_requests_pass(self, tmp_path: Path, clock: ManualClock) -> None:
        with standalone(tmp_path / "valkey") as deployment:
            flags = {"redis.url": deployment.url, "quota.requests_per_s": 1, "quota.burst": 5}
            async with serving(tmp_path / "data", clock, flags) as service:
                shop = await service.onboard()
                assert (await outcomes(shop, 10))[-1] == OVER
                deployment.servers[0].kill()
                async with asyncio.timeout(5):
                    while (await shop.devices()).outcome != COUNTED:
                        clock.advance(0.05)
                assert await outcomes(shop, 50) == [COUNTED] * 50


class TestWrongSecrets:
    async def wrong(self, shop: Caller, client_id: str, *, basic: bool = False) -> Response:
        if basic:
            shop.client_secret = "guessed"
            return await shop.service.token_call(
                data={"grant_type": "client_credentials"}, headers={"Authorization": shop.basic}
            )
        return await shop.service.token_call(data={**shop.grant, "client_id": client_id, "client_secret": "guessed"})

    async def test_after_ten_the_next_ones_are_told_to_wait_and_the_right_one_works(self, shop: Caller) -> None:
        answered = [await self.wrong(shop, shop.application.client_id) for _ in range(12)]
        assert [response.outcome for response in answered] == [(401, "10002")] * 10 + [OVER] * 2
        assert answered[-1].headers["Retry-After"] == "6"
        assert await shop.token()
        await shop.service.advance(6)
        assert (await self.wrong(shop, shop.application.client_id)).outcome == (401, "10002")
        assert (await self.wrong(shop, shop.application.client_id)).outcome == OVER
        assert await shop.token()

    async def test_unknown_and_disabled_clients_are_answered_as_known_ones(self, shop: Caller) -> None:
        bank = await shop.service.onboard("bank")
        await shop.service.registry.applications.set_disabled(bank.application.id, disabled=True)
        seen = []
        for client_id in (shop.application.client_id, "nobody", bank.application.client_id):
            answered = [await self.wrong(shop, client_id) for _ in range(12)]
            for response in answered:
                assert response.headers.keys() == answered[0].headers.keys() | (
                    {"Retry-After"} if response.outcome == OVER else set()
                )
            changing = {"traceId", "timestamp"}
            seen.append([{k: v for k, v in one.json.items() if k not in changing} for one in answered])
        assert seen[0] == seen[1] == seen[2]

    async def test_the_right_secret_of_a_disabled_client_counts_as_a_wrong_one(self, shop: Caller) -> None:
        await shop.service.registry.applications.set_disabled(shop.application.id, disabled=True)
        answered = [await shop.service.token_call(data=shop.grant) for _ in range(11)]
        assert [response.outcome for response in answered] == [(401, "10002")] * 10 + [OVER]

    async def test_by_basic_they_are_counted_too(self, shop: Caller) -> None:
        client_id = shop.application.client_id
        answered = [await self.wrong(shop, client_id, basic=True) for _ in range(11)]
        assert [response.outcome for response in answered] == [(401, "10002")] * 10 + [OVER]

    async def test_other_clients_are_answered_as_before(self, shop: Caller) -> None:
        for _ in range(11):
            await self.wrong(shop, shop.application.client_id)
        assert (await self.wrong(shop, "nobody")).outcome == (401, "10002")


@pytest.mark.usefixtures("logging_as_before")
async def test_operators_are_warned_of_a_device_that_is_guessed_at_whatever_right_codes_come_between(
    tmp_path: Path, clock: ManualClock
) -> None:
    stream = io.StringIO()
    log = logs.configure(level="info", format="json", stream=stream, now_ms=clock.now_ms)
    async with serving(tmp_path, clock, log=log) as service:
        shop = await service.onboard()
        phone = await shop.enrolled()
        for number in range(1, 25):
            auth_id = await shop.challenge()
            response = await shop.validate(auth_id, phone.wrong_code())
            if number == 20:
                twentieth = response.json["traceId"]
            assert (await shop.validate(auth_id, phone.code())).status == 200
            await service.advance(30)
    warnings = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["level"] == "warning"]
    [warning] = [line for line in warnings if line["event"] == "device_guessed_at"]
    assert (warning["user"], warning["device"], warning["failures"]) == ("alice", "Phone", 20)
    assert warning["application_id"] == shop.application.id
    assert warning["trace_id"] == twentieth
