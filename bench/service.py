"""Measures the whole service over HTTP, on stores of its own: run it by `make bench` or `make bench-full`."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from bench import plan, service_report, stage
from bench.connections import UnexpectedAnswer
from bench.plan import Scene
from bench.rounds import Rounds, Size
from bench.service_report import Results, Storage, described
from bench.stage import Stage
from bench.sweeps import Arrangement, Sweep, cell_of, joined

_RESULT = Path(__file__).with_name("results.json")
_CHALLENGES = 10_000  # whose memory is told


def measured(scene: Scene) -> Results:
    """Start a scene's services and measure them at each number of connections, step by step in turns."""
    results = Results()
    with stage.opened(scene.workers) as house, ExitStack() as running:
        stages = {
            devices: running.enter_context(stage.set_up(scene.setup, house, devices=devices))
            for devices in scene.devices
        }
        results.storage.extend(_stored(scene.setup.name, devices, here) for devices, here in stages.items())
        for connections, size in scene.sizes:
            here = {
                Arrangement(scene.setup.name, scene.workers, connections, devices): one.rounds
                for devices, one in stages.items()
            }
            runs: dict[tuple[Arrangement, str], list[Sweep]] = defaultdict(list)
            for _ in range(scene.runs):
                for which, sweeps in _run(here, size, scene.turns, results.failures).items():
                    runs[which].append(joined(sweeps))
            results.cells.extend(cell_of(*which, some) for which, some in runs.items())
    return results


def _run(
    here: Mapping[Arrangement, Rounds], size: Size, turns: int, failures: list[str]
) -> Mapping[tuple[Arrangement, str], Sequence[Sweep]]:
    """Have every service take its turns, step by step, and return what each call cost there in each of them."""
    sweeps: dict[tuple[Arrangement, str], list[Sweep]] = defaultdict(list)
    steps = [
        [(arrangement, step) for step in rounds.steps(size, arrangement.connections)]
        for arrangement, rounds in here.items()
    ]
    turn = [*chain.from_iterable(zip(*steps, strict=True))]
    for arrangement, step in turn * turns:
        try:
            found = step.take()
        except UnexpectedAnswer as error:
            failures.append(f"{described(arrangement)}: {step.call} {error}")
        else:
            for call, sweep in found.items():
                sweeps[arrangement, call].append(sweep)
    return sweeps


def _stored(setup: str, devices: int, here: Stage) -> Storage:
    count = min(_CHALLENGES, devices)
    before_bytes = here.stores.redis_bytes()
    here.rounds.open_challenges(count)
    taken_bytes = here.stores.redis_bytes() - before_bytes
    return Storage(setup, devices, here.device_bytes, taken_bytes / count)


def main(*, full: bool) -> int:
    """Measure one service after the other, print what each gave, and return the exit code."""
    ceiling = stage.ceiling()
    print(*service_report.opening(ceiling), sep="\n", flush=True)
    results = Results()
    for scene in plan.full() if full else plan.short():
        try:
            found = measured(scene)
        except UnexpectedAnswer as error:  # before anything of it was measured
            found = Results(failures=[f"{scene.setup.name}, {max(scene.devices):,} devices: {error}"])
        results.add(found)
        print(*service_report.table(found), sep="\n", flush=True)
        _RESULT.write_bytes(service_report.as_json(results, ceiling))
    print("", *service_report.verdicts(results), sep="\n")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main(full="--full" in sys.argv[1:]))
