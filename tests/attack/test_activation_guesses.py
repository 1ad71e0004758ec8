"""Attacks on the activation call, whose wrong codes count on the device as a login's do."""

from tests.api.conftest import Serve
from tests.attack.cases import attack
from tests.attack.guessing import FREE_FAILURES
from tests.attack.outcomes import INVALID, PASS, WAITS


@attack("L-18")
async def test_an_activation_that_takes_many_wrong_codes_makes_its_device_wait_all_the_same(serve: Serve) -> None:
    shop = await (await serve({"challenge.max_attempts": 50})).onboard()
    phone, auth_id = await shop.pending()
    answers = [await shop.activate(auth_id, code) for code in phone.wrong_codes(FREE_FAILURES + 5)]
    assert [answer.outcome for answer in answers] == [INVALID] * FREE_FAILURES + [WAITS] * 5
    assert (await shop.row()).failures == FREE_FAILURES
    await shop.service.advance(int(answers[-1].headers["Retry-After"]))
    assert (await shop.activate(auth_id, phone.wrong_code())).outcome == INVALID
    assert (await shop.activate(auth_id, phone.code())).outcome == WAITS
    await shop.service.advance(60)
    assert (await shop.activate(auth_id, phone.code())).outcome == PASS
    row = await shop.row()
    assert (row.failures, row.slow_failures) == (0, FREE_FAILURES + 1)
