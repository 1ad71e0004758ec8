"""Answers on their way to a connection."""

from mfa_service.values import value
from mfa_service.web.answers import Answer, WireFormat


@value
class Reply:
    """The answer to one request, or to what is none.

    Attributes:
        given: what is answered.
        wire: writes it.
        trace_id: the request's.
        now_ms: Unix time in milliseconds.
    """

    given: Answer
    wire: WireFormat
    trace_id: str
    now_ms: int

    def message(self, *, connection: str | None, without_body: bool = False) -> bytes:
        """Return the answer's bytes.

        Args:
            connection: the `Connection` field's value, where one is needed.
            without_body: whether the request's method is HEAD.
        """
        return self.wire.message(
            self.given,
            trace_id=self.trace_id,
            now_ms=self.now_ms,
            connection=connection,
            without_body=without_body,
        )
