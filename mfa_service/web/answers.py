"""An answer before it is on the wire, and the bytes that it becomes."""

import email.utils
from dataclasses import field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import orjson

from mfa_service.values import value

JSON = "application/json; charset=utf-8"

_MOST_STARTS: Final = 256  # of answers of one second

Headers = tuple[tuple[str, str], ...]


@value
class Answer:
    """What a call answers.

    Attributes:
        status: the HTTP status.
        body: the whole body; empty with 204.
        headers: fields beyond those of every answer.
        content_type: of the body.
        closes: whether the connection ends with it.
        pause_s: for which it is held back, where the connection stays open.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Headers = ()
    content_type: str = JSON
    closes: bool = False
    pause_s: float = 0.0


@value
class Reply:
    """The answer to one request, or to what is none.

    Attributes:
        given: what is answered.
        trace_id: the request's.
        now_ms: when it is answered, in Unix time in milliseconds.
    """

    given: Answer
    trace_id: str
    now_ms: int


def answer(status: int, content: object, headers: Headers = ()) -> Answer:
    """Return an answer whose body is JSON of the content."""
    return Answer(status=status, body=orjson.dumps(content), headers=headers)


def rfc3339_ms(unix_ms: int) -> str:
    """Return a moment as RFC 3339 §5.6 writes it, in UTC with milliseconds.

    Args:
        unix_ms: milliseconds of Unix time.
    """
    seconds, ms = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


class WireFormat:
    """Writes answers as HTTP/1.1 messages (RFC 9112 §2.1), with what every answer of the service has in its head.

    No answer names the server's software, is stored by a cache, or has its type guessed.
    """

    def __init__(self) -> None:
        self._starts: dict[tuple[int, str, int], str] = {}
        self._date_s = -1  # of the starts

    def message(self, reply: Reply, *, connection: str | None, without_body: bool = False) -> bytes:
        """Return the bytes of an answer.

        Args:
            reply: the answer, whose moment the `Date` field tells.
            connection: the `Connection` field's value, where one is needed.
            without_body: whether the request's method is HEAD, whose answer is the head alone (RFC 9110 §9.3.2).
        """
        given, now_s = reply.given, reply.now_ms // 1000
        if now_s != self._date_s or len(self._starts) >= _MOST_STARTS:
            self._date_s = now_s
            self._starts.clear()
        kind = given.status, given.content_type, len(given.body)
        start = self._starts.get(kind)
        if start is None:
            start = self._starts[kind] = _start(given, now_s)
        more = "".join([f"{name}: {value}\r\n" for name, value in given.headers]) if given.headers else ""
        if connection is not None:
            more += f"Connection: {connection}\r\n"
        head = f"{start}{reply.trace_id}\r\n{more}\r\n".encode("ascii")
        return head if without_body else head + given.body


def _start(given: Answer, now_s: int) -> str:
    """Return the part of a head that every answer of one status, content type, length and second shares."""
    lines = [f"HTTP/1.1 {given.status} {HTTPStatus(given.status).phrase}"]
    if given.status != HTTPStatus.NO_CONTENT:  # RFC 9110 §8.6: an answer without content has no length
        lines += [f"Content-Type: {given.content_type}", f"Content-Length: {len(given.body)}"]
    date = email.utils.formatdate(now_s, usegmt=True)
    lines += ["X-Content-Type-Options: nosniff", "Cache-Control: no-store", f"Date: {date}", "X-Trace-Id: "]
    return "\r\n".join(lines)
