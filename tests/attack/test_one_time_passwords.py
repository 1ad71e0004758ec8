"""Attacks on the check of a one-time password."""

import asyncio
import base64
import io
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfa_service.otp import hotp
from mfa_service.otp.rfc2104 import Hmac
from tests.api.authenticator import Authenticator
from tests.api.service import Caller, Entropy, Service, serving
from tests.attack.cases import attack
from tests.attack.logging_to import logging_to
from tests.attack.outcomes import INVALID, NO_CODE, OPENED, PASS, TOO_LARGE, UNFIT, is_replay
from tests.attack.scale import times
from tests.clocks import ManualClock

VECTORS = Path(__file__).parents[1] / "data" / "otp"
TOTP = [line.split() for line in (VECTORS / "rfc6238_appendix_b.txt").read_text().splitlines() if line[0] != "#"]
HOTP = [line.split() for line in (VECTORS / "rfc4226_appendix_d.txt").read_text().splitlines() if line[0] != "#"]
ARABIC = {ord("0") + digit: 0x0660 + digit for digit in range(10)}


@pytest.fixture
def hmacs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the HMACs that are computed."""
    computed: Counter[str] = Counter()
    digest = Hmac.digest

    def counted(self: Hmac, message: bytes) -> bytes:
        computed["all"] += 1
        return digest(self, message)

    monkeypatch.setattr(Hmac, "digest", counted)
    return computed


@attack("O-01")
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
async def test_a_device_of_a_published_secret_takes_the_published_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    secret = next(row[2].encode() for row in TOTP if row[:2] == ["secret", algorithm])
    rows = [
        (int(seconds), code) for seconds, _, code, name in (row for row in TOTP if len(row) == 4) if name == algorithm
    ]
    clock = ManualClock(now_ms=rows[0][0] * 1000)
    async with serving(tmp_path, clock) as service:
        shop = await service.onboard()
        with monkeypatch.context() as patch:
            patch.setattr(Entropy, "__call__", lambda _, size: secret if size == len(secret) else os.urandom(size))
            answer = await shop.pair(algorithm=algorithm, digits=8)
        assert answer.json["secret"] == base64.b32encode(secret).decode().rstrip("=")
        assert (await shop.activate(answer.json["authId"], rows[0][1])).outcome == PASS
        for seconds, code in rows[1:]:
            await service.advance(seconds - clock.now_ms() / 1000)
            assert (await shop.validate(await shop.challenge(), code)).outcome == PASS
    assert len(rows) == 6


@attack("O-02")
@pytest.mark.parametrize("digits", [6, 7, 8])
def test_the_published_counters_give_the_published_codes(digits: int) -> None:
    secret = next(row[1].encode() for row in HOTP if row[0] == "secret")
    rows = [row for row in HOTP if row[0] != "secret"]
    codes = [hotp.code(Hmac(secret, "SHA1"), int(row[0]), digits) for row in rows]
    assert codes == [row[3][-digits:] for row in rows]
    assert digits != 6 or codes == [row[4] for row in rows]
    assert len(rows) == 10


@attack("O-03")
async def test_the_present_code_is_accepted(caller: Caller) -> None:
    phone = await caller.enrolled()
    assert (await caller.validate(await caller.challenge(), phone.code())).outcome == PASS


@attack("O-04")
async def test_the_codes_beside_the_present_one_are_accepted(shop: Caller) -> None:
    phone, tablet = await shop.enrolled(), await shop.enrolled("Tablet")
    await shop.service.advance(30)
    assert (await shop.validate(await shop.challenge(), phone.code(steps=-1))).outcome == PASS
    assert (await shop.validate(await shop.challenge("Tablet"), tablet.code(steps=1))).outcome == PASS


@attack("O-05")
@pytest.mark.parametrize("into_step_s", [0.0, 15.0, 29.999])
@pytest.mark.parametrize("steps", [-2, 2])
async def test_a_code_beyond_the_window_is_refused_and_charged_once(
    shop: Caller, into_step_s: float, steps: int
) -> None:
    phone = await shop.enrolled()
    await shop.service.advance(90 + into_step_s)
    answer = await shop.validate(await shop.challenge(), phone.code(steps=steps))
    assert answer.outcome == INVALID
    assert not is_replay(answer)
    assert (await shop.row()).failures == 1


@attack("O-06")
async def test_the_same_code_a_second_later_is_the_same_login(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    first = await shop.validate(auth_id, phone.code())
    row = await shop.row()
    await shop.service.advance(1)
    second = await shop.validate(auth_id, phone.code())
    assert (first.outcome, second.outcome, second.body) == (PASS, PASS, first.body)
    after = await shop.row()
    assert (after.last_step, after.earlier_acceptances) == (row.last_step, row.earlier_acceptances)


@attack("O-07")
async def test_a_used_code_is_no_good_for_another_challenge(caller: Caller) -> None:
    phone = await caller.enrolled()
    code = phone.code()
    assert (await caller.validate(await caller.challenge(), code)).outcome == PASS
    assert is_replay(await caller.validate(await caller.challenge(), code))
    assert (await caller.row()).failures == 0


@attack("O-08")
async def test_an_unused_code_older_than_the_used_one_is_no_good(shop: Caller) -> None:
    phone = await shop.enrolled()
    await shop.service.advance(30)
    assert (await shop.validate(await shop.challenge(), phone.code())).outcome == PASS
    assert is_replay(await shop.validate(await shop.challenge(), phone.code(steps=-1)))
    assert (await shop.row()).failures == 0


@attack("O-09")
async def test_another_user_s_code_is_refused_and_stays_good(shop: Caller) -> None:
    await shop.enrolled(user="alice")
    bobs = await shop.enrolled(user="bob")
    before = await shop.row(user="bob")
    assert (await shop.validate(await shop.challenge(user="alice"), bobs.code())).outcome == INVALID
    assert await shop.row(user="bob") == before
    assert (await shop.validate(await shop.challenge(user="bob"), bobs.code())).outcome == PASS


@attack("O-10")
async def test_a_code_of_another_length_is_not_even_computed(shop: Caller, hmacs: Counter[str]) -> None:
    phone = await shop.enrolled()
    auth_id, code = await shop.challenge(), phone.code()
    hmacs.clear()
    for otp in ("", code[:5], f"{code}0", f"00{code}", f"{code}000"):
        assert (await shop.validate(auth_id, otp)).outcome == NO_CODE
    assert (await shop.validate(auth_id, code * 174_750)).outcome == TOO_LARGE  # a mebibyte
    assert hmacs["all"] == 0
    assert (await shop.row()).failures == 0
    assert (await shop.validate(auth_id, code)).outcome == PASS


@attack("O-11")
@pytest.mark.parametrize("otp", ["12345a", "-12345", "+12345", "1e5000", "0x1234", "12 456", "1_2345", " 12345"])
async def test_what_some_parsers_read_as_a_number_is_no_code(shop: Caller, otp: str) -> None:
    await shop.enrolled()
    assert (await shop.validate(await shop.challenge(), otp)).outcome == NO_CODE
    assert (await shop.row()).failures == 0


@attack("O-12")
async def test_the_right_digits_of_another_script_are_no_code(shop: Caller) -> None:
    phone = await shop.enrolled()
    otp = phone.code().translate(ARABIC)
    assert int(otp) == int(phone.code())
    assert (await shop.validate(await shop.challenge(), otp)).outcome == NO_CODE
    assert (await shop.row()).failures == 0


@attack("O-13")
@pytest.mark.parametrize("otp", [None, [], {}, True, 1.5, 123456, ["123456"]])
async def test_a_code_that_is_no_string_is_unfit(shop: Caller, otp: object) -> None:
    await shop.enrolled()
    path = f"/deviceAuthentications/{await shop.challenge()}"
    for content in ({"deviceType": "TOTP", "otp": otp}, {"deviceType": "TOTP"}):
        answer = await shop.call("POST", path, content)
        assert (answer.outcome, set(answer.json["errors"])) == (UNFIT, {"otp"})
    assert (await shop.row()).failures == 0


@attack("O-14")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 1_800_000_000) for name in ("initTime", "time", "step", "counter")),
        *(("window", 40), ("digits", 6), ("algorithm", "SHA1")),
    ],
)
async def test_nothing_in_a_request_widens_the_window(shop: Caller, name: str, value: object) -> None:
    phone = await shop.enrolled()
    await shop.service.advance(600)
    path = f"/deviceAuthentications/{await shop.challenge()}"
    content = {"deviceType": "TOTP", "otp": phone.code(steps=-20)}
    assert (await shop.call("POST", path, {**content, name: value})).outcome == UNFIT
    assert (await shop.call("POST", f"{path}?{name}={value}", content)).outcome == UNFIT
    assert (await shop.row()).failures == 0
    for header in (name, f"X-{name}"):
        assert (await shop.call("POST", path, content, {header: str(value)})).outcome == INVALID
    assert (await shop.row()).failures == 2


@attack("O-15")
async def test_a_code_guessed_before_its_time_is_good_in_its_time(shop: Caller) -> None:
    phone = await shop.enrolled()
    code = phone.code(steps=5)
    assert (await shop.validate(await shop.challenge(), code)).outcome == INVALID
    await shop.service.advance(150)
    assert (await shop.validate(await shop.challenge(), code)).outcome == PASS


@attack("O-16")
async def test_around_the_end_of_a_step_every_device_logs_in_and_none_twice(shop: Caller, clock: ManualClock) -> None:
    devices: list[tuple[Authenticator, str]] = []
    for numbers in batches(200, size=20):  # one writer of a file enrols some three hundred a second
        devices += await asyncio.gather(*(shop.pending(user=f"user {number}") for number in numbers))
    for number, (phone, auth_id) in enumerate(devices):
        assert (await shop.activate(auth_id, phone.code(), user=f"user {number}")).outcome == PASS
    for _ in range(5):  # times two hundred: a thousand logins
        await shop.service.advance(59.95 - clock.now_ms() % 30_000 / 1000)
        phones = [(f"user {number}", phone) for number, (phone, _) in enumerate(devices)]
        opened = await asyncio.gather(*(shop.challenge(user=user) for user, _ in phones * 2))
        codes = [phone.code() for _, phone in phones * 2]
        answers = await asyncio.gather(
            clock_moves(clock), *(shop.validate(auth_id, code) for auth_id, code in zip(opened, codes, strict=True))
        )
        outcomes = [answer.outcome for answer in answers if answer is not None]
        for first, second in zip(outcomes[:200], outcomes[200:], strict=True):
            assert {first, second} == {PASS, INVALID}  # each of its challenges was sent the same code


async def clock_moves(clock: ManualClock) -> None:
    """Move from 50 ms before the end of a step to 50 ms after it, between the answers of others."""
    for _ in range(100):
        await asyncio.sleep(0.002)
        clock.advance(0.001)


@attack("O-17")
async def test_devices_of_different_parameters_take_their_own_codes_alone(shop: Caller) -> None:
    parameters: dict[str, dict[str, Any]] = {
        "plain": {},
        "strong": {"algorithm": "SHA256", "digits": 8, "period": 60},
        "slow": {"period": 60},
        "other": {"algorithm": "SHA512"},
    }
    phones = {name: await shop.enrolled(name, **options) for name, options in parameters.items()}
    await shop.service.advance(60)
    codes = {name: phone.code() for name, phone in phones.items()}
    for name, phone in phones.items():
        auth_id = await shop.challenge(name)
        for other in phones.values():
            if other is not phone:
                expected = INVALID if other.totp.digits == phone.totp.digits else NO_CODE
                assert (await shop.validate(auth_id, other.code())).outcome == expected
        assert (await shop.validate(auth_id, codes[name])).outcome == PASS


@attack("O-18")
async def test_secrets_are_long_plain_and_random(shop: Caller) -> None:
    await shop.bearer()
    secrets: list[bytes] = []
    for numbers in batches(times(10_000), size=50):
        answers = await asyncio.gather(*(shop.pair(user=f"user {number}") for number in numbers))
        assert {answer.outcome for answer in answers} == {OPENED}
        texts = [answer.json["secret"] for answer in answers]
        assert all(set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") and len(text) == 32 for text in texts)
        secrets += map(base64.b32decode, texts)
    assert {len(secret) for secret in secrets} == {20}  # 160 bits
    assert len(set(secrets)) == len(secrets)
    counts, expected = Counter(b"".join(secrets)), len(secrets) * 20 / 256
    chi_squared = sum((counts[octet] - expected) ** 2 / expected for octet in range(256))
    assert abs(chi_squared - 255) < 7 * math.sqrt(2 * 255)


def batches(count: int, *, size: int) -> Iterator[range]:
    """The numbers below a count, so many at a time."""
    return (range(first, min(first + size, count)) for first in range(0, count, size))


@attack("O-19")
async def test_a_code_beside_the_body_is_not_looked_at_and_not_logged(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    with logging_to(stream, clock) as log:
        async with serving(tmp_path, clock, log=log) as service:
            shop = await service.onboard()
            phone, codes = await shop.enrolled(), set[str]()
            codes |= {phone.code(), phone.totp.secret}
            path = f"/deviceAuthentications/{await shop.challenge()}"
            for content in ({"deviceType": "TOTP"}, {}):
                assert (await shop.call("POST", f"{path}?otp={phone.code()}", content)).outcome == UNFIT
                assert (await shop.call("POST", path, content, {"otp": phone.code()})).outcome == UNFIT
                assert (await shop.call("POST", path, content, {"X-OTP": phone.code()})).outcome == UNFIT
            assert (await shop.row()).failures == 0
            assert (await shop.call("POST", path, {"deviceType": "TOTP", "otp": phone.code()})).outcome == PASS
    assert stream.getvalue().count("/deviceAuthentications/{authId}") == 7
    assert not any(f'"{code}"' in stream.getvalue() or f"={code}" in stream.getvalue() for code in codes)


@attack("O-20")
@pytest.mark.parametrize("steps", [-1, 0, 1])
async def test_the_registry_notes_the_code_s_own_step(shop: Caller, steps: int) -> None:
    phone = await shop.enrolled()
    await shop.service.advance(30)
    assert (await shop.validate(await shop.challenge(), phone.code(steps=steps))).outcome == PASS
    assert (await shop.row()).last_step == step_of(shop.service, phone) + steps


def step_of(service: Service, phone: Authenticator) -> int:
    """The time step that is now."""
    return service.clock.now_ms() // 1000 // phone.totp.interval
