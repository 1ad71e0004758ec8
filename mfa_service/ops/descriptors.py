"""How many files and connections this process may have open at once."""

import contextlib
import resource
from typing import Final

_MOST: Final = 65_536


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, but not beyond 65,536.

    Shells and service managers give 1,024, which slow callers alone could use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
