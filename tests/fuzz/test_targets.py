"""Every parser withstands what is kept for it, and copies of that with a few changes."""

import time

import pytest

from tests.fuzz.seeds import CRASHES, LONGEST, SEEDS, TARGETS, known, mutants

MUTANTS = 400
MOST_CPU_S = 0.5
HOSTILE = (
    b"",
    b"\0",
    b"[",
    b"{",
    b'{"a":',
    b"%25",
    b"%",
    b"&",
    b"=",
    b"+",
    b"\\",
    b'"',
    b"\xff",
    b"\xcc\x81",
    b"9",
    b".",
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_what_is_kept_for_it(name: str) -> None:
    kept = known(name)
    assert kept
    for octets in kept:
        hold(name, octets)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_changed_copies_of_it(name: str) -> None:
    for octets in mutants(name, MUTANTS):
        hold(name, octets)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_one_thing_over_and_over(name: str) -> None:
    for piece in HOSTILE:
        hold(name, piece * (LONGEST // max(1, len(piece))))


def test_nothing_is_kept_for_a_target_that_is_not_there() -> None:
    folders = [path for folder in (SEEDS, CRASHES) if folder.is_dir() for path in folder.iterdir()]
    assert {path.name for path in folders} <= TARGETS.keys()


def hold(name: str, octets: bytes) -> None:
    """Run a target, which may not take long."""
    began_s = time.thread_time()
    TARGETS[name](octets)
    assert time.thread_time() - began_s < MOST_CPU_S, f"{name} takes long over {octets[:80]!r} of {len(octets)} bytes"
