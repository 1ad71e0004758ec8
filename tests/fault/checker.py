"""Checks a history afterwards for everything that must hold whatever fails, by the requests and by the ledger."""

import enum
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.fault.guesses import Limits, mischarged, over_limits
from tests.fault.history import Call, History, Lost, Record, grouped


class Rule(enum.StrEnum):
    """What must hold."""

    ONCE = "a code is accepted once"
    RISING = "the accepted steps of a device rise"
    BOUNDED = "no more wrong codes are weighed than the limits allow"
    CHARGED = "every wrong code is charged, and a device that waits takes none"
    RIGHTFUL = "nothing passes without the right to"
    AVAILABLE = "nothing fails outside a fault"
    NOTHING_HIDDEN = "what was accepted was asked for and not refused"
    NOTHING_LOST = "what was acknowledged stays"
    OWN_DATA = "an answer holds nobody else's data"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and where."""

    rule: Rule
    detail: str


def violations(history: History, limits: Limits | None = None) -> list[Violation]:
    """Return every violation of every rule: none, where the service is what it promises to be."""
    limits = limits or Limits()
    checks: Mapping[Rule, Callable[[], Iterable[str]]] = {
        Rule.ONCE: lambda: _accepted_twice(history),
        Rule.RISING: lambda: _fallen(history),
        Rule.BOUNDED: lambda: over_limits(history, limits),
        Rule.CHARGED: lambda: mischarged(history, limits),
        Rule.RIGHTFUL: lambda: _wrongful(history, limits),
        Rule.AVAILABLE: lambda: _unavailable(history),
        Rule.NOTHING_HIDDEN: lambda: _hidden(history),
        Rule.NOTHING_LOST: lambda: _lost(history),
        Rule.OWN_DATA: lambda: _foreign_data(history),
    }
    return [Violation(rule, detail) for rule, check in checks.items() for detail in check()]


def _accepted_twice(history: History) -> Iterator[str]:
    for (device, step), passes in grouped(history.passes(), lambda one: (one.device, one.step)).items():
        if len({one.auth_id for one in passes}) > 1:
            yield f"step {step} of {device} passed for several challenges"
    for (device_id, step), entries in grouped(history.accepted(), lambda one: (one.device_id, one.step)).items():
        if len(entries) > 1:
            yield f"step {step} of row {device_id} was accepted {len(entries)} times"


def _fallen(history: History) -> Iterator[str]:
    asked_s = history.first_asked_s()
    for device, passes in grouped(history.first_passes(), lambda one: one.device).items():
        for earlier, later in itertools.permutations(passes, 2):
            rose = earlier.step is not None and later.step is not None and later.step > earlier.step
            if earlier.answered_s < asked_s[later.auth_id, later.step] and not rose:
                yield f"{device} passed with step {later.step} after {earlier.step}"
    for device_id, entries in grouped(history.accepted(), lambda one: one.device_id).items():
        for before, after in itertools.pairwise(entries):
            if after.step <= before.step:
                yield f"row {device_id} went from step {before.step} to {after.step}"


def _wrongful(history: History, limits: Limits) -> Iterator[str]:
    openings = history.openings()
    removed_s = _removed_s(history)
    waits = grouped((one for one in history.records if one.outcome == (429, "10027")), lambda one: one.device)
    asked_s = history.first_asked_s()
    for one in history.passes():
        told = f"{one.call} of {one.auth_id} passed"
        if one.step is None:
            yield f"{told} with a guess"
        opening = openings.get(one.auth_id)
        if opening is None or (opening.call is Call.REGISTER) is not (one.call is Call.ACTIVATE):
            yield f"{told}, which nobody opened"
            continue
        if (opening.application, opening.user) != (one.application, one.user):
            yield f"{told} for another application or user"
        if opening.device != one.device:
            yield f"{told} with another device's code"
        ttl_s = limits.activation_ttl_s if one.call is Call.ACTIVATE else limits.challenge_ttl_s
        if one.sent_s > opening.answered_s + ttl_s:
            yield f"{told} after its end"
        if one.sent_s > removed_s.get(one.device, math.inf):
            yield f"{told} after its device was removed"
        for refusal in waits.get(one.device, ()):
            until_s = math.inf if refusal.retry_after_s is None else refusal.sent_s + refusal.retry_after_s - 1
            # A repeat of what passed before the wait is answered as it was.
            if refusal.answered_s < asked_s[one.auth_id, one.step] and one.answered_s < until_s:
                yield f"{told} while its device waited"


def _unavailable(history: History) -> Iterator[str]:
    for one in history.records:
        faults = [fault for fault in history.faults if fault.covers(one)]
        refused = one.outcome == (503, "10015") and faults
        lost = one.code == Lost.CONNECTION and any(one.node in fault.lost_nodes for fault in faults)
        if one.is_unknown and not refused and not lost:
            yield f"{one.call} on {one.node} at {one.sent_s:.3f} got {one.status} {one.code}"


def _hidden(history: History) -> Iterator[str]:
    weighed = (one for one in history.records if one.call in (Call.ACTIVATE, Call.VALIDATE))
    asked = grouped(weighed, lambda one: (one.auth_id, one.step))
    for entry in history.accepted():
        requests = asked.get((entry.auth_id, entry.step), ())
        if not any(one.passed or one.is_unknown for one in requests):
            outcomes = sorted({str(one.outcome) for one in requests})
            yield f"step {entry.step} was accepted for {entry.auth_id}, which was answered {outcomes}"


def _lost(history: History) -> Iterator[str]:
    accepted = {(one.auth_id, one.step) for one in history.accepted()}
    for one in history.first_passes():
        if (one.auth_id, one.step) not in accepted:
            yield f"step {one.step} passed for {one.auth_id} and is in no row"
    names = {one.device: one.device_name for one in history.records if one.call is Call.REGISTER and one.device}
    asked = grouped((one for one in history.records if one.call in (Call.REGISTER, Call.REMOVE)), _named)
    lists = (one for one in history.records if one.call is Call.LIST and one.status in (200, 404))
    listings = grouped(lists, lambda one: (one.application, one.user))
    removed_s = _removed_s(history)
    for activation in history.passes():
        if activation.call is Call.VALIDATE:
            continue
        owner = (activation.application, activation.user)
        name = names.get(activation.device, "")
        requests = asked.get((*owner, name), ())
        removal_sent_s = min((one.sent_s for one in requests if one.call is Call.REMOVE), default=math.inf)
        registered_once = sum(one.call is Call.REGISTER for one in requests) == 1
        for listing in listings.get(owner, ()):
            status = dict(listing.listed).get(name)
            if activation.answered_s < listing.sent_s and listing.answered_s < removal_sent_s:
                if status not in ("ACTIVE", "BLOCKED"):
                    yield f"{name} was activated and is {status or 'gone'}"
            elif removed_s.get(activation.device, math.inf) < listing.sent_s and status and registered_once:
                yield f"{name} was removed and is there"


def _foreign_data(history: History) -> Iterator[str]:
    asked = (one for one in history.records if one.device_name)
    owners = {("deviceName", one.device_name): (one.application, one.user) for one in asked}
    for one in sorted(history.records, key=lambda one: one.answered_s):
        if one.status is not None and one.answered_trace_id != one.trace_id:
            yield f"{one.call} on {one.node} got the answer to another request"
        for field in one.private:
            if owners.setdefault(field, (one.application, one.user)) != (one.application, one.user):
                yield f"{one.call} of {one.user} shows another's {field[0]}"


def _removed_s(history: History) -> Mapping[str, float]:
    """When each removed device was known to be gone."""
    removals = (one for one in history.records if one.call is Call.REMOVE and one.status == 204)
    return {one.device: one.answered_s for one in removals}


def _named(record: Record) -> tuple[str, str, str]:
    return record.application, record.user, record.device_name


def told(found: Sequence[Violation]) -> str:
    """Return violations as lines to read, the first ones only."""
    return "\n".join(f"{one.rule}: {one.detail}" for one in found[:20])
