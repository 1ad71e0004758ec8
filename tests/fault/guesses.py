"""Whether more wrong codes were weighed than the limits allow: by the answers, and by what the rows were charged."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.fault.history import Call, History, Mark, Record, grouped


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the service that the rules depend on."""

    max_attempts: int = 3
    free_failures: int = 5
    first_wait_s: int = 30
    longest_wait_s: int = 3600
    disable_after: int = 100
    challenge_ttl_s: int = 300
    activation_ttl_s: int = 900

    def wait_s(self, failures: int) -> int:
        """How long a device waits after so many wrong codes in a row."""
        if failures < self.free_failures:
            return 0
        return min(self.first_wait_s << (failures - self.free_failures), self.longest_wait_s)

    def weighed_within(self, duration_s: float) -> int:
        """How many wrong codes in a row a device takes at most in a time."""
        failures, elapsed_s = 0, 0
        while failures < self.disable_after and elapsed_s <= duration_s:
            failures += 1
            elapsed_s += self.wait_s(failures)
        return failures


def over_limits(history: History, limits: Limits) -> Iterator[str]:
    """Tell of every challenge and device that had more wrong codes weighed than it takes."""
    wrong = [one for one in history.records if one.was_wrong]
    for auth_id, guesses in grouped(wrong, lambda one: one.auth_id).items():
        if len(guesses) > limits.max_attempts:
            yield f"{len(guesses)} wrong codes were weighed on {auth_id}"
    openings = history.openings()
    resets = grouped((one for one in history.records if _may_reset(one)), lambda one: one.device)
    by_device = grouped((one for one in wrong if one.auth_id in openings), lambda one: openings[one.auth_id].device)
    for device, guesses in by_device.items():
        for began_s, ended_s in _between(resets.get(device, ())):
            row = [one for one in guesses if one.sent_s > began_s and one.answered_s < ended_s]
            if row:
                duration_s = max(one.answered_s for one in row) - min(one.sent_s for one in row)
                if len(row) > limits.weighed_within(duration_s):
                    yield f"{len(row)} wrong codes of {device} were weighed in {duration_s:.1f} s"
    charges, known = Counter[str](), set[str]()
    for entries in grouped(history.ledger, lambda one: one.device_id).values():
        named = {openings[one.auth_id].device for one in entries if one.auth_id in openings}
        charges.update({device: sum(one.mark is Mark.CHARGED for one in entries) for device in named or {""}})
        known |= named
    for device, guesses in by_device.items():
        # Before its first accepted code a row names no challenge: whose its charges are is not known.
        if device in known and len(guesses) > charges[device]:
            yield f"{len(guesses)} wrong codes of {device} were answered, {charges[device]} charged"


def mischarged(history: History, limits: Limits) -> Iterator[str]:
    """Tell of every row that counts wrongly, waits too short, or took a code while it waited."""
    for device_id, entries in grouped(history.ledger, lambda one: one.device_id).items():
        failures, locked_until_ms = 0, 0
        for entry in entries:
            if entry.at_ms < locked_until_ms:
                yield f"row {device_id} took a code while it waited"
            failures = 0 if entry.mark is Mark.ACCEPTED else failures + 1
            locked_until_ms = entry.locked_until_ms
            if entry.failures != failures:
                yield f"row {device_id} counts {entry.failures} wrong codes after {failures}"
            if failures and locked_until_ms < entry.at_ms + (limits.wait_s(failures) - 1) * 1000:
                yield f"row {device_id} waits too short after {failures} wrong codes"


def _may_reset(record: Record) -> bool:
    """Whether a request may have set a device's count of wrong codes back."""
    weighed = record.call in (Call.ACTIVATE, Call.VALIDATE) and record.step is not None
    return weighed and (record.passed or record.is_unknown)


def _between(resets: Sequence[Record]) -> Iterator[tuple[float, float]]:
    """The times in which no such request was under way."""
    began_s = -math.inf
    for reset in sorted(resets, key=lambda one: one.sent_s):
        if reset.sent_s > began_s:
            yield began_s, reset.sent_s
        began_s = max(began_s, reset.answered_s)
    yield began_s, math.inf
