"""No attack is forgotten."""

import re
from pathlib import Path

from tests.attack.cases import CASES
from tests.attack.left_out import IN_PART, LEFT_OUT

_MODULES = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name]
_MARKS = re.compile(r"\battack\(([^)]*)\)")


def tried() -> set[str]:
    """The attacks that any test here is marked with."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in _MODULES)
    return {case for marked in _MARKS.findall(text) for case in re.findall(r'"([A-Z]-\d\d)"', marked)}


def test_every_attack_is_tried_or_said_why_not() -> None:
    assert tried() | LEFT_OUT.keys() == CASES.keys()


def test_no_attack_that_is_tried_is_said_to_be_left_out() -> None:
    assert not tried() & LEFT_OUT.keys()
    assert tried() >= IN_PART.keys()


def test_every_reason_is_a_sentence() -> None:
    for reason in (*LEFT_OUT.values(), *IN_PART.values()):
        assert re.fullmatch(r"\S.{20,}[^.\s]", reason), reason
