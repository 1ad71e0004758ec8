"""The checker itself: good histories have no violation, and every made-up bad one is caught by its rule."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fault.checker import Rule, violations
from tests.fault.guesses import Limits
from tests.fault.history import Call, Entry, Fault, History, Lost, Mark, Record

STEP = 1000
PHONE, TABLET = "activation-of-phone", "activation-of-tablet"


def record(call: Call, at_s: float, status: int | None = 200, code: str = "") -> Record:
    """A request of Alice's shop that takes a tenth of a second, about her phone."""
    return Record(
        call=call,
        node="one",
        application="shop",
        user="alice",
        device=PHONE,
        sent_s=at_s,
        answered_s=at_s + 0.1,
        status=status,
        code=code,
        trace_id="t",
        answered_trace_id="t",
    )


def registered(at_s: float, device: str = PHONE, name: str = "alice's phone") -> Record:
    return replace(record(Call.REGISTER, at_s, 201), device=device, auth_id=device, device_name=name)


def activated(at_s: float, step: int = STEP, device: str = PHONE) -> Record:
    return replace(record(Call.ACTIVATE, at_s), device=device, auth_id=device, step=step)


def initiated(at_s: float, auth_id: str) -> Record:
    return replace(record(Call.INITIATE, at_s, 201), auth_id=auth_id, device_name="alice's phone")


def validated(at_s: float, auth_id: str, step: int | None, status: int | None = 200, code: str = "") -> Record:
    return replace(record(Call.VALIDATE, at_s, status, code), auth_id=auth_id, step=step)


def guessed(at_s: float, auth_id: str) -> Record:
    return validated(at_s, auth_id, None, 400, "10008")


def refused(at_s: float, auth_id: str, retry_after_s: int | None) -> Record:
    return replace(validated(at_s, auth_id, None, 429, "10027"), retry_after_s=retry_after_s)


def listed(at_s: float, *devices: tuple[str, str], status: int | None = 200, code: str = "") -> Record:
    return replace(record(Call.LIST, at_s, status, code), device="", listed=devices)


def removed(at_s: float) -> Record:
    return replace(record(Call.REMOVE, at_s, 204), device_name="alice's phone")


def accepted(number: int, step: int, auth_id: str, *, at_ms: int = 0, row: str = "row") -> Entry:
    return Entry(
        number=number,
        device_id=row,
        mark=Mark.ACCEPTED,
        step=step,
        auth_id=auth_id,
        failures=0,
        locked_until_ms=0,
        at_ms=at_ms,
    )


def charged(number: int, failures: int, *, at_ms: int = 0, wait_ms: int = 0) -> Entry:
    return Entry(
        number=number,
        device_id="row",
        mark=Mark.CHARGED,
        step=STEP,
        auth_id=PHONE,
        failures=failures,
        locked_until_ms=at_ms + wait_ms,
        at_ms=at_ms,
    )


def good() -> History:
    """Alice activates her phone, authenticates twice with a wrong code between, and looks at her devices."""
    return History(
        records=[
            registered(0),
            activated(1),
            initiated(2, "c1"),
            validated(3, "c1", STEP + 1),
            validated(3.5, "c1", STEP + 1),
            initiated(4, "c2"),
            guessed(5, "c2"),
            replace(validated(6, "c2", STEP + 1, 400, "10008"), used=True),
            validated(7, "c2", STEP + 2),
            listed(8, ("alice's phone", "ACTIVE")),
        ],
        ledger=[
            accepted(1, STEP, PHONE),
            accepted(2, STEP + 1, "c1"),
            replace(charged(3, 1), step=STEP + 1, auth_id="c1"),
            accepted(4, STEP + 2, "c2"),
        ],
    )


def with_more(*records: Record, ledger: tuple[Entry, ...] = ()) -> History:
    history = good()
    history.records += records
    history.ledger = [*history.ledger, *ledger]
    return history


def without(unwanted: Callable[[Entry], bool]) -> History:
    history = good()
    history.ledger = [entry for entry in history.ledger if not unwanted(entry)]
    return history


