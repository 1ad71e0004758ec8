"""Addresses to listen on: taken at once, and refused in a line that names setting, place and reason."""

import socket

import pytest

from mfa_service.errors import SettingsInvalid
from mfa_service.ops import addresses


def test_an_address_is_held_and_nobody_is_let_in_yet() -> None:
    address = addresses.bind("http", "127.0.0.1", 0)
    assert address.bound_port > 0
    with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
        caller.connect(("127.0.0.1", address.bound_port))
    address.close()


def test_every_address_of_a_name_gets_the_same_port() -> None:
    address = addresses.bind("http", "localhost", 0)
    assert {one.getsockname()[1] for one in address.sockets} == {address.bound_port}
    address.close()


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "address already in use"), ("192.0.2.1", "cannot assign requested address")],
)
def test_an_address_that_cannot_be_had_is_refused(host: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsInvalid) as refused:
            addresses.bind("ops", host, port)
    assert str(refused.value) == f"ops.host, ops.port: cannot listen on {host}:{port}: {reason}"


def test_a_name_without_an_address_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match=r"^http\.host, http\.port: cannot listen on no-such-host\.invalid:80: "):
        addresses.bind("http", "no-such-host.invalid", 80)
