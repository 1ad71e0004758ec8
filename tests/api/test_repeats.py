"""A request whose answer was lost may be sent again; another code may not."""

from tests.api.service import Caller


async def test_the_same_code_on_the_same_challenge_gets_the_same_answer(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    first = await shop.validate(auth_id, code)
    row = await shop.row()
    again = await shop.validate(auth_id, code)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert (await shop.row()).last_step == row.last_step


async def test_the_same_code_is_repeated_while_the_challenge_lives_though_its_time_is_over(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    assert (await shop.validate(auth_id, code)).status == 200
    await shop.service.advance(299.999)
    assert (await shop.validate(auth_id, code)).status == 200
    await shop.service.advance(0.001)
    assert (await shop.validate(auth_id, code)).outcome == (404, "10007")


async def test_a_repeat_gets_its_answer_though_the_device_waits(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    assert (await shop.validate(auth_id, code)).status == 200
    wrong = await shop.challenge()
    for other in phone.wrong_codes(5):
        await shop.validate(wrong, other)
    assert (await shop.initiate()).outcome == (429, "10027")
    assert (await shop.validate(auth_id, code)).status == 200


async def test_an_older_login_is_confirmed_again_after_newer_ones(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    assert (await shop.validate(auth_id, code)).status == 200
    for _ in range(3):
        await shop.service.advance(30)
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200
    row = await shop.row()
    assert (await shop.validate(auth_id, code)).status == 200
    assert await shop.row() == row


async def test_another_code_on_a_used_challenge_is_told_that_it_is_used(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    assert (await shop.validate(auth_id, code)).status == 200
    for other in (phone.wrong_code(), phone.code(steps=1), phone.code(steps=-1)):
        assert (await shop.validate(auth_id, other)).outcome == (404, "10007")
    assert (await shop.validate(auth_id, code)).status == 200
    assert (await shop.row()).failures == 0


async def test_other_codes_on_a_used_challenge_spend_it_at_last(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    code = phone.code()
    assert (await shop.validate(auth_id, code)).status == 200
    for other in phone.wrong_codes(5):
        assert (await shop.validate(auth_id, other)).outcome == (404, "10007")
    assert (await shop.validate(auth_id, code)).outcome == (429, "10026")


async def test_an_application_does_not_get_the_answer_to_another_one_s_repeat(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    assert (await shop.validate(auth_id, phone.code())).status == 200
    bank = await shop.service.onboard("bank")
    assert (await bank.validate(auth_id, phone.code())).outcome == (404, "10007")


async def test_the_same_activation_code_gets_the_same_answer(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    code = phone.code()
    first = await shop.activate(auth_id, code)
    await shop.service.advance(100)
    again = await shop.activate(auth_id, code)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body


async def test_a_repeated_activation_gets_its_answer_though_a_login_came_between(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    code = phone.code()
    assert (await shop.activate(auth_id, code)).status == 200
    await shop.service.advance(30)
    assert (await shop.validate(await shop.challenge(), phone.code())).status == 200
    row = await shop.row()
    assert (await shop.activate(auth_id, code)).status == 200
    assert (await shop.activate(auth_id, phone.code())).outcome == (409, "10006")
    assert ((await shop.row()).last_step, (await shop.row()).last_auth_id) == (row.last_step, row.last_auth_id)


async def test_another_activation_code_is_told_that_the_device_is_active(shop: Caller) -> None:
    phone, auth_id = await shop.pending()
    code = phone.code()
    assert (await shop.activate(auth_id, code)).status == 200
    for other in (phone.wrong_code(), phone.code(steps=1)):
        assert (await shop.activate(auth_id, other)).outcome == (409, "10006")
    assert (await shop.activate(auth_id, code)).status == 200
    assert [one["status"] for one in (await shop.devices()).json] == ["ACTIVE"]
    assert (await shop.row()).failures == 0


async def test_a_repeat_after_the_device_was_removed_finds_nothing(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    assert (await shop.validate(auth_id, phone.code())).status == 200
    await shop.unpair()
    assert (await shop.validate(auth_id, phone.code())).outcome == (404, "10007")