def many_wrong_codes(challenges: int) -> History:
    """Two wrong codes on each of some challenges, one a second, each of them charged."""
    guesses, entries = [], []
    for number in range(2 * challenges):
        guesses.append(guessed(20 + number, f"g{number // 2}"))
        entries.append(replace(charged(10 + number, number + 1, at_ms=1000 * number), step=STEP + 2, auth_id="c2"))
    opened = [initiated(10, f"g{number}") for number in range(challenges)]
    return with_more(*opened, *guesses, ledger=tuple(entries))


def a_wait_of(wait_ms: int, *, next_at_ms: int | None = None) -> History:
    """Five wrong codes on two challenges, then a wait, then perhaps a code that is accepted."""
    opened = [initiated(9, auth_id) for auth_id in ("c3", "c4")]
    history = with_more(*opened, *(guessed(10 + number, ("c3", "c4")[number % 2]) for number in range(5)))
    entries = [charged(5 + number, number + 1) for number in range(4)]
    entries.append(charged(9, 5, wait_ms=wait_ms))
    if next_at_ms is not None:
        history.records += [initiated(20, "c5"), validated(21, "c5", STEP + 3)]
        entries.append(accepted(10, STEP + 3, "c5", at_ms=next_at_ms))
    history.ledger = [*history.ledger, *entries]
    return history


GOOD: dict[str, Callable[[], History]] = {
    "a plain run": good,
    "nothing at all": History,
    "a removed device that nobody lists any more": lambda: with_more(removed(10), listed(11)),
    "a device registered again under its old name": lambda: with_more(
        removed(10),
        registered(11, TABLET),
        activated(12, device=TABLET),
        listed(13, ("alice's phone", "ACTIVE")),
        ledger=(accepted(9, STEP, TABLET, row="another row"),),
    ),
    "a lost answer whose request is repeated": lambda: with_more(
        initiated(9, "c3"),
        validated(10, "c3", STEP + 3, 503, "10015"),
        validated(11, "c3", STEP + 3),
        ledger=(accepted(5, STEP + 3, "c3"),),
    ),
    "five wrong codes and a wait": lambda: a_wait_of(30_000),
    "a code after the wait": lambda: a_wait_of(30_000, next_at_ms=30_000),
    "a repeat of what passed before the device waited": lambda: with_more(
        refused(9, "c2", 30), validated(10, "c2", STEP + 2)
    ),
    "an older code, repeated after a newer one, whose lost answer was the first": lambda: with_more(
        initiated(9, "c3"),
        initiated(9, "c4"),
        validated(10, "c3", STEP + 3, 503, "10015"),
        validated(11, "c4", STEP + 4),
        validated(12, "c3", STEP + 3),
        ledger=(accepted(5, STEP + 3, "c3"), accepted(6, STEP + 4, "c4")),
    ),
    "a code that passes when the wait is over": lambda: with_more(
        initiated(9, "c3"),
        refused(9.5, "c3", 30),
        validated(40, "c3", STEP + 3),
        ledger=(accepted(5, STEP + 3, "c3"),),
    ),
}

