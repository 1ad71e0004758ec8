"""The folder that one node keeps its files in."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfa_service.errors import SettingsInvalid


def prepare(folder: Path) -> None:
    """Make the folder where it is missing, open to its owner alone.

    Raises:
        SettingsInvalid: it cannot be made or written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalid(f"data_dir: {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsInvalid(f"data_dir: {folder} cannot be written to")


@contextmanager
def hold_alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for one server whose challenges are in its own memory.

    The lock is the system's, so that it ends with the process, however that ends.

    Raises:
        SettingsInvalid: another server holds it.
    """
    descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsInvalid(
                f"data_dir: another server runs on {folder} and keeps its challenges in memory, where this one could "
                "not see them; stop it, choose another data_dir, or set redis.url on both"
            ) from None
        yield
    finally:
        os.close(descriptor)
