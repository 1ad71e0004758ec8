"""Measures the whole service over HTTP, on stores of its own: run it by `make bench` or `make bench-full`."""

import sys
from collections import defaultdict
from pathlib import Path

from bench import plan, service_report, stage
from bench.connections import UnexpectedAnswer
from bench.plan import Scene
from bench.service_report import Results, Storage, described
from bench.stage import Stage
from bench.sweeps import Arrangement, Sweep, cell_of

_RESULT = Path(__file__).with_name("results.json")
_CHALLENGES = 10_000  # whose memory is told


def measured(scene: Scene, *, runs: int) -> Results:
    """Start a service and measure it so many times at each number of connections."""
    results = Results()
    with stage.set_up(scene.setup, devices=scene.devices, workers=scene.workers) as here:
        results.storage.append(_stored(scene, here))
        for connections, size in scene.sizes:
            arrangement = Arrangement(scene.setup.name, scene.workers, connections, scene.devices)
            sweeps: dict[str, list[Sweep]] = defaultdict(list)
            for _ in range(runs):
                for step in here.rounds.steps(size, connections):
                    try:
                        found = step.take()
                    except UnexpectedAnswer as error:
                        results.failures.append(f"{described(arrangement)}: {step.call} {error}")
                    else:
                        for call, sweep in found.items():
                            sweeps[call].append(sweep)
            results.cells.extend(cell_of(arrangement, call, some) for call, some in sweeps.items())
    return results


def _stored(scene: Scene, here: Stage) -> Storage:
    count = min(_CHALLENGES, scene.devices)
    before_bytes = here.stores.redis_bytes()
    here.rounds.open_challenges(count)
    taken_bytes = here.stores.redis_bytes() - before_bytes
    return Storage(scene.setup.name, scene.devices, here.device_bytes, taken_bytes / count)


def main(*, full: bool) -> int:
    """Measure one service after the other, print what each gave, and return the exit code."""
    ceiling = stage.ceiling()
    print(*service_report.opening(ceiling), sep="\n", flush=True)
    results = Results()
    for scene in plan.full() if full else plan.short():
        try:
            found = measured(scene, runs=plan.RUNS)
        except UnexpectedAnswer as error:  # before anything of it was measured
            found = Results(failures=[f"{scene.setup.name}, {scene.devices:,} devices: {error}"])
        results.add(found)
        print(*service_report.table(found), sep="\n", flush=True)
        _RESULT.write_bytes(service_report.as_json(results, ceiling))
    print("", *service_report.verdicts(results), sep="\n")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main(full="--full" in sys.argv[1:]))
