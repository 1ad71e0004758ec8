"""How names that a caller made up are counted and shown back."""

from collections import Counter
from collections.abc import Iterable

_LONGEST = 40
_MOST_NAMES = 20


def shown(name: str) -> str:
    """Return a made-up name in a form that no log or terminal takes for anything but text.

    Returns:
        The name where it is short and printable; else its ASCII escapes, cut to 40 characters and an ellipsis.
    """
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def each(names: Iterable[str], message: str) -> dict[str, list[str]]:
    """Return one message under each of the first names, as `InvalidInput` takes them; 20 names at most."""
    return {shown(name): [message] for _, name in zip(range(_MOST_NAMES), names, strict=False)}


def repeated(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Return the names that are there more than once, in their order."""
    return [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
