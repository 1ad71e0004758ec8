"""What docs/security.md says of its proofs and of its arithmetic is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfa_service.ops.guessing import limits_of
from mfa_service.rules import guessing
from mfa_service.settings import Settings
from tests.attack.cases import CASES
from tests.attack.left_out import LEFT_OUT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROMISES = PAGE.partition("## What is promised")[2].partition("\n## ")[0]
ARITHMETIC = PAGE.partition("## The arithmetic of guessing")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, its head left out."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def cases_of(cell: str) -> Iterator[str]:
    """The ids in a cell; two with `to` between them stand for those between them too."""
    for first, last in re.findall(r"([A-Z]-\d\d)(?: to ([A-Z]-\d\d))?", cell):
        for number in range(int(first[2:]), int((last or first)[2:]) + 1):
            yield f"{first[0]}-{number:02}"


def test_every_promise_has_its_proofs() -> None:
    promised = re.findall(r"^(\d+)\. \*\*", PROMISES, re.MULTILINE)
    assert [number for number, _, _ in rows(PROMISES)] == promised


@pytest.mark.parametrize("row", rows(PROMISES), ids=lambda row: row[0])
def test_the_proofs_of_a_promise_are_there(row: list[str]) -> None:
    _, cases, besides = row
    tried = set(cases_of(cases))
    assert tried
    assert tried <= CASES.keys() - LEFT_OUT.keys()
    for path in re.findall(r"`(tests/[^`]*)`", besides):
        assert (ROOT / path).exists(), path


def test_the_arithmetic_is_that_of_the_defaults() -> None:
    settings = Settings()
    limits, window, attempts = limits_of(settings), settings.otp.window_steps, settings.challenge.max_attempts
    logins = guessing.RIGHT_CODES_A_DAY
    computed = [
        (attempts, guessing.odds_per_challenge(max_attempts=attempts, window_steps=window)),
        (guessing.guesses_per_day(limits), guessing.odds_per_day(limits, window_steps=window)),
        (
            guessing.guesses_per_day(limits, right_codes=logins),
            guessing.odds_per_day(limits, window_steps=window, right_codes=logins),
        ),
        (limits.disable_after, limits.disable_after * (2 * window + 1) / 10**6),
    ]
    for (_, guesses, odds), (computed_guesses, computed_odds) in zip(rows(ARITHMETIC), computed, strict=True):
        assert int(guesses) == computed_guesses
        assert odds_in(odds) == pytest.approx(computed_odds)


def test_the_hours_until_the_block_are_those_of_its_waits() -> None:
    waits_ms = limits_of(Settings()).waits_ms
    [hours] = re.findall(r"after (\d+) hours", ARITHMETIC)
    assert int(hours) == round(sum(waits_ms[:-1]) / 3_600_000)  # the last wrong code is not waited after, but blocked


def odds_in(text: str) -> float:
    """`3 in 10,000` as a number."""
    some, among = text.split(" in ")
    return float(some) / int(among.replace(",", ""))
