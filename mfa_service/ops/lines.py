"""Lines on their way to a stream: each at once, or several in one piece."""

import asyncio
import contextlib
import os
import select
import stat
from typing import Final, TextIO

# What is written in one piece, so that the lines of several workers do not run into one another: a pipe takes no more
# than this whole, a file takes anything, and each piece costs the system much more than a line.
_PIPE_CHARACTERS: Final = select.PIPE_BUF
_FILE_CHARACTERS: Final = 64 * 1024


class Lines:
    """Writes whole lines of ASCII, in the order in which they come.

    A full disk or a closed pipe must not fail what would have been logged: a stream that fails loses the lines.

    Args:
        stream: takes them.
        kept_back_s: for which `collect` may keep a line back, in seconds; 0 writes each at once.
    """

    def __init__(self, stream: TextIO, *, kept_back_s: float = 0.0) -> None:
        self._stream = stream
        self._kept_back_s = kept_back_s
        self._most_characters = _FILE_CHARACTERS if _is_file(stream) else _PIPE_CHARACTERS
        self._block: list[str] = []
        self._characters = 0

    def write(self, line: str) -> None:
        """Write a line at once, behind those kept back."""
        self.flush()
        self._put(line + "\n")

    debug = info = warning = error = critical = write  # a logger's methods, which structlog calls by the level's name

    def collect(self, line: str) -> None:
        """Write a line with those that follow it soon; what kills the process before that takes it along."""
        if not self._kept_back_s:
            self.write(line)
            return
        characters = self._characters + len(line) + 1
        if characters > self._most_characters:
            self.flush()
            characters = len(line) + 1
        self._characters = characters
        if not self._block:
            asyncio.get_running_loop().call_later(self._kept_back_s, self.flush)
        self._block.append(line)

    def flush(self) -> None:
        """Write what was kept back."""
        if self._block:
            block = "\n".join(self._block) + "\n"
            self._block.clear()
            self._characters = 0
            self._put(block)

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):  # there is none behind it, it is closed, or was closed at the start
        return False
