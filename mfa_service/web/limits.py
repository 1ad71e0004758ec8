"""What bounds connections and requests."""

from dataclasses import dataclass
from typing import Final

_PART: Final = 4  # of the places one in so many is out of any one application's reach; token calls have as many besides


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and for how long, a connection may ask for.

    Attributes:
        requests: with an access token that are worked on at once; beyond, they are refused.
        body_bytes: of a request's body.
        target_bytes: of a request target. No other limit is equal to it: the parser names the limit, not the line.
        field_bytes: of one header field.
        head_bytes: of a whole head that comes in pieces.
        head_fields: header fields of a request.
        header_timeout_s: from a connection's start, or a later request's first byte, to the end of its head.
        body_timeout_s: from the end of a head to the end of its body.
        unread_bytes: of answers that wait here for a caller to take them, before it is waited for.
        write_timeout_s: for a caller to take an answer that does not fit its buffers.
        keepalive_timeout_s: for which a connection may be idle.
        linger_s: for which the rest of an unread body is taken and thrown away, so that the caller gets its answer.
    """

    requests: int = 1_024
    body_bytes: int = 16_384
    target_bytes: int = 8_190
    field_bytes: int = 8_192
    head_bytes: int = 32_768
    head_fields: int = 64
    header_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    unread_bytes: int = 4_096
    write_timeout_s: float = 10.0
    keepalive_timeout_s: float = 75.0
    linger_s: float = 1.0

    @property
    def requests_of_one(self) -> int:
        """Requests of one application: others find a place beside it, however much it asks."""
        return self.requests - self.requests // _PART

    @property
    def requests_without_token(self) -> int:
        """Token calls, which are counted apart: an application could otherwise add them to its own requests."""
        return self.requests // _PART
