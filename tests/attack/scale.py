"""How large an attack is tried: whole where `MFA_TEST_FULL` is 1, else no larger than every run of the tests bears."""

import os

IS_FULL = os.environ.get("MFA_TEST_FULL") == "1"
_MOST = 2_000
_LONGEST_S = 5.0
_PART = 100


def times(whole: int) -> int:
    """So many times, or a hundredth of them where that is more than two thousand."""
    return whole if IS_FULL or whole <= _MOST else whole // _PART


def seconds(whole: float) -> float:
    """So many seconds, or a hundredth of them where that is more than five, but one second at least.

    No deadline of the service can be set below one second.
    """
    return whole if IS_FULL or whole <= _LONGEST_S else max(1.0, whole / _PART)