BAD: dict[str, tuple[Rule, Callable[[], History]]] = {
    "one code passes for two challenges": (
        Rule.ONCE,
        lambda: with_more(initiated(9, "c3"), validated(10, "c3", STEP + 2)),
    ),
    "one code passes for two challenges at the same time": (
        Rule.ONCE,
        lambda: with_more(initiated(5, "c3"), validated(7, "c3", STEP + 2)),
    ),
    "an activation code passes as a login code": (
        Rule.ONCE,
        lambda: with_more(initiated(1.2, "c3"), validated(1.3, "c3", STEP)),
    ),
    "a row accepts one step twice": (
        Rule.ONCE,
        lambda: with_more(ledger=(accepted(5, STEP + 2, "c9"),)),
    ),
    "an older code passes after a newer one": (
        Rule.RISING,
        lambda: with_more(initiated(9, "c3"), validated(10, "c3", STEP - 1)),
    ),
    "a row goes back to an older step": (
        Rule.RISING,
        lambda: with_more(ledger=(accepted(5, STEP - 1, "c9"),)),
    ),
    "four wrong codes are weighed on one challenge": (
        Rule.BOUNDED,
        lambda: with_more(
            initiated(9, "c3"),
            *(guessed(10 + number, "c3") for number in range(4)),
            ledger=tuple(charged(5 + number, number + 1) for number in range(4)),
        ),
    ),
    "six wrong codes are weighed on the challenges of one device": (Rule.BOUNDED, lambda: many_wrong_codes(3)),
    "a wrong code is answered and not charged": (
        Rule.BOUNDED,
        lambda: without(lambda entry: entry.mark is Mark.CHARGED),
    ),
    "a count of wrong codes is forgotten": (
        Rule.CHARGED,
        lambda: with_more(ledger=(charged(5, 1), charged(6, 1))),
    ),
    "the fifth wrong code brings no wait": (Rule.CHARGED, lambda: a_wait_of(0)),
    "a wait is too short": (Rule.CHARGED, lambda: a_wait_of(5_000)),
    "a row accepts a code while it waits": (Rule.CHARGED, lambda: a_wait_of(30_000, next_at_ms=20_000)),
    "a guess passes": (Rule.RIGHTFUL, lambda: with_more(initiated(9, "c3"), validated(10, "c3", None))),
    "a code passes for a challenge that nobody opened": (
        Rule.RIGHTFUL,
        lambda: with_more(validated(10, "c3", STEP + 3)),
    ),
    "a code passes after the challenge's end": (
        Rule.RIGHTFUL,
        lambda: with_more(initiated(9, "c3"), validated(309.2, "c3", STEP + 3)),
    ),
    "a code activates a device after its end": (
        Rule.RIGHTFUL,
        lambda: with_more(registered(10, TABLET, "alice's tablet"), activated(910.2, device=TABLET)),
    ),
    "a code passes while its device waits": (
        Rule.RIGHTFUL,
        lambda: with_more(
            initiated(9, "c3"),
            refused(9.5, "c3", 30),
            validated(20, "c3", STEP + 3),
        ),
    ),
    "a code passes on a blocked device": (
        Rule.RIGHTFUL,
        lambda: with_more(initiated(9, "c3"), refused(9.5, "c3", None), validated(200, "c3", STEP + 3)),
    ),
    "a code passes after its device was removed": (
        Rule.RIGHTFUL,
        lambda: with_more(initiated(9, "c3"), removed(10), validated(11, "c3", STEP + 3)),
    ),
    "a code passes for another application": (
        Rule.RIGHTFUL,
        lambda: with_more(initiated(9, "c3"), replace(validated(10, "c3", STEP + 3), application="bank")),
    ),
    "a code activates another user's device": (
        Rule.RIGHTFUL,
        lambda: with_more(registered(10, TABLET, "alice's tablet"), replace(activated(11, device=TABLET), user="bob")),
    ),
    "another device's code passes": (
        Rule.RIGHTFUL,
        lambda: with_more(initiated(9, "c3"), replace(validated(10, "c3", STEP + 3), device=TABLET)),
    ),
    "an activation passes as an authentication": (
        Rule.RIGHTFUL,
        lambda: with_more(validated(10, PHONE, STEP + 3)),
    ),
    "a 503 outside a fault": (Rule.AVAILABLE, lambda: with_more(listed(9, status=503, code="10015"))),
    "a lost connection outside a fault": (
        Rule.AVAILABLE,
        lambda: with_more(listed(9, status=None, code=Lost.CONNECTION)),
    ),
    "an acceptance that nobody asked for": (
        Rule.NOTHING_HIDDEN,
        lambda: with_more(ledger=(accepted(5, STEP + 3, "c9"),)),
    ),
    "an acceptance that was refused": (
        Rule.NOTHING_HIDDEN,
        lambda: with_more(
            initiated(9, "c3"),
            validated(10, "c3", STEP + 3, 400, "10008"),
            ledger=(accepted(5, STEP + 3, "c3"),),
        ),
    ),
    "a second acceptance behind a 503": (
        Rule.ONCE,
        lambda: with_more(
            initiated(5, "c3"),
            validated(7, "c3", STEP + 2, 503, "10015"),
            ledger=(accepted(5, STEP + 2, "c3"),),
        ),
    ),
    "a second acceptance behind a lost connection": (
        Rule.ONCE,
        lambda: with_more(
            initiated(5, "c3"),
            validated(7, "c3", STEP + 2, None, Lost.CONNECTION),
            ledger=(accepted(5, STEP + 2, "c3"),),
        ),
    ),
    "a pass that no row holds": (
        Rule.NOTHING_LOST,
        lambda: without(lambda entry: entry.auth_id == "c2"),
    ),
    "an activated device that is gone": (Rule.NOTHING_LOST, lambda: with_more(listed(9))),
    "an activated device whose user is told there is none": (
        Rule.NOTHING_LOST,
        lambda: with_more(listed(9, status=404, code="10003")),
    ),
    "an activated device that is pending again": (
        Rule.NOTHING_LOST,
        lambda: with_more(listed(9, ("alice's phone", "ACTIVATION_REQUIRED"))),
    ),
    "a removed device that is there again": (
        Rule.NOTHING_LOST,
        lambda: with_more(removed(10), listed(11, ("alice's phone", "ACTIVE"))),
    ),
    "a list that shows another user's device": (
        Rule.OWN_DATA,
        lambda: with_more(replace(listed(9), user="bob", private=(("deviceName", "alice's phone"),))),
    ),
    "two users who are given one challenge": (
        Rule.OWN_DATA,
        lambda: with_more(
            replace(initiated(9, "c3"), private=(("authId", "c3"),)),
            replace(initiated(9, "c3"), user="bob", private=(("authId", "c3"),), device_name="bob's phone"),
        ),
    ),
    "two applications that are given one secret": (
        Rule.OWN_DATA,
        lambda: with_more(
            replace(registered(9, TABLET, "alice's tablet"), private=(("secret", "S"),)),
            replace(registered(9, "activation-at-bank", "bank's"), application="bank", private=(("secret", "S"),)),
        ),
    ),
    "an answer to another request": (
        Rule.OWN_DATA,
        lambda: with_more(replace(listed(9, ("alice's phone", "ACTIVE")), answered_trace_id="u")),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_has_no_violation(name: str) -> None:
    history = GOOD[name]()
    history.faults = [Fault(10, 10.05)] if "lost answer" in name else []
    assert violations(history) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_caught(name: str) -> None:
    rule, made = BAD[name]
    assert rule in {found.rule for found in violations(made())}


def test_every_rule_has_a_bad_history() -> None:
    assert {rule for rule, _ in BAD.values()} == set(Rule)


@pytest.mark.parametrize(
    ("status", "code", "node", "is_excused"),
    [
        (503, "10015", "two", True),
        (500, "10015", "two", False),
        (503, "10034", "two", False),
        (None, Lost.CONNECTION, "one", True),
        (None, Lost.CONNECTION, "two", False),
        (None, Lost.TIME, "one", False),
    ],
)
def test_a_fault_excuses_503_and_the_connections_to_nodes_that_it_kills(
    status: int | None, code: str, node: str, *, is_excused: bool
) -> None:
    history = with_more(replace(listed(9.95, status=status, code=code), node=node))
    history.faults = [Fault(10, 12, frozenset({"one"}))]
    assert ([found.rule for found in violations(history)] == []) is is_excused


@pytest.mark.parametrize(("at_s", "is_excused"), [(9.95, True), (11.9, True), (12.1, False), (9.8, False)])
def test_a_fault_excuses_what_was_under_way_while_it_lasted(at_s: float, *, is_excused: bool) -> None:
    history = with_more(listed(at_s, status=503, code="10015"))
    history.faults = [Fault(10, 12)]
    assert (violations(history) == []) is is_excused


def test_the_limits_let_a_device_take_more_wrong_codes_the_longer_it_waits() -> None:
    assert [Limits().weighed_within(duration_s) for duration_s in (0, 29, 30, 89, 90)] == [5, 5, 6, 6, 7]
