"""An OAuth 2 issuer that nobody here wrote: npm's `oidc-provider`, certified by the OpenID Foundation.

It is installed once from the pinned list in `tests/servers/issuer`, into pytest's cache folder.
"""

import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.servers.valkey import free_port

AUDIENCE = "https://mfa.example/api"
SCOPE = "mfa:enroll mfa:authenticate"
CLIENTS = {"shop": "shop-secret-" + "x" * 32, "bank": "bank-secret-" + "x" * 32}

_SOURCES = Path(__file__).parent / "issuer"
_INSTALLED = "installed.json"
_INSTALLED_WITHIN_S = 300


@dataclass(slots=True)
class OidcProvider:
    """An issuer on this machine, running or not.

    Attributes:
        folder: where it is installed.
        port: of its URL, the same for its whole life.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[str] | None" = None

    @property
    def issuer(self) -> str:
        """Its identifier."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, keys: Sequence[Mapping[str, Any]], *, algorithm: str) -> None:
        """Start it, in place of itself where it runs.

        Args:
            keys: private JWKs; it signs with the first that fits.
            algorithm: how it signs access tokens.
        """
        self.stop()
        settings = {
            "issuer": self.issuer,
            "port": self.port,
            "keys": keys,
            "algorithms": sorted({algorithm, "RS256"}, key=lambda one: one != algorithm),
            "clients": list(CLIENTS.items()),
            "audience": AUDIENCE,
            "scope": SCOPE,
        }
        with (self.folder / "issuer.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["node", "issuer.mjs"],  # noqa: S607  where it is installed is the machine's matter
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(settings))
        self._process.stdin.close()
        assert self._process.stdout.readline() == "listening\n", (self.folder / "issuer.log").read_text()

    def stop(self) -> None:
        """End it; without effect where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def token(self, client_id: str = "shop", *, scope: str = SCOPE) -> str:
        """An access token for a client's credentials."""
        basic = base64.b64encode(f"{client_id}:{CLIENTS[client_id]}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310  of this machine
            f"{self.issuer}/token",
            data=urlencode({"grant_type": "client_credentials", "scope": scope}).encode(),
            headers={"Authorization": f"Basic {basic}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  the same
            token: str = json.load(answer)["access_token"]
        return token


@pytest.fixture(scope="session")
def oidc_provider_folder(request: pytest.FixtureRequest) -> Path:
    """Where the issuer is installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("oidc-provider")
    for source in _SOURCES.iterdir():
        shutil.copy(source, folder)
    lock = (_SOURCES / "package-lock.json").read_text()
    if not (folder / _INSTALLED).exists() or (folder / _INSTALLED).read_text() != lock:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True, timeout=_INSTALLED_WITHIN_S)
        (folder / _INSTALLED).write_text(lock)
    return folder


@pytest.fixture
def oidc_provider(oidc_provider_folder: Path) -> Iterator[OidcProvider]:
    """An issuer that does not run yet, and is ended with the test."""
    provider = OidcProvider(oidc_provider_folder)
    with contextlib.ExitStack() as stack:
        stack.callback(provider.stop)
        yield provider
