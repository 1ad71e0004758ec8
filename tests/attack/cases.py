"""The attacks by their ids: the mark that a test carries, and the list of all."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

_LINES = (Path(__file__).parents[1] / "data" / "attacks.txt").read_text(encoding="utf-8").splitlines()
MARK = "attack"


def _every() -> Mapping[str, str]:
    found = [line.partition(" ")[::2] for line in _LINES if re.match(r"[A-Z]-\d\d ", line)]
    assert len(dict(found)) == len(found)
    return MappingProxyType(dict(found))


CASES = _every()
"""Id → what is tried, in the order of the list."""


def attack(*ids: str) -> pytest.MarkDecorator:
    """Mark a test as one that tries these attacks."""
    assert ids
    assert set(ids) <= CASES.keys(), set(ids) - CASES.keys()
    return pytest.mark.attack(*ids)
