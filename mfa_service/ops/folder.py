"""The folder that one node keeps its files in."""

import os
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
