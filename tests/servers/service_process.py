"""The service as a process of its own, as operators start it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_STOPPED_WITHIN_S = 30


@dataclass(slots=True)
class Service:
    """A running service.

    Attributes:
        url: where its root is.
        operations_url: the same of the operations port.
        stdout: what it wrote to standard output, once it has ended.
        stderr: its log lines, the same.
        exit_code: of the process, the same.
    """

    url: str
    operations_url: str
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    exit_code: int | None = None


def plain_environment() -> Mapping[str, str]:
    """Return this process's environment without anything that the service or Python would take settings from.

    The operations port alone is set, to any that is free, so that several services may run at once.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MFA_", "PYTHON"))}
    return plain | {"MFA_OPS_PORT": "0"}


@contextmanager
def running(command: Sequence[str | Path], *, folder: Path) -> Iterator[Service]:
    """Run a command that serves from a folder, until the block ends; then it is told to stop, and has to.

    Args:
        command: serves on 127.0.0.1, on any port, and logs JSON.
        folder: its working directory.
    """
    with subprocess.Popen(
        [*command], cwd=folder, env=plain_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            service, lines = _serving(process)
            yield service
            process.send_signal(signal.SIGTERM)
            service.stdout, rest = process.communicate(timeout=_STOPPED_WITHIN_S)
            service.stderr = lines + rest
            service.exit_code = process.returncode
        finally:
            process.kill()  # without effect on one that has ended


def _serving(process: subprocess.Popen[str]) -> tuple[Service, str]:
    """Return the service once it serves, and what it has logged until then."""
    assert process.stderr is not None
    lines = ""
    for line in process.stderr:
        lines += line
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "serving":
            url, operations_url = (f"http://127.0.0.1:{event[name]}" for name in ("port", "operations_port"))
            return Service(url, operations_url), lines
    raise AssertionError(f"it does not serve: {lines}")
