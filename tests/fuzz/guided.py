"""Fuzzes one target, led by the coverage of the code behind it, until the time is over or the target fails.

Run as `python -m tests.fuzz.guided TARGET SECONDS FOLDER`: atheris takes over the process and ends it. FOLDER gets
what was found to reach new code; a failing input is kept among the target's crashes.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mfa_service", "jwt", "marshmallow"], enable_loader_override=False):
    from tests.fuzz.seeds import CRASHES, LONGEST, SEEDS, TARGETS, WORDS

_LONGEST_RUN_S = 5
_MOST_MEMORY_MIB = 2_048


def main(name: str, seconds: str, folder: str) -> None:
    """Fuzz a target."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    flags = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "timeout": _LONGEST_RUN_S,
        "rss_limit_mb": _MOST_MEMORY_MIB,
        "dict": WORDS,
        "artifact_prefix": f"{CRASHES / name}/",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    arguments = [f"-{flag}={value}" for flag, value in flags.items()]
    atheris.Setup([sys.argv[0], *arguments, folder, str(SEEDS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
