"""A clock that stands still until it is moved."""


class ManualClock:
    """A `Clock` that tests set and advance.

    Args:
        now_ms: Unix time in milliseconds at first.
    """

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1_000.0

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds
