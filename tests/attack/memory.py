"""How much memory a process takes."""

import re
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """How much memory a process occupies."""
    [line] = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line) * 1024
