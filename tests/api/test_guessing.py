"""What a guesser is left with: a few codes a challenge, ever longer waits of the device, and in the end a block."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from mfa_service.model import Owner
from tests.api.authenticator import Authenticator
from tests.api.conftest import Serve
from tests.api.service import DEVICE, USER, Caller

LADDER_S = (30, 60, 120, 240, 480, 960, 1920, 3600, 3600)


async def guess_wrong(shop: Caller, phone: Authenticator, times: int) -> None:
    """Give so many wrong codes in a row, on as many challenges as it takes, with no wait between them."""
    for _ in range(times):
        response = await shop.validate(await shop.challenge(), phone.wrong_code())
        assert response.outcome == (400, "10008")


async def waits_s(shop: Caller) -> int:
    """How long the device waits, as an initiation is told; 0 where it does not."""
    response = await shop.initiate()
    if response.status == 201:
        return 0
    assert response.outcome == (429, "10027")
    return int(response.headers["Retry-After"])


class TestOneChallenge:
    async def test_it_takes_five_wrong_codes_and_then_not_even_the_right_one(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        for code in phone.wrong_codes(5):
            assert (await shop.validate(auth_id, code)).outcome == (400, "10008")
        assert (await shop.validate(auth_id, phone.wrong_code())).outcome == (429, "10026")
        assert (await shop.validate(auth_id, phone.code())).outcome == (429, "10026")
        await shop.service.advance(30)  # the device's wait is over
        assert (await shop.validate(auth_id, phone.code())).outcome == (429, "10026")
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200

    async def test_it_takes_as_many_wrong_codes_as_set(self, serve: Serve) -> None:
        shop = await (await serve({"challenge.max_attempts": 2})).onboard()
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        outcomes = [(await shop.validate(auth_id, code)).outcome for code in phone.wrong_codes(3)]
        assert outcomes == [(400, "10008"), (400, "10008"), (429, "10026")]
        assert (await shop.row()).failures == 2

    async def test_a_right_code_among_wrong_ones_is_accepted(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        for code in phone.wrong_codes(4):
            await shop.validate(auth_id, code)
        assert (await shop.validate(auth_id, phone.code())).status == 200


class TestOneDevice:
    async def test_its_waits_double_up_to_an_hour_over_all_its_challenges(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        await guess_wrong(shop, phone, 4)
        assert await waits_s(shop) == 0
        for wait_s in LADDER_S:
            await guess_wrong(shop, phone, 1)
            assert await waits_s(shop) == wait_s
            await shop.service.advance(wait_s - 0.001)
            assert await waits_s(shop) == 1
            await shop.service.advance(0.001)
            assert await waits_s(shop) == 0

    async def test_while_it_waits_no_open_challenge_takes_a_code_and_none_is_charged(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        open_one = await shop.challenge()
        await guess_wrong(shop, phone, 5)
        for code in (phone.code(), phone.wrong_code()):
            response = await shop.validate(open_one, code)
            assert response.outcome == (429, "10027")
            assert response.headers["Retry-After"] == "30"
        assert (await shop.row()).failures == 5
        await shop.service.advance(30)
        assert (await shop.validate(open_one, phone.code())).status == 200

    async def test_the_hundredth_wrong_code_in_a_row_blocks_it_until_an_operator_unlocks_it(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        await guess_wrong(shop, phone, 4)
        for _ in range(95):
            await guess_wrong(shop, phone, 1)
            await shop.service.advance(await waits_s(shop))
        open_one = await shop.challenge()
        await guess_wrong(shop, phone, 1)
        assert (await shop.row()).failures == 100
        await shop.service.advance(200)
        for response in (await shop.initiate(), await shop.validate(open_one, phone.code())):
            assert response.outcome == (429, "10027")
            assert "Retry-After" not in response.headers
        assert [one["status"] for one in (await shop.devices()).json] == ["BLOCKED"]

        await shop.service.registry.devices.unlock(Owner(shop.application.id, USER), DEVICE)
        assert [one["status"] for one in (await shop.devices()).json] == ["ACTIVE"]
        assert (await shop.row()).failures == 0
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200

    async def test_a_blocked_device_is_no_active_one_but_can_be_removed(self, serve: Serve) -> None:
        shop = await (await serve({"guessing.disable_after": 5})).onboard()
        await guess_wrong(shop, await shop.enrolled(), 5)
        assert (await shop.pair()).outcome == (409, "10010")
        assert (await shop.initiate("Tablet")).outcome == (404, "10006")
        assert (await shop.unpair()).status == 204
        assert (await shop.devices()).outcome == (404, "10003")

    async def test_a_right_code_clears_the_wrong_ones(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        await guess_wrong(shop, phone, 4)
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200
        assert (await shop.row()).failures == 0
        await guess_wrong(shop, phone, 4)
        assert await waits_s(shop) == 0

    async def test_a_right_code_after_a_wait_begins_the_ladder_anew(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        await guess_wrong(shop, phone, 5)
        await shop.service.advance(30)
        await guess_wrong(shop, phone, 1)
        assert await waits_s(shop) == 60
        await shop.service.advance(60)
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200
        await guess_wrong(shop, phone, 5)
        assert await waits_s(shop) == 30

    async def test_another_device_of_the_user_does_not_wait(self, shop: Caller) -> None:
        phone, tablet = await shop.enrolled(), await shop.enrolled("Tablet")
        await guess_wrong(shop, phone, 5)
        assert await waits_s(shop) == 30
        assert (await shop.validate(await shop.challenge("Tablet"), tablet.code())).status == 200

    async def test_what_is_no_guess_at_it_is_not_charged(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        bank = await shop.service.onboard("bank")
        used = phone.code()
        assert (await shop.validate(await shop.challenge(), used)).status == 200
        taken = await shop.challenge()
        await shop.service.advance(30)
        assert (await shop.validate(taken, phone.code())).status == 200
        auth_id = await shop.challenge()
        before = await shop.row()
        for _ in range(10):
            for otp in ("12345", "1234567", "12345678", "abcdef", "\uff11" * 6):
                assert (await shop.validate(auth_id, otp)).outcome == (400, "10009")
            assert (await bank.validate(auth_id, phone.wrong_code())).outcome == (404, "10007")
            assert (await shop.validate(auth_id[:-1] + "g", phone.wrong_code())).outcome == (404, "10007")
            assert (await shop.activate(auth_id, phone.wrong_code())).outcome == (404, "10007")
            assert (await shop.validate(auth_id, used)).outcome == (400, "10008")
        assert (await shop.validate(taken, phone.wrong_code())).outcome == (404, "10007")
        after = await shop.row()
        assert replace(after, read_at_ms=before.read_at_ms) == before
        await shop.service.advance(30)
        assert (await shop.validate(auth_id, phone.code())).status == 200


class TestActivation:
    async def test_five_wrong_codes_remove_the_pending_device(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        for code in phone.wrong_codes(5):
            assert (await shop.activate(auth_id, code)).outcome == (400, "10008")
        assert (await shop.devices()).outcome == (404, "10003")
        response = await shop.activate(auth_id, phone.code())
        assert response.outcome == (429, "10026")
        assert (await shop.enrolled()).totp.secret != phone.totp.secret

    async def test_four_wrong_codes_leave_it_and_activation_clears_them(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        for code in phone.wrong_codes(4):
            assert (await shop.activate(auth_id, code)).outcome == (400, "10008")
        assert (await shop.activate(auth_id, phone.code())).status == 200
        assert (await shop.row()).failures == 0

    async def test_guesses_at_once_remove_the_pending_device_too(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        responses = await asyncio.gather(*(shop.activate(auth_id, code) for code in phone.wrong_codes(50)))
        assert Counter(response.outcome for response in responses)[400, "10008"] == 5
        assert {response.outcome for response in responses} <= {
            (400, "10008"),
            (404, "10007"),
            (429, "10026"),
            (429, "10027"),
        }
        assert (await shop.devices()).outcome == (404, "10003")


class TestAtOnce:
    async def test_a_hundred_wrong_codes_on_one_challenge_tell_and_cost_five(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        responses = await asyncio.gather(*(shop.validate(auth_id, code) for code in phone.wrong_codes(100)))
        outcomes = Counter(response.outcome for response in responses)
        assert outcomes[400, "10008"] == 5
        assert outcomes.keys() <= {(400, "10008"), (429, "10026"), (429, "10027")}
        assert (await shop.row()).failures == 5
        assert await waits_s(shop) == 30

    @pytest.mark.parametrize("challenges", [2, 20])
    async def test_wrong_codes_on_many_challenges_cost_the_device_five(self, shop: Caller, challenges: int) -> None:
        phone = await shop.enrolled()
        auth_ids = [await shop.challenge() for _ in range(challenges)]
        codes = phone.wrong_codes(100)
        guesses = (shop.validate(auth_ids[number % challenges], code) for number, code in enumerate(codes))
        outcomes = Counter(response.outcome for response in await asyncio.gather(*guesses))
        assert outcomes[400, "10008"] == 5
        assert outcomes.keys() <= {(400, "10008"), (429, "10026"), (429, "10027")}
        assert (await shop.row()).failures == 5

    async def test_the_right_code_among_a_hundred_is_accepted_or_refused_within_the_budget(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        codes = [*phone.wrong_codes(99), phone.code()]
        responses = await asyncio.gather(*(shop.validate(auth_id, code) for code in codes))
        outcomes = Counter(response.outcome for response in responses)
        assert outcomes[200, None] <= 1
        assert outcomes[400, "10008"] <= 5
        assert (await shop.row()).failures <= 5

    async def test_fifty_right_codes_on_one_challenge_are_one_login(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        code = phone.code()
        responses = await asyncio.gather(*(shop.validate(auth_id, code) for _ in range(50)))
        assert [response.outcome for response in responses] == [(200, None)] * 50
        row = await shop.row()
        assert (row.last_auth_id, row.failures) == (auth_id, 0)
        assert (await shop.validate(await shop.challenge(), code)).outcome == (400, "10008")

    @pytest.mark.parametrize("challenges", [2, 50])
    async def test_one_code_on_several_challenges_is_one_login(self, shop: Caller, challenges: int) -> None:
        phone = await shop.enrolled()
        auth_ids = [await shop.challenge() for _ in range(challenges)]
        code = phone.code()
        responses = await asyncio.gather(*(shop.validate(auth_id, code) for auth_id in auth_ids))
        outcomes = Counter(response.outcome for response in responses)
        assert outcomes == {(200, None): 1, (400, "10008"): challenges - 1}
        row = await shop.row()
        assert (row.last_auth_id, row.failures) == (
            next(auth_id for auth_id, response in zip(auth_ids, responses, strict=True) if response.status == 200),
            0,
        )

    async def test_registrations_at_once_do_not_exceed_the_most_devices(self, shop: Caller) -> None:
        await shop.bearer()
        responses = await asyncio.gather(*(shop.pair(f"Phone {number}") for number in range(20)))
        assert Counter(response.outcome for response in responses) == {(201, None): 5, (409, "10014"): 15}
        assert len((await shop.devices()).json) == 5
