"""The built wheel, installed where there is no checkout."""

import base64
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from tests.servers.service_process import plain_environment, running

CHECKOUT = Path(__file__).parents[2]
SOURCES = ("mfa_service", "setup.cfg", "setup.py", "pyproject.toml", "README.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing an earlier build left behind gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / name, folder)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", folder)
    [built] = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that holds the wheel and sees what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    bin_folder = folder / "bin"
    _run(sys.executable, "-m", "pip", "--python", bin_folder / "python", "install", "--no-deps", "--no-index", wheel)
    # A path that a .pth file adds is not searched for further ones, so that no editable install comes along.
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", vars=paths))
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return bin_folder


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("mfa_service/")}
    package = CHECKOUT / "mfa_service"
    there = {
        path.relative_to(CHECKOUT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == there
    assert {
        "mfa_service/py.typed",
        "mfa_service/stores/scripts/settle.lua",
        "mfa_service/stores/scripts/lease.lua",
        "mfa_service/stores/migrations/env.py",
        "mfa_service/stores/migrations/versions/0001_registry.py",
        "mfa_service/stores/migrations/versions/0002_slow_failures.py",
    } <= inside


def test_nothing_but_the_package_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {re.sub(r"-.*\.dist-info$", ".dist-info", top) for top in tops} == {"mfa_service", "mfa_service.dist-info"}


def test_it_serves_from_an_empty_folder_with_the_defaults(installed: Path, tmp_path: Path) -> None:
    where = _run(installed / "python", "-c", "import mfa_service; print(mfa_service.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    command: list[str | Path] = [
        installed / "mfa-service",
        "--set",
        "ops.port=0",
        "serve",
        "--port",
        "0",
        "--onboard",
        "shop",
    ]
    with running(command, folder=tmp_path) as service:
        added = _run(installed / "mfa-service", "applications", "add", "bank", "--json", folder=tmp_path)
        credentials = json.loads(added)
        basic = base64.b64encode(f"{credentials['client_id']}:{credentials['client_secret']}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310  # http, as written here
            f"{service.url}/ciam-mfa/v2/oauth2/token",
            data=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {basic}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # the same
            token = json.load(answer)
    assert token["token_type"] == "Bearer"
    assert token["access_token"].count(".") == 2
    assert service.exit_code == 0
    assert "The application 'shop' is onboarded" in service.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["var"]


def _run(*command: str | Path, folder: Path | None = None) -> str:
    """Return what a command prints; it has to succeed."""
    ended = subprocess.run([*command], cwd=folder, env=plain_environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
