"""Fuzzes every target for its share of a time, and tells what came of it: `python -m tests.fuzz SECONDS [TARGET…]`."""

import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import CRASHES, TARGETS

_FOUND = Path(".fuzz")
_CHATTER = ("INFO: ", "WARNING: ")
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)


def main(seconds: int, names: list[str]) -> int:
    """Fuzz targets one after another; return how many failed."""
    failed = 0
    for name in names:
        crashes = CRASHES / name
        crashes.mkdir(parents=True, exist_ok=True)
        before = set(crashes.iterdir())
        run = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, str(max(1, seconds // len(names))), _FOUND / name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            check=False,
        )
        executed = _EXECUTED.search(run.stdout)
        tell(f"{name:<16} {int(executed[1]) if executed else 0:>10,} executions  exit code {run.returncode}")
        if run.returncode:
            failed += 1
            tell(*(line for line in run.stdout.splitlines() if not line.startswith(_CHATTER)))
            tell(*map(str, sorted(set(crashes.iterdir()) - before)))
        for folder in (crashes, CRASHES):
            if not any(folder.iterdir()):
                folder.rmdir()
    return failed


def tell(*lines: str) -> None:
    """Write lines to standard output at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), sys.argv[2:] or list(TARGETS))))
