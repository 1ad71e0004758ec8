"""Where aiohttp's parser in C is missing, every start says so, at whatever level it logs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.service_process import running

EVENT = "http_parser_not_in_c"


def complaints(folder: Path) -> Sequence[dict[str, str]]:
    """What a start said about the parser."""
    flags = ("--set", "http.port=0", "--set", "tokens.signing_algorithm=ES256")
    with running((sys.executable, "-m", "mfa_service", *flags, "serve"), folder=folder) as service:
        pass
    assert service.exit_code == 0
    events = [json.loads(line) for line in service.stderr.splitlines()]
    return [event for event in events if event["event"] == EVENT]


def test_a_start_without_the_parser_in_c_says_so_in_one_line_and_as_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")
    [complaint] = complaints(tmp_path)
    assert complaint["level"] == "error"
    assert "AIOHTTP_NO_EXTENSIONS" in complaint["warning"]


def test_a_start_with_it_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOHTTP_NO_EXTENSIONS", raising=False)
    assert complaints(tmp_path) == []
