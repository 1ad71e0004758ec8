"""What the settings leave a guesser is told at start, and refused where it is too much."""

import dataclasses
import io
import json
from typing import Any

import pytest

from mfa_service import app
from mfa_service.errors import SettingsInvalid
from mfa_service.ops import guessing, logs
from mfa_service.settings import Settings
from mfa_service.settings.sections import Guessing, Otp

pytestmark = pytest.mark.usefixtures("logging_as_before")


def settings(*, window_steps: int = 1, **figures: int) -> Settings:
    return dataclasses.replace(Settings(), otp=Otp(window_steps=window_steps), guessing=Guessing(**figures))


def logged(of: Settings) -> dict[str, Any]:
    stream = io.StringIO()
    logs.configure(level="info", format="json", stream=stream, now_ms=lambda: 0)
    guessing.log_odds(of)
    [line] = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_odds_are_one_line_of_the_log() -> None:
    line = logged(Settings())
    assert line["event"] == "guessing_odds"
    assert line["per_challenge"] == pytest.approx(15e-6)
    assert line["per_day"] == pytest.approx(102e-6)
    assert (line["per_day_beside_logins"], line["logins"]) == (pytest.approx(429e-6), 10)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"window_steps": 2},
        {"free_failures": 10, "window_steps": 2},
        {"disable_after": 5},
        {"free_failures": 18, "disable_after": 18, "window_steps": 2},
        {"first_wait_s": 86_400, "longest_wait_s": 86_400},
    ],
)
def test_settings_within_one_in_a_thousand_a_day_are_taken(figures: dict[str, int]) -> None:
    app.refuse_unfit(settings(**figures))


@pytest.mark.parametrize(
    "figures",
    [
        {"free_failures": 100, "window_steps": 2},
        {"free_failures": 100},
        {"first_wait_s": 1, "longest_wait_s": 1},
        {"longest_wait_s": 60},
        {"free_failures": 19, "disable_after": 19, "window_steps": 2},
    ],
)
def test_settings_beyond_it_are_refused_by_their_names(figures: dict[str, int]) -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        app.refuse_unfit(settings(**figures))
    text = str(refusal.value)
    for name in ("free_failures", "first_wait_s", "longest_wait_s", "disable_after"):
        assert f"guessing.{name}" in text
    assert "otp.window_steps" in text
    assert "once in 1,000 is the most" in text
