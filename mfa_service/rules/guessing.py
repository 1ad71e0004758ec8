"""How long a device waits after wrong codes, and what that leaves a guesser.

Sources: RFC 4226 §7.3 (throttling by a growing delay), NIST SP 800-63B §5.2.2 (at most 100 failures in a row).
"""

from mfa_service.errors import DeviceWaits
from mfa_service.model import Device, DeviceStatus, GuessingLimits

_DAY_MS = 86_400_000
_CODES = 1_000_000  # of a six-digit device, the easiest to guess


def limits(*, free_failures: int, first_wait_s: int, longest_wait_s: int, disable_after: int) -> GuessingLimits:
    """Compute the list of waits from the four figures of the settings.

    Args:
        free_failures: the wait begins with this many wrong codes in a row.
        first_wait_s: the first wait in seconds; each further one is twice as long.
        longest_wait_s: no wait is longer, in seconds.
        disable_after: the device is blocked at this many wrong codes in a row.

    Returns:
        The waits in milliseconds, indexed by the number of wrong codes in a row, up to the block.
    """
    waits_ms = [0] * (disable_after + 1)
    wait_s = first_wait_s
    for failures in range(free_failures, disable_after + 1):
        waits_ms[failures] = min(wait_s, longest_wait_s) * 1000
        wait_s = min(wait_s * 2, longest_wait_s)
    return GuessingLimits(waits_ms=tuple(waits_ms), disable_after=disable_after)


def guesses_per_day(limits: GuessingLimits) -> int:
    """Return how many wrong codes a device takes at most within one day, from none on."""
    elapsed_ms = 0
    for failures in range(1, limits.disable_after + 1):
        if elapsed_ms >= _DAY_MS:
            return failures - 1
        elapsed_ms += limits.waits_ms[failures]
    return limits.disable_after


def odds_per_day(limits: GuessingLimits, *, window_steps: int) -> float:
    """Return the odds that a guesser hits a code of a six-digit device within one day.

    Args:
        limits: the waits and the block.
        window_steps: how many steps either side of now are accepted; each adds a code that counts.

    Returns:
        A probability between 0 and 1.
    """
    codes_in_window = 2 * window_steps + 1
    return min(1.0, guesses_per_day(limits) * codes_in_window / _CODES)


def refuse_waiting(device: Device) -> None:
    """Let a device pass that answers codes now.

    Raises:
        DeviceWaits: it is blocked, or waits after too many wrong codes in a row.
    """
    if device.status is DeviceStatus.BLOCKED:
        raise DeviceWaits(None)
    left_ms = device.locked_until_ms - device.read_at_ms
    if left_ms > 0:
        raise DeviceWaits(-(-left_ms // 1000))
