"""The real command: what was acknowledged outlives the process, and a start that would be wrong is refused."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from mfa_service import app
from tests.api.authenticator import Authenticator
from tests.api.service import BASE
from tests.servers.service_process import plain_environment

USER = "/users/alice/mfadevices"
ENDS_WITHIN_S = 20


async def command(folder: Path, *words: str) -> asyncio.subprocess.Process:
    """Start a command on the registry of a folder."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mfa_service"),
        *("--set", f"data_dir={folder / 'data'}", "--set", "http.port=0"),
        *words,
        cwd=folder,
        env=plain_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def done(folder: Path, *words: str) -> tuple[int | None, str, str]:
    """Run a command to its end: its exit code, and what it wrote."""
    process = await command(folder, *words)
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), ENDS_WITHIN_S)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, stdout.decode(), stderr.decode()


class Running:
    """A server process and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession, port: int) -> None:
        self.process = process
        self._session = session
        self._url = f"http://127.0.0.1:{port}{BASE}"
        self._headers: dict[str, str] = {}

    async def send(self, method: str, path: str, **content: str) -> tuple[int, Any]:
        """Send a request; return the status and the JSON of its answer."""
        body = content or None
        async with self._session.request(method, self._url + path, headers=self._headers, json=body) as answer:
            return answer.status, await answer.json()

    async def log_in(self, credentials: dict[str, str]) -> None:
        """Get the token that the calls from here on carry."""
        status, answer = await self.send("POST", "/oauth2/token", grant_type="client_credentials", **credentials)
        assert status == 200
        self._headers["Authorization"] = f"Bearer {answer['access_token']}"

    async def validate(self, otp: str) -> tuple[int, Any]:
        """Open a challenge and validate a code for it."""
        status, opened = await self.send(
            "POST", "/deviceAuthentications", userName="alice", deviceName="Phone", deviceType="TOTP"
        )
        assert status == 201
        return await self.send("POST", f"/deviceAuthentications/{opened['authId']}", deviceType="TOTP", otp=otp)

    async def end(self, number: signal.Signals) -> int:
        """Send the process a signal; return its exit code."""
        self.process.send_signal(number)
        await asyncio.wait_for(self.process.communicate(), ENDS_WITHIN_S)
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """Serve from a folder; a process that has not ended by itself is killed."""
    process = await command(folder, "serve")
    assert process.stderr is not None
    try:
        event: dict[str, object] = {}
        async with asyncio.timeout(ENDS_WITHIN_S):
            while event.get("event") != "serving":
                event = json.loads(await process.stderr.readline())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield Running(process, session, int(str(event["port"])))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def onboarded(folder: Path) -> dict[str, str]:
    """Onboard an application by the command line; return its credentials."""
    code, stdout, _ = await done(folder, "applications", "add", "shop", "--json")
    assert code == 0
    printed = json.loads(stdout)
    return {name: printed[name] for name in ("client_id", "client_secret")}


async def test_what_was_acknowledged_outlives_a_kill_and_no_code_counts_again(tmp_path: Path) -> None:
    credentials = await onboarded(tmp_path)
    async with running(tmp_path) as server:
        await server.log_in(credentials)
        status, enrolment = await server.send("POST", USER, deviceType="TOTP", deviceName="Phone")
        assert status == 201
        phone = Authenticator(enrolment["registrationUri"], app.SystemClock())
        activation = phone.code()
        status, _ = await server.send("POST", f"{USER}/{enrolment['authId']}", deviceType="TOTP", otp=activation)
        assert status == 200
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL

    async with running(tmp_path) as server:
        await server.log_in(credentials)
        status, devices = await server.send("GET", USER)
        assert (status, [(one["deviceName"], one["status"]) for one in devices]) == (200, [("Phone", "ACTIVE")])
        status, refused = await server.validate(activation)
        assert (status, refused["code"]) == (400, "10008")
        assert "already used" in refused["message"]
        login = phone.code(steps=1)
        assert (await server.validate(login))[0] == 200
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL

    async with running(tmp_path) as server:
        await server.log_in(credentials)
        status, refused = await server.validate(login)
        assert (status, refused["code"]) == (400, "10008")
        assert "already used" in refused["message"]


async def test_a_wrong_code_stays_charged_over_a_kill(tmp_path: Path) -> None:
    credentials = await onboarded(tmp_path)
    async with running(tmp_path) as server:
        await server.log_in(credentials)
        _, enrolment = await server.send("POST", USER, deviceType="TOTP", deviceName="Phone")
        phone = Authenticator(enrolment["registrationUri"], app.SystemClock())
        await server.send("POST", f"{USER}/{enrolment['authId']}", deviceType="TOTP", otp=phone.code())
        for code in phone.wrong_codes(5):
            assert (await server.validate(code))[1]["code"] == "10008"
        await server.end(signal.SIGKILL)
    async with running(tmp_path) as server:
        await server.log_in(credentials)
        status, refused = await server.send(
            "POST", "/deviceAuthentications", userName="alice", deviceName="Phone", deviceType="TOTP"
        )
        assert (status, refused["code"]) == (429, "10027")


async def test_a_told_end_is_a_clean_one_and_a_second_server_is_refused_meanwhile(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        code, stdout, stderr = await done(tmp_path, "serve", "--onboard", "demo")
        assert (code, stdout) == (1, "")
        assert stderr.startswith("Error: data_dir, database.url: another server runs on this registry ")
        assert stderr.count("\n") == 1
        assert await done(tmp_path, "applications", "list", "--json") == (0, "[]\n", "")
        assert (await server.send("GET", USER))[0] == 401  # the first one serves on
        assert await server.end(signal.SIGTERM) == 0


def another_key(path: Path) -> None:
    path.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


async def test_a_wrong_root_key_is_refused_with_one_clear_line(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.end(signal.SIGTERM)
    path = tmp_path / "data" / "root.key"
    good = path.read_bytes()
    harms: dict[str, Callable[[Path], object]] = {
        "the root key is not the one that this registry was made with": another_key,
        "is open to others": lambda path: path.chmod(0o644),
        "cannot be read: No such file or directory": Path.unlink,
    }
    for sentence, harm in harms.items():
        path.write_bytes(good)
        harm(path)
        code, stdout, stderr = await done(tmp_path, "serve")
        assert (code, stdout, stderr.count("\n")) == (1, "", 1)
        assert stderr.startswith("Error: ")
        assert sentence in stderr
    assert not path.exists()  # a lost key is not replaced by one that opens nothing
