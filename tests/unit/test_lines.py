"""Lines of requests are written several in one piece, each whole and in its order."""

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest

from mfa_service.ops.lines import Lines

KEPT_BACK_S = 0.01


class Pieces(io.StringIO):
    """A stream that remembers in which pieces it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


async def test_lines_that_follow_one_another_soon_are_one_piece_within_the_time() -> None:
    stream = Pieces()
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    lines.collect("one")
    lines.collect("two")
    assert stream.pieces == []
    await asyncio.sleep(3 * KEPT_BACK_S)
    assert stream.pieces == ["one\ntwo\n"]
    lines.collect("three")
    await asyncio.sleep(3 * KEPT_BACK_S)
    assert stream.pieces == ["one\ntwo\n", "three\n"]


async def test_a_piece_is_never_longer_than_a_pipe_takes_whole() -> None:
    stream = Pieces()
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    for number in range(1_000):
        lines.collect(f"{number:0200}")
    lines.flush()
    assert "".join(stream.pieces).split() == [f"{number:0200}" for number in range(1_000)]
    assert max(map(len, stream.pieces)) <= 4_096
    assert len(stream.pieces) == 50


async def test_a_file_takes_more_in_one_piece(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        lines = Lines(file, kept_back_s=KEPT_BACK_S)
        for number in range(300):
            lines.collect(f"{number:0200}")
        assert (tmp_path / "log").read_text() == ""
        for number in range(300, 600):
            lines.collect(f"{number:0200}")
        assert len((tmp_path / "log").read_text()) == 326 * 201
        lines.flush()
    assert (tmp_path / "log").read_text().split() == [f"{number:0200}" for number in range(600)]


def test_a_stream_that_is_closed_or_was_never_there_is_taken_all_the_same(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        pass
    for stream in (file, cast("TextIO", None)):  # None: what Python has for a process that began without one
        assert isinstance(Lines(stream), Lines)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe's two ends."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


async def test_a_pipe_gets_no_more_than_it_takes_whole(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    for number in range(21):
        lines.collect(f"{number:0200}")
    assert len(os.read(reading, 8_192)) == 20 * 201
    lines.flush()
    assert len(os.read(reading, 8_192)) == 201


async def test_a_line_longer_than_that_is_a_piece_of_its_own() -> None:
    stream = Pieces()
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    for line in ("before", "x" * 5_000, "after"):
        lines.collect(line)
    lines.flush()
    assert [piece[0] for piece in stream.pieces] == ["b", "x", "a"]


async def test_a_line_that_is_written_at_once_comes_behind_those_kept_back() -> None:
    stream = Pieces()
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    lines.collect("first")
    lines.error("second")
    assert stream.getvalue() == "first\nsecond\n"


async def test_a_stream_that_fails_loses_the_lines_and_disturbs_nobody() -> None:
    stream = Pieces()
    lines = Lines(stream, kept_back_s=KEPT_BACK_S)
    lines.collect("lost")
    stream.close()
    lines.flush()
    lines.collect("lost too")
    await asyncio.sleep(3 * KEPT_BACK_S)
    assert stream.pieces == ["lost\n", "lost too\n"]  # tried, and no error came of it
