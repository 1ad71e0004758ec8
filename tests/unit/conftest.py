"""What tests of keys begin with."""

import pytest

from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryKeys


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()
