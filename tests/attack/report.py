"""A pytest plugin: registers the mark of an attack, and prints what became of each where `--attacks` is given."""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator

import pytest

from tests.attack.cases import CASES, MARK
from tests.attack.left_out import IN_PART, LEFT_OUT

_OPTION = "--attacks"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the option."""
    parser.addoption(_OPTION, action="store_true", help="Print a table of the attacks and what became of them.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark and what notes the outcomes."""
    if config.getoption(_OPTION) and config.getoption("numprocesses", None):
        raise pytest.UsageError(f"{_OPTION} notes outcomes in one process: not together with -n")
    config.addinivalue_line("markers", f"{MARK}(*ids): the attacks that a test tries.")
    config.pluginmanager.register(_Outcomes(), "attack-outcomes")


class _Outcomes:
    """Notes how the tests of each attack end."""

    def __init__(self) -> None:
        self._of: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note a test's outcome under every attack that it tries."""
        report = yield
        if report.when == "call" or not report.passed:
            for mark in item.iter_markers(MARK):
                for case in mark.args:
                    self._of[case][report.outcome] += 1
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print the table."""
        if config.getoption(_OPTION):
            terminalreporter.section("attacks")
            for line in self._table():
                terminalreporter.write_line(line)

    def _table(self) -> Iterator[str]:
        totals: Counter[str] = Counter()
        for case, subject in CASES.items():
            outcome = self._outcome(case)
            totals[outcome] += 1
            tests = sum(self._of[case].values())
            yield f"{case}  {outcome:<8}  {tests or '':>4}  {subject}"
            if case in LEFT_OUT:
                yield f"      left out: {LEFT_OUT[case]}"
            if case in IN_PART:
                yield f"      not tried: {IN_PART[case]}"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.items()))
        yield f"{len(CASES)} cases: {counts}; {len(IN_PART)} of them in part"

    def _outcome(self, case: str) -> str:
        counts = self._of[case]
        if case in LEFT_OUT:
            return "left out"
        for outcome in ("failed", "skipped", "passed"):
            if counts[outcome]:
                return outcome
        return "not run"
