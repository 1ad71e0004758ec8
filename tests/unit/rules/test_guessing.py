"""How long a device waits after wrong codes, and what that leaves a guesser."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.errors import DeviceWaits
from mfa_service.model import Charged, Device, DeviceStatus, GuessingLimits, Owner, SealedSecret, TotpParameters
from mfa_service.rules import guessing

DEFAULT = guessing.limits(free_failures=5, first_wait_s=30, longest_wait_s=3_600, disable_after=100)
READ_AT_MS = 1_800_000_000_000
DEVICE = Device(
    id="d",
    owner=Owner("a", "alice"),
    name="phone",
    status=DeviceStatus.ACTIVE,
    parameters=TotpParameters(),
    secret=SealedSecret("k", b""),
    last_step=-1,
    last_auth_id="",
    earlier_acceptances="",
    failures=0,
    slow_failures=0,
    slow_since_ms=0,
    locked_until_ms=0,
    pending_until_ms=0,
    created_at_ms=0,
    last_used_ms=0,
    read_at_ms=READ_AT_MS,
)


def test_the_wait_begins_with_the_fifth_wrong_code_and_doubles_up_to_an_hour() -> None:
    waits_s = [wait_ms / 1000 for wait_ms in DEFAULT.waits_ms]
    assert waits_s[:14] == [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert set(waits_s[12:]) == {3600}


def test_there_is_a_wait_for_each_wrong_code_up_to_the_block() -> None:
    assert len(DEFAULT.waits_ms) == 101
    assert DEFAULT.disable_after == 100


def test_the_first_wait_may_be_the_longest_and_the_first_failure_the_last_free_one() -> None:
    limits = guessing.limits(free_failures=1, first_wait_s=60, longest_wait_s=60, disable_after=3)
    assert limits == GuessingLimits(waits_ms=(0, 60_000, 60_000, 60_000), disable_after=3)


@given(
    free=st.integers(1, 100),
    first_s=st.integers(1, 86_400),
    further_s=st.integers(0, 86_400),
    beyond=st.integers(0, 100),
)
def test_waits_never_shrink_and_keep_to_their_bounds(free: int, first_s: int, further_s: int, beyond: int) -> None:
    longest_s = first_s + further_s
    waits_ms = guessing.limits(
        free_failures=free, first_wait_s=first_s, longest_wait_s=longest_s, disable_after=free + beyond
    ).waits_ms
    assert list(waits_ms) == sorted(waits_ms)
    assert waits_ms[free - 1] == 0
    assert waits_ms[free] == first_s * 1000
    assert waits_ms[-1] <= longest_s * 1000


def test_a_guesser_gets_34_guesses_in_the_first_day() -> None:
    # The twelfth falls at 3,810 s, after which each waits an hour: 22 more begin within the day.
    assert guessing.guesses_per_day(DEFAULT) == 34


def test_guesses_of_a_day_are_those_of_playing_it_through() -> None:
    for longest_wait_s in (30, 300, 3_600, 86_400):
        limits = guessing.limits(free_failures=5, first_wait_s=30, longest_wait_s=longest_wait_s, disable_after=100)
        now_ms = guesses = 0
        while now_ms < 86_400_000 and guesses < limits.disable_after:
            guesses += 1
            now_ms += limits.waits_ms[guesses]
        assert guessing.guesses_per_day(limits) == guesses


def test_the_block_ends_all_guessing() -> None:
    limits = guessing.limits(free_failures=100, first_wait_s=1, longest_wait_s=1, disable_after=100)
    assert guessing.guesses_per_day(limits) == 100


def test_the_odds_count_every_code_of_the_window() -> None:
    assert guessing.odds_per_day(DEFAULT, window_steps=0) == pytest.approx(34 / 1_000_000)
    assert guessing.odds_per_day(DEFAULT, window_steps=1) == pytest.approx(102 / 1_000_000)
    assert guessing.odds_per_day(DEFAULT, window_steps=2) == pytest.approx(170 / 1_000_000)


def test_each_right_code_of_the_owner_buys_a_guesser_another_ladder() -> None:
    # Ten right codes leave eleven stretches of 7,854 s: the thirteenth guess falls at 7,410 s.
    assert guessing.guesses_per_day(DEFAULT, right_codes=10) == 11 * 13
    assert guessing.odds_per_day(DEFAULT, window_steps=1, right_codes=10) == pytest.approx(429 / 1_000_000)


def test_the_odds_of_a_challenge_are_those_of_its_attempts() -> None:
    assert guessing.odds_per_challenge(max_attempts=5, window_steps=1) == pytest.approx(15 / 1_000_000)
    assert guessing.odds_per_challenge(max_attempts=100, window_steps=2) == pytest.approx(500 / 1_000_000)


def test_the_slow_counter_is_read_as_empty_once_its_thirty_days_are_over() -> None:
    since_ms = READ_AT_MS - 30 * 86_400_000
    assert guessing.slow_failures(replace(DEVICE, slow_failures=7, slow_since_ms=since_ms + 1)) == 7
    assert guessing.slow_failures(replace(DEVICE, slow_failures=7, slow_since_ms=since_ms)) == 0
    assert guessing.slow_failures(DEVICE) == 0


def test_the_twentieth_wrong_code_alone_calls_for_an_alert() -> None:
    calling = [count for count in range(1, 101) if guessing.calls_for_alert(Charged(1, count))]
    assert calling == [20]


def test_a_device_without_a_wait_answers() -> None:
    guessing.refuse_waiting(DEVICE)
    guessing.refuse_waiting(replace(DEVICE, locked_until_ms=READ_AT_MS))
    guessing.refuse_waiting(replace(DEVICE, status=DeviceStatus.PENDING))


@pytest.mark.parametrize(
    ("left_ms", "retry_after_s"), [(1, 1), (1_000, 1), (1_001, 2), (29_999, 30), (3_600_000, 3_600)]
)
def test_a_waiting_device_says_in_whole_seconds_how_long(left_ms: int, retry_after_s: int) -> None:
    with pytest.raises(DeviceWaits) as refusal:
        guessing.refuse_waiting(replace(DEVICE, locked_until_ms=READ_AT_MS + left_ms))
    assert refusal.value.retry_after_s == retry_after_s


def test_a_blocked_device_says_no_time_whether_it_waits_or_not() -> None:
    for locked_until_ms in (0, READ_AT_MS + 60_000):
        with pytest.raises(DeviceWaits) as refusal:
            guessing.refuse_waiting(replace(DEVICE, status=DeviceStatus.BLOCKED, locked_until_ms=locked_until_ms))
        assert refusal.value.retry_after_s is None
