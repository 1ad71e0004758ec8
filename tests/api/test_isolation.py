"""Users, devices and challenges belong to the application that made them; an operator's word on one holds at once."""

from collections.abc import Awaitable, Callable

import pytest

from mfa_service.access.applications import rotate_secret
from tests.api.service import Caller, Response, Service

NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"


@pytest.fixture
async def bank(service: Service) -> Caller:
    """Another application on the same service."""
    return await service.onboard("bank")


def told(response: Response) -> tuple[int, dict[str, object]]:
    """What an answer tells beside which request it is the answer to."""
    return response.status, {
        name: value for name, value in response.json.items() if name not in {"traceId", "timestamp"}
    }


async def token_call(caller: Caller, client_secret: str) -> int:
    response = await caller.service.token_call(data={**caller.grant, "client_secret": client_secret})
    return response.status


class TestAnotherApplication:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda bank, user: bank.devices(user=user),
            lambda bank, user: bank.initiate(user=user),
            lambda bank, user: bank.unpair(user=user),
            lambda bank, user: bank.unpair("all", user=user),
        ],
        ids=["list", "initiate", "unpair", "unpair all"],
    )
    async def test_it_is_told_the_same_of_a_foreign_user_as_of_none(
        self, shop: Caller, bank: Caller, ask: Callable[[Caller, str], Awaitable[Response]]
    ) -> None:
        phone = await shop.enrolled(user="alice")
        assert told(await ask(bank, "alice")) == told(await ask(bank, "nobody"))
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200

    async def test_it_is_told_the_same_of_a_foreign_challenge_as_of_none(self, shop: Caller, bank: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        for code in (*phone.wrong_codes(6), phone.code()):
            assert told(await bank.validate(auth_id, code)) == told(await bank.validate(NOBODYS_ID, code))
        assert (await shop.row()).failures == 0
        assert (await shop.validate(auth_id, phone.code())).status == 200

    async def test_it_is_told_the_same_of_a_foreign_activation_as_of_none(self, shop: Caller, bank: Caller) -> None:
        phone, auth_id = await shop.pending()
        for code in (*phone.wrong_codes(6), phone.code()):
            assert told(await bank.activate(auth_id, code)) == told(await bank.activate(NOBODYS_ID, code))
        assert (await shop.activate(auth_id, phone.code())).status == 200

    async def test_it_has_users_and_devices_of_the_same_names(self, shop: Caller, bank: Caller) -> None:
        shops, banks = await shop.enrolled(), await bank.enrolled()
        assert (await bank.validate(await bank.challenge(), shops.code())).outcome == (400, "10008")
        assert (await bank.validate(await bank.challenge(), banks.code())).status == 200
        assert (await shop.validate(await shop.challenge(), shops.code())).status == 200
        assert (await bank.unpair("all")).status == 204
        assert len((await shop.devices()).json) == 1

    async def test_its_full_user_does_not_fill_another_one_s(self, shop: Caller, bank: Caller) -> None:
        for number in range(5):
            await bank.pending(f"Phone {number}")
        assert (await shop.pair()).status == 201


async def test_users_of_one_application_do_not_use_one_another_s_devices(shop: Caller) -> None:
    alice, bob = await shop.enrolled(user="alice"), await shop.enrolled(user="bob")
    auth_id = await shop.challenge(user="alice")
    assert (await shop.validate(auth_id, bob.code())).outcome == (400, "10008")
    assert (await shop.validate(auth_id, alice.code())).status == 200
    assert (await shop.unpair("all", user="bob")).status == 204
    assert len((await shop.devices(user="alice")).json) == 1


async def test_a_disabled_application_is_out_when_the_table_is_read_again_and_back_when_enabled(
    shop: Caller, bank: Caller
) -> None:
    applications = shop.service.registry.applications
    await shop.enrolled()
    await bank.enrolled()
    await applications.set_disabled(shop.application.id, disabled=True)
    assert await token_call(shop, shop.client_secret) == 401  # at once
    await shop.service.duties.do()
    assert (await shop.devices()).outcome == (401, "10002")
    assert (await shop.initiate()).outcome == (401, "10002")
    assert (await bank.devices()).status == 200
    await applications.set_disabled(shop.application.id, disabled=False)
    await shop.service.duties.do()
    assert (await shop.devices()).status == 200
    assert await token_call(shop, shop.client_secret) == 200


async def test_a_removed_application_is_out_with_its_devices(shop: Caller, bank: Caller) -> None:
    applications = shop.service.registry.applications
    await shop.enrolled()
    await bank.enrolled()
    await applications.remove(shop.application.id, with_devices=True)
    await shop.service.duties.do()
    assert (await shop.devices()).outcome == (401, "10002")
    assert await token_call(shop, shop.client_secret) == 401
    assert len((await bank.devices()).json) == 1


async def test_nobody_is_in_while_the_table_is_too_old(shop: Caller) -> None:
    await shop.enrolled()
    shop.service.clock.advance(5.001)
    response = await shop.devices()
    assert response.outcome == (503, "10015")
    assert response.headers["Retry-After"] == "1"
    await shop.service.duties.do()
    assert (await shop.devices()).status == 200


async def test_a_rotated_secret_is_good_for_its_grace_and_no_longer(shop: Caller) -> None:
    service = shop.service
    hashes, new_secret = rotate_secret(shop.application, grace_s=60, clock=service.clock, random_bytes=service.entropy)
    await service.registry.applications.set_secrets(shop.application.id, hashes)
    assert await token_call(shop, new_secret) == 200
    await service.advance(59.999)
    assert await token_call(shop, shop.client_secret) == 200
    await service.advance(0.001)
    assert await token_call(shop, shop.client_secret) == 401
    assert await token_call(shop, new_secret) == 200


async def test_a_secret_rotated_without_grace_is_out_at_once(shop: Caller) -> None:
    service = shop.service
    hashes, new_secret = rotate_secret(shop.application, grace_s=0, clock=service.clock, random_bytes=service.entropy)
    await service.registry.applications.set_secrets(shop.application.id, hashes)
    assert await token_call(shop, shop.client_secret) == 401
    assert await token_call(shop, new_secret) == 200
