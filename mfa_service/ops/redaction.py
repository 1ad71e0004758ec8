"""What a log line may show of a value or an exception, wherever it comes from.

Callers hand no secret to a log; this is the second line of defence, by name and by kind.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from itertools import islice
from math import isfinite
from pathlib import PurePath

from mfa_service.errors import MfaError

HIDDEN = "(hidden)"
_SECRET_NAME = re.compile(r"secret|otp|token|passw|authorization|cookie|registration_?uri|root_?key", re.IGNORECASE)
_MOST_CHARACTERS = 1_000
_MOST_ITEMS = 50
_MOST_DEPTH = 6
_MOST_FRAMES = 20
_MOST_EXCEPTIONS = 10
_INT64 = range(-(2**63), 2**63)


def presentable(name: str, value: object, depth: int = 0) -> object:  # noqa: PLR0911  # one return for each kind of value
    """Return what a log line shows of a named value, made of what JSON has alone.

    Args:
        name: what the value is called; one that sounds of a secret hides it.
        value: anything. Of an object that is not plain only the class is shown, for its own text may hold anything.
        depth: how many collections it lies in.
    """
    if _SECRET_NAME.search(name):
        return HIDDEN
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int():
            return int(value) if value in _INT64 else "(large number)"
        case float():
            return float(value) if isfinite(value) else str(value)
        case PurePath():
            return _text(str(value))
        case BaseException():
            return presentable(name, describe(value), depth)
        case Mapping() if depth < _MOST_DEPTH:
            return {
                _text(str(key)): presentable(str(key), item, depth + 1)
                for key, item in islice(value.items(), _MOST_ITEMS)
            }
        case list() | tuple() | set() | frozenset() if depth < _MOST_DEPTH:
            return [presentable("", item, depth + 1) for item in islice(value, _MOST_ITEMS)]
        case _:
            return f"({type(value).__qualname__})"


def describe(exception: BaseException) -> list[dict[str, object]]:
    """Return an exception and what led to it: classes and frames, without local variables.

    The text stands beside the service's own errors alone, which carry no secret, and beside the operating system's; a
    library's may repeat what it was given.
    """
    return [
        {
            "type": f"{type(one).__module__}.{type(one).__qualname__}",
            "text": _own_text(one),
            "frames": [
                f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
                for frame, line in list(traceback.walk_tb(one.__traceback__))[-_MOST_FRAMES:]
            ],
        }
        for one in islice(_chain(exception, set()), _MOST_EXCEPTIONS)
    ]


def _chain(exception: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        if isinstance(exception, BaseExceptionGroup):
            for member in exception.exceptions:
                yield from _chain(member, seen)
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)


def _own_text(exception: BaseException) -> str:
    if isinstance(exception, MfaError):
        return str(exception)
    if isinstance(exception, OSError):
        return exception.strerror or ""
    return ""


def _text(value: str) -> str:
    """Return a text cut to a bearable length, lone surrogates as escapes since no UTF-8 has them."""
    cut = value if len(value) <= _MOST_CHARACTERS else value[: _MOST_CHARACTERS - 3] + "..."
    return cut.encode("utf-8", "backslashreplace").decode()
