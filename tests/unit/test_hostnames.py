"""Host names are looked up without holding up anything else, least of all the end of a process."""

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from mfa_service.hostnames import HostNames

NEVER_ANSWERED = """
import asyncio, socket, sys, threading
import uvloop

def silent(*_given, **_named):
    threading.Event().wait()

socket.getaddrinfo = silent
from mfa_service.access.outside import HttpFetch, open_session
from mfa_service.access.outside.documents import Unusable
from mfa_service.key_services.vault_transit import open_vault_transit
from mfa_service.settings import Vault

async def main():
    issuer = "https://issuer.invalid"
    async with open_session(issuer) as session:
        try:
            await HttpFetch(session, within_s=0.2)(issuer)
        except Unusable as refusal:
            print(refusal)
    async with open_vault_transit(Vault(address="https://vault.invalid", token="t", key_name="k")) as vault:
        try:
            async with asyncio.timeout(0.2):
                await vault.wrap(b"", context=b"")
        except TimeoutError:
            print("Vault does not either")

{"asyncio": asyncio.run, "uvloop": uvloop.run}[sys.argv[1]](main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_ends_although_a_name_server_never_answers(loop: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NEVER_ANSWERED, loop], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        "does not answer in time\nVault does not either\n",
        "",
    )


class System:
    """Answers when it is told to.

    Attributes:
        answers: set, it does.
        asked: the hosts, in order.
    """

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_named: object) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        self.answers.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]


async def test_an_answer_comes_in_time_or_not_at_all() -> None:
    system = System()
    with pytest.raises(TimeoutError):
        await HostNames(system, within_s=0.01).resolve("issuer.example")
    system.answers.set()
    [found] = await HostNames(system).resolve("issuer.example", 443)
    assert (found["hostname"], found["host"], found["port"]) == ("issuer.example", "10.0.0.1", 443)


async def test_names_that_nothing_is_heard_of_take_so_many_threads_and_no_more_until_it_is() -> None:
    system = System()
    names = HostNames(system, within_s=0.01, most_threads=2)
    for host in ("a", "b"):
        with pytest.raises(TimeoutError):
            await names.resolve(host)
    with pytest.raises(OSError, match="too many names"):
        await names.resolve("c")
    system.answers.set()
    async with asyncio.timeout(5):
        while True:
            try:
                await names.resolve("d")
            except OSError:
                await asyncio.sleep(0)
            else:
                break
    assert "c" not in system.asked


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("no host name")])
async def test_why_there_is_no_answer_is_told_and_takes_no_thread(error: Exception) -> None:
    def failing(*_given: object, **_named: object) -> list[tuple[Any, ...]]:
        raise error

    names = HostNames(failing, most_threads=1)
    for _ in range(3):
        with pytest.raises(type(error)):
            await names.resolve("issuer.example")


async def test_an_address_of_either_kind_comes_as_it_is_written() -> None:
    def both(_host: str, port: int, **_named: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::7", port, 0, 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", port, 0, 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port)),
        ]

    found = await HostNames(both).resolve("issuer.example", 443)
    assert [(one["host"].partition("%")[0], one["port"], one["family"]) for one in found] == [
        ("fd00::7", 443, socket.AF_INET6),
        ("fe80::1", 443, socket.AF_INET6),
        ("10.0.0.1", 443, socket.AF_INET),
    ]
    assert "%" in found[1]["host"]


async def test_this_machine_s_own_name_is_known() -> None:
    found = await HostNames().resolve("localhost", 80, socket.AF_UNSPEC)
    assert {one["host"] for one in found} & {"127.0.0.1", "::1"}
