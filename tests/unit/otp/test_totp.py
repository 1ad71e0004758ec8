import sys
from collections import Counter
from hashlib import sha1, sha256, sha512
from hmac import compare_digest
from pathlib import Path
from types import FrameType

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.model import Algorithm, TotpParameters
from mfa_service.otp import hotp, keyuri, totp

_LINES = (Path(__file__).parents[2] / "data" / "otp" / "rfc6238_appendix_b.txt").read_text().splitlines()
_SECRETS = {words[1]: words[2].encode() for words in map(str.split, _LINES) if words[0] == "secret"}
_TABLE = [line.split() for line in _LINES if line[0].isdigit()]
_SECRET = _SECRETS["SHA1"]
_DEFAULT = TotpParameters()
_STEP = 41_152_263  # 1,234,567,890 s
_NEXT_MS, _LATEST_MS = 30_000, 29_999

parameters_of_any_device = st.builds(
    TotpParameters,
    algorithm=st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    digits=st.sampled_from([6, 8]),
    period_s=st.sampled_from([30, 60]),
)
secrets_of_any_device = st.sampled_from([20, 32, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
moments_ms = st.integers(min_value=0, max_value=253_402_300_799_999)  # to the end of the year 9999
in_the_step = pytest.mark.parametrize("into_step_ms", [0, 1, 15_000, _LATEST_MS])


def _code(step: int) -> str:
    return totp.code_at(_SECRET, _DEFAULT, step)


def _match(otp: str, *, now_ms: int, window_steps: int = 1) -> int | None:
    return totp.match(_SECRET, _DEFAULT, otp, now_ms=now_ms, window_steps=window_steps)


def test_the_vector_file_holds_all_of_appendix_b_and_secrets_as_long_as_the_hash() -> None:
    assert len(_TABLE) == 18
    assert {name: len(secret) for name, secret in _SECRETS.items()} == {"SHA1": 20, "SHA256": 32, "SHA512": 64}


@pytest.mark.parametrize(("seconds", "step_hex", "code", "algorithm"), _TABLE)
def test_steps_and_codes_are_those_of_appendix_b(seconds: str, step_hex: str, code: str, algorithm: Algorithm) -> None:
    parameters = TotpParameters(algorithm=algorithm, digits=8)
    step = totp.step_at(int(seconds) * 1000, 30)
    assert step == int(step_hex, 16)
    assert totp.code_at(_SECRETS[algorithm], parameters, step) == code
    assert totp.match(_SECRETS[algorithm], parameters, code, now_ms=int(seconds) * 1000, window_steps=0) == step


@given(secret=secrets_of_any_device, parameters=parameters_of_any_device, now_ms=moments_ms)
def test_the_code_of_any_device_at_any_time_is_that_of_pyotp(
    secret: bytes, parameters: TotpParameters, now_ms: int
) -> None:
    other = pyotp.TOTP(
        keyuri.base32_unpadded(secret),
        digits=parameters.digits,
        digest={"SHA1": sha1, "SHA256": sha256, "SHA512": sha512}[parameters.algorithm],
        interval=parameters.period_s,
    )
    step = totp.step_at(now_ms, parameters.period_s)
    code = other.at(now_ms // 1000)
    assert totp.code_at(secret, parameters, step) == code
    assert totp.matches_step(secret, parameters, code, step)
    matched = totp.match(secret, parameters, code, now_ms=now_ms, window_steps=1)
    assert matched in {step, step + 1}  # the next step has the same code once in a million


@pytest.mark.parametrize("period_s", [30, 60])
def test_a_step_begins_with_its_first_millisecond_and_ends_before_the_next(period_s: int) -> None:
    period_ms = period_s * 1000
    assert totp.step_at(0, period_s) == 0
    assert totp.step_at(period_ms - 1, period_s) == 0
    assert totp.step_at(period_ms, period_s) == 1
    assert totp.step_at(2**33 * period_ms, period_s) == 2**33


@in_the_step
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_the_code_of_a_neighbouring_step_matches(offset: int, into_step_ms: int) -> None:
    assert _match(_code(_STEP + offset), now_ms=_STEP * _NEXT_MS + into_step_ms) == _STEP + offset


@in_the_step
@pytest.mark.parametrize("offset", [-2, 2])
def test_the_code_of_a_step_further_off_does_not_match(offset: int, into_step_ms: int) -> None:
    assert _match(_code(_STEP + offset), now_ms=_STEP * _NEXT_MS + into_step_ms) is None


@in_the_step
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_window_of_no_steps_takes_the_present_code_alone(offset: int, into_step_ms: int) -> None:
    matched = _match(_code(_STEP + offset), now_ms=_STEP * _NEXT_MS + into_step_ms, window_steps=0)
    assert matched == (_STEP if offset == 0 else None)


@pytest.mark.parametrize(("offset", "matches"), [(-3, False), (-2, True), (2, True), (3, False)])
def test_a_wider_window_reaches_as_far_either_side(offset: int, *, matches: bool) -> None:
    matched = _match(_code(_STEP + offset), now_ms=_STEP * _NEXT_MS, window_steps=2)
    assert matched == (_STEP + offset if matches else None)


def test_a_code_dies_one_millisecond_after_its_last_step_of_the_window() -> None:
    code = _code(_STEP)
    assert _match(code, now_ms=(_STEP + 2) * _NEXT_MS - 1) == _STEP
    assert _match(code, now_ms=(_STEP + 2) * _NEXT_MS) is None


@pytest.mark.parametrize("window_steps", [0, 1, 2])
def test_no_step_before_the_epoch_is_tried(window_steps: int) -> None:
    assert _match(_code(0), now_ms=0, window_steps=window_steps) == 0
    assert _match("000000", now_ms=0, window_steps=window_steps) is None


def test_a_clock_before_the_epoch_tries_only_steps_after_it() -> None:
    assert _match(_code(0), now_ms=-1, window_steps=1) == 0
    assert _match(_code(0), now_ms=-90_000, window_steps=1) is None


# Steps of this secret that have the same code, found by search.
@pytest.mark.parametrize(("earlier", "later"), [(153_567, 153_569), (910_737, 910_738), (1_300_575, 1_300_576)])
def test_of_two_steps_with_the_same_code_the_higher_one_is_returned(earlier: int, later: int) -> None:
    assert _code(earlier) == _code(later)
    assert _match(_code(earlier), now_ms=(later - 1) * _NEXT_MS) == later


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_every_step_of_the_window_is_compared_whichever_matches(offset: int) -> None:
    otp = _code(_STEP + offset)
    calls: Counter[str] = Counter()

    def observe(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is hotp.code.__code__:
            calls["codes"] += 1
        elif event == "c_call" and argument is compare_digest:
            calls["comparisons"] += 1

    before = sys.getprofile()
    sys.setprofile(observe)
    try:
        _match(otp, now_ms=_STEP * _NEXT_MS)
    finally:
        sys.setprofile(before)
    assert calls == {"codes": 3, "comparisons": 3}


@pytest.mark.parametrize(
    "otp", ["", "1", "0" * 7, "0" * 5000, "\u0660" * 6, "\uff10" * 6, "\ud800" * 6, "12 456", "??????", "-12345"]
)
def test_text_that_is_no_code_matches_nothing_and_raises_nothing(otp: str) -> None:
    assert _match(otp, now_ms=_STEP * _NEXT_MS) is None
    assert not totp.matches_step(_SECRET, _DEFAULT, otp, _STEP)


def test_the_digits_of_the_right_code_in_another_script_do_not_match() -> None:
    full_width = _code(_STEP).translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    assert int(full_width) == int(_code(_STEP))
    assert _match(full_width, now_ms=_STEP * _NEXT_MS) is None
    assert not totp.matches_step(_SECRET, _DEFAULT, full_width, _STEP)


def test_the_right_code_with_anything_around_it_does_not_match() -> None:
    code = _code(_STEP)
    for otp in (
        f" {code}",
        f"{code} ",
        f"{code}\n",
        f"0{code}",
        code[:-1],
        f"{code}0",
        f"{code}\u200b",
        f"\ufeff{code}",
    ):
        assert _match(otp, now_ms=_STEP * _NEXT_MS) is None
        assert not totp.matches_step(_SECRET, _DEFAULT, otp, _STEP)


def test_a_single_step_matches_its_own_code_alone() -> None:
    assert totp.matches_step(_SECRET, _DEFAULT, _code(_STEP), _STEP)
    assert not totp.matches_step(_SECRET, _DEFAULT, _code(_STEP - 1), _STEP)
    assert not totp.matches_step(_SECRET, _DEFAULT, _code(_STEP + 1), _STEP)


def test_a_step_before_the_epoch_has_no_code() -> None:
    with pytest.raises(OverflowError):
        _code(-1)


def test_a_code_matches_with_its_own_parameters_alone() -> None:
    now_ms = _STEP * _NEXT_MS
    own = TotpParameters(algorithm="SHA256", digits=8, period_s=60)
    code = totp.code_at(_SECRET, own, totp.step_at(now_ms, 60))
    assert totp.match(_SECRET, own, code, now_ms=now_ms, window_steps=1) == _STEP // 2
    for other in (
        TotpParameters(algorithm="SHA1", digits=8, period_s=60),
        TotpParameters(algorithm="SHA256", digits=6, period_s=60),
        TotpParameters(algorithm="SHA256", digits=8, period_s=30),
    ):
        assert totp.match(_SECRET, other, code, now_ms=now_ms, window_steps=1) is None
