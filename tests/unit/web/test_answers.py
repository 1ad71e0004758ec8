"""Heads of answers, whose starts are kept for a second."""

from mfa_service.web.answers import Answer, Reply, WireFormat

NOW_MS = 1_795_465_500_123
LENGTHS = [*range(1_000), *range(1_000)]


def written(wire: WireFormat, length: int, now_ms: int) -> bytes:
    given = Answer(200, b"x" * length)
    return wire.message(Reply(given, "0" * 32, now_ms), connection=None)


def test_every_answer_tells_its_own_length_whatever_was_answered_before() -> None:
    wire = WireFormat()
    for length in LENGTHS:
        head, _, body = written(wire, length, NOW_MS).partition(b"\r\n\r\n")
        assert (head.count(b"Content-Length: %d\r\n" % length), len(body)) == (1, length)


def test_of_countless_lengths_within_a_second_few_are_kept() -> None:
    wire = WireFormat()
    for length in LENGTHS:
        written(wire, length, NOW_MS)
        assert len(wire._starts) <= 256


def test_the_date_is_that_of_each_answer_also_where_the_clock_was_set_back() -> None:
    wire = WireFormat()
    for seconds, date in ((0, b"20:25:00"), (1, b"20:25:01"), (-60, b"20:24:00")):
        assert b"Date: Mon, 23 Nov 2026 %s GMT\r\n" % date in written(wire, 1, NOW_MS + seconds * 1000)
