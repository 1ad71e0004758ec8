"""Onboardings and ends of secrets are told by the database's clock, for tokens and nodes go by one near it."""

import asyncio
import json
import secrets
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mfa_service.cli import main
from mfa_service.stores.sql import open_registry
from tests.clocks import ManualClock
from tests.contract.sql_stores import LIMITS
from tests.servers import postgres
from tests.servers.service_process import running

MOMENT_MS = 1_600_000_000_123
"""What the database's clock says: years behind this machine's."""
MOMENT = "2020-09-13T12:26:40Z"
ISSUER = ("tokens.issuer=https://issuer.example", "tokens.audience=mfa")

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def database_url(postgres_registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    postgres.execute(
        postgres_registry_url,
        "TRUNCATE devices, applications, keys",
        f"UPDATE still.moment SET at_ms = {MOMENT_MS}",  # noqa: S608  a number
    )
    return postgres_registry_url


def run(database_url: str, *arguments: str, settings: tuple[str, ...] = ()) -> Result:
    given = [word for one in (f"database.url={database_url}", *settings) for word in ("--set", one)]
    result = CliRunner().invoke(main, [*given, *arguments], prog_name="mfa-service")
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("settings", [(), ISSUER], ids=["embedded", "another issuer"])
def test_an_application_is_onboarded_by_the_databases_clock(database_url: str, settings: tuple[str, ...]) -> None:
    run(database_url, "applications", "add", "shop", "--client-id", "shop-1", settings=settings)
    shown = json.loads(run(database_url, "applications", "show", "shop", "--json").stdout)
    assert shown["created_at"].startswith(MOMENT[:-1])


def test_so_is_the_first_one_of_a_service(database_url: str, tmp_path: Path) -> None:
    flags = (
        f"database.url={database_url}", f"data_dir={tmp_path / 'data'}", f"keys.root={secrets.token_urlsafe(32)}",
        "http.port=0", "tokens.signing_algorithm=ES256",
    )  # fmt: skip
    command = [sys.executable, "-m", "mfa_service", *(word for one in flags for word in ("--set", one))]
    with running([*command, "serve", "--onboard", "shop"], folder=tmp_path):
        pass
    shown = json.loads(run(database_url, "applications", "show", "shop", "--json").stdout)
    assert shown["created_at"].startswith(MOMENT[:-1])


def test_an_old_secret_ends_by_the_databases_clock(database_url: str) -> None:
    run(database_url, "applications", "add", "shop")
    run(database_url, "applications", "rotate-secret", "shop", "--grace-s", "60")

    async def ends_ms() -> set[int | None]:
        registry = await open_registry(database_url, clock=ManualClock(), limits=LIMITS)
        found = await registry.applications.named("shop")
        await registry.close()
        return {one.valid_until_ms for one in found.secret_hashes}

    [until_ms] = asyncio.run(ends_ms()) - {None}
    assert until_ms is not None
    assert until_ms // 1000 == MOMENT_MS // 1000 + 60
