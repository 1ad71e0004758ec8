"""What a process takes of the machine, and how much it may."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Let this process, and what it starts, have so many open files at first."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def most_open_files() -> int:
    """How many open files this process may let itself have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def resident_mib(pid: int) -> float:
    """How much memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20
