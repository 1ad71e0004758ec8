"""Files that hold one secret each, which a variable ending in `_FILE` names."""

import os
import stat
from pathlib import Path

from mfa_service.errors import SettingsInvalid

_ROOT = 0
_HOW_TO_CLOSE = (
    "run `chmod 400` on it; of a Kubernetes secret, set `defaultMode: 0400` on its volume (and `fsGroup` where the "
    "service does not run as root, which makes it 0440)"
)


def content(path: Path, origin: str) -> str:
    """Return what a secret's file holds, without the line end that editors put after it.

    Args:
        path: the file.
        origin: what named it, for messages.

    Raises:
        SettingsInvalid: it cannot be read, is empty or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise SettingsInvalid(f"{origin}: the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"{origin}: the file is not UTF-8") from None
    if not text:  # a secret that failed to arrive must not turn into the default
        raise SettingsInvalid(f"{origin}: the file is empty")
    return text


def warning(path: Path, origin: str) -> str | None:
    """Return what to tell an operator of a secret's file that others than this process's user may read or change.

    Its owner is one of them, whatever its mode says, where it is neither that user nor root.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    user = os.geteuid()
    if status.st_uid not in {user, _ROOT}:
        return f"{origin}: the file belongs to another user (uid {status.st_uid}): give it to root or to uid {user}"
    if not is_open_to_others(status.st_mode, is_own=status.st_uid == user):
        return None
    mode = stat.S_IMODE(status.st_mode)
    return f"{origin}: the file is open to others than this user (mode {mode:04o}): {_HOW_TO_CLOSE}"


def is_open_to_others(mode: int, *, is_own: bool) -> bool:
    """Whether a file of this mode is open to more users than its reader needs.

    Args:
        mode: of the file.
        is_own: whether it belongs to its reader. Otherwise the reader comes by the group, as with Kubernetes'
            `fsGroup`, and the group may read it.
    """
    allowed = stat.S_IRWXU if is_own else stat.S_IRWXU | stat.S_IRGRP
    return bool(stat.S_IMODE(mode) & 0o777 & ~allowed)
