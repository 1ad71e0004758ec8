"""What the Makefile and the README promise."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from mfa_service import errors
from mfa_service.cli import main
from mfa_service.web.problems import INTERNAL, TABLE, Problem, problem_of
from tests.skips import VARIABLE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target() -> None:
    command = ["make", "--no-print-directory"]  # which it prints where make itself runs the tests
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line.split()[0] for line in listed.splitlines()] == phony.split()


def test_the_readme_explains_every_error() -> None:
    samples: dict[type[Exception], Exception] = {
        errors.AccessDenied: errors.AccessDenied(presented=True),
        errors.ClientRefused: errors.ClientRefused(basic=True),
        errors.ScopeMissing: errors.ScopeMissing("mfa:enroll"),
        errors.DeviceWaits: errors.DeviceWaits(30),
        errors.QuotaExceeded: errors.QuotaExceeded(1),
    }
    rows = [row for row in TABLE.values() if isinstance(row, Problem)]
    rows += [problem_of(error) for error in samples.values()]
    explained = {
        (code, int(status))
        for code, statuses in re.findall(r"^\| (1\d+) \| ([\d, ]+) \|", README, re.MULTILINE)
        for status in statuses.split(",")
    }
    assert explained == {(row.code, row.status) for row in [*rows, INTERNAL]} | {("10034", 405)}


def test_the_readme_names_every_command() -> None:
    section = README.partition("## Command line")[2].partition("\n## ")[0]
    named = set()
    for cell in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        words = [span.split() for span in re.findall(r"`([^`]*)`", cell)]
        group = main.commands[words[0][0]]
        for position, span in enumerate(words):
            path = span if position == 0 or not isinstance(group, click.Group) else [words[0][0], *span]
            named.add(" ".join(_command(path)))
    assert named == set(commands(main))


def _command(words: Sequence[str]) -> Iterator[str]:
    """Give the words that name a command, without its arguments."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            return
        command = command.commands[word]
        yield word


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    """Give every command below a group by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


SKIPPING_TESTS = """\
import pytest

@pytest.mark.skip(reason="no tool")
def test_by_mark():
    assert True

def test_by_call():
    pytest.skip("no tool")
"""
SKIPPING_MODULE = "import pytest\n\npytest.skip('no tool', allow_module_level=True)\n"


@pytest.mark.parametrize(
    ("text", "allowed", "outcome"),
    [
        (SKIPPING_TESTS, True, "2 skipped"),
        (SKIPPING_TESTS, False, "1 failed, 1 error"),  # a mark skips before the test is set up
        (SKIPPING_MODULE, False, "1 error"),
    ],
)
def test_a_skipped_test_is_an_error_where_none_may_be(
    tmp_path: Path, text: str, outcome: str, *, allowed: bool
) -> None:
    (tmp_path / "test_one.py").write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if not allowed:
        environment[VARIABLE] = "1"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "tests.skips", "-p", "no:cacheprovider", "--rootdir=.", "."],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no tool" in ended.stdout
    assert outcome in ended.stdout.splitlines()[-1]
    assert (ended.returncode == 0) is allowed
