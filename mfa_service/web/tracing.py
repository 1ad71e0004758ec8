"""The trace id of a request: its caller's, where that sent a valid one, else a new one."""

import re
from collections.abc import Sequence

from multidict import CIMultiDictProxy, istr

from mfa_service.ports import RandomBytes

_TRACEPARENT = istr("traceparent")

# W3C Trace Context §3.2.2: version 00 has these four fields and nothing more; a later version may go on after a dash.
_FIELDS = re.compile(
    r"(?:00-(?!0{32})(?P<exact>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})(?P<later>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)",
    re.ASCII,
)


def trace_id(headers: CIMultiDictProxy[str], random_bytes: RandomBytes) -> str:
    """Return the trace id that a request goes by.

    Args:
        headers: the request's header fields.
        random_bytes: the source of new ids.

    Returns:
        32 lower-case hexadecimal digits: those of the one valid `traceparent` header (W3C Trace Context §3.2), else
        random ones.
    """
    if _TRACEPARENT in headers:
        given = given_trace_id(headers.getall(_TRACEPARENT))
        if given is not None:
            return given
    return random_bytes(16).hex()


def given_trace_id(values: Sequence[str]) -> str | None:
    """Return the trace id of a request's `traceparent` headers; None where they are not one valid one."""
    if len(values) != 1:
        return None
    match = _FIELDS.fullmatch(values[0])
    return match and (match["exact"] or match["later"])
