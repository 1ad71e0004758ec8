"""`WrongSecrets`: ten wrong secrets in a minute, and then a pause."""

import pytest

from mfa_service.access.throttle import WrongSecrets
from mfa_service.errors import QuotaExceeded
from tests.clocks import ManualClock


def wrong(secrets: WrongSecrets, client_id: str = "shop") -> int:
    """Count one wrong secret; return the seconds to wait, 0 where it was counted."""
    try:
        secrets.count(client_id)
    except QuotaExceeded as pause:
        return pause.retry_after_s
    return 0


def test_ten_at_once_are_counted_and_the_eleventh_is_told_to_wait() -> None:
    secrets = WrongSecrets(ManualClock())
    assert [wrong(secrets) for _ in range(12)] == [0] * 10 + [6, 6]


def test_waiting_as_told_is_enough_for_one_more() -> None:
    clock = ManualClock()
    secrets = WrongSecrets(clock)
    for _ in range(10):
        wrong(secrets)
    clock.advance(5.5)
    assert wrong(secrets) == 1
    clock.advance(0.5)
    assert [wrong(secrets), wrong(secrets)] == [0, 6]
    clock.advance(60)
    assert [wrong(secrets) for _ in range(11)] == [0] * 10 + [6]


def test_slow_ones_are_never_told_to_wait() -> None:
    clock = ManualClock()
    secrets = WrongSecrets(clock)
    for _ in range(100):
        assert wrong(secrets) == 0
        clock.advance(6)


def test_client_ids_are_counted_apart() -> None:
    secrets = WrongSecrets(ManualClock())
    places = {hash(name) % 4096: name for name in ("shop", "bank", "cafe")}
    for name in places.values():
        assert [wrong(secrets, name) for _ in range(11)] == [0] * 10 + [6]


def test_any_number_of_client_ids_takes_the_memory_of_one() -> None:
    secrets = WrongSecrets(ManualClock())
    before = secrets._empty_at_s.buffer_info()
    for number in range(20_000):
        wrong(secrets, f"nobody {number}")
    wrong(secrets, "\ud800")
    assert secrets._empty_at_s.buffer_info() == before
    assert set(vars(secrets)) == {"_clock", "_empty_at_s"}


@pytest.mark.parametrize("client_id", ["", "é", "\ud800", "x" * 10_000])
def test_any_text_is_a_client_id(client_id: str) -> None:
    assert [wrong(WrongSecrets(ManualClock()), client_id)] == [0]
