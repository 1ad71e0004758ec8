"""The benchmark itself, at its smallest: whatever it sends is answered as it has to be, and counted."""

import pytest

from bench import service, stage
from bench.plan import Scene
from bench.rounds import FLOOR, INITIATE, TOKEN, VALIDATE, WRONG, Size
from bench.setups import EMBEDDED, SCALED_OUT, Setup

CALLS = {FLOOR, INITIATE, VALIDATE, WRONG, TOKEN}
_TINY = Size(block=40, blocks=2, wrong=20, tokens=10)


@pytest.mark.parametrize(("setup", "workers"), [(EMBEDDED, 1), (SCALED_OUT, 2)], ids=["embedded", "scaled-out"])
def test_every_call_is_measured_on_either_kind_of_stores(setup: Setup, workers: int) -> None:
    found = service.measured(Scene(setup, workers, (80,), ((3, _TINY),), runs=1))
    assert found.failures == []
    cells = {cell.call: cell.figures for cell in found.cells}
    assert cells.keys() == CALLS
    assert all(figures.per_s > 0 and 0 < figures.p50_ms <= figures.p999_ms for figures in cells.values())
    assert all(figures.rss_mib > 10 for figures in cells.values())
    [storage] = found.storage
    assert storage.device_bytes > 1_000
    assert (storage.challenge_bytes > 0) == (setup is SCALED_OUT)


def test_registries_of_several_sizes_are_measured_in_turns() -> None:
    found = service.measured(Scene(EMBEDDED, 1, (40, 80), ((3, _TINY),), runs=1, turns=2))
    assert found.failures == []
    assert [storage.devices for storage in found.storage] == [40, 80]
    measured = {(cell.arrangement.devices, cell.call) for cell in found.cells}
    assert measured == {(devices, call) for devices in (40, 80) for call in CALLS}


def test_the_generators_own_ceiling_is_measured() -> None:
    assert stage.ceiling(requests=1_000).per_s > 0
