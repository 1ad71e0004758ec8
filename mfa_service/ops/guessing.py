"""What the settings leave a guesser: told at start, and refused where it is too much."""

import structlog

from mfa_service.errors import SettingsInvalid
from mfa_service.model import GuessingLimits
from mfa_service.rules import guessing
from mfa_service.settings import Settings

_log = structlog.get_logger(__name__)


def limits_of(settings: Settings) -> GuessingLimits:
    """Return the list of waits that these settings give."""
    return guessing.limits(
        free_failures=settings.guessing.free_failures,
        first_wait_s=settings.guessing.first_wait_s,
        longest_wait_s=settings.guessing.longest_wait_s,
        disable_after=settings.guessing.disable_after,
    )


def log_odds(settings: Settings) -> None:
    """Log the odds that these settings leave a guesser, each a probability."""
    window_steps = settings.otp.window_steps
    _log.info(
        "guessing_odds",
        per_challenge=guessing.odds_per_challenge(
            max_attempts=settings.challenge.max_attempts, window_steps=window_steps
        ),
        per_day=guessing.odds_per_day(limits_of(settings), window_steps=window_steps),
        per_day_beside_logins=_odds_beside_logins(settings),
        logins=guessing.RIGHT_CODES_A_DAY,
    )


def refuse_easy(settings: Settings) -> None:
    """Let settings pass that make guessing hard enough.

    Raises:
        SettingsInvalid: they do not; the text names those that decide it.
    """
    odds = _odds_beside_logins(settings)
    if odds > guessing.WORST_ODDS_PER_DAY:
        raise SettingsInvalid(
            "guessing.free_failures, guessing.first_wait_s, guessing.longest_wait_s, guessing.disable_after, "
            f"otp.window_steps: guessing at a device for a day would succeed once in {int(1 / odds):,} times, beside "
            f"{guessing.RIGHT_CODES_A_DAY} logins of its owner; once in {round(1 / guessing.WORST_ODDS_PER_DAY):,} is "
            "the most: let it wait earlier or longer, or accept fewer time steps"
        )


def _odds_beside_logins(settings: Settings) -> float:
    """Return the odds of a day in which the owner's own codes set the count of wrong ones back again and again."""
    return guessing.odds_per_day(
        limits_of(settings), window_steps=settings.otp.window_steps, right_codes=guessing.RIGHT_CODES_A_DAY
    )
