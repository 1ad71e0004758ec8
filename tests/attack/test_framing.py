"""Attacks with framing that a server in front may read in another way, on paths that take no body."""

import pytest

from tests.api.service import BASE, Caller
from tests.attack.cases import attack
from tests.attack.wires import CHUNKED, HOST, REMOVAL, authorization, chunks, raw

HIDDEN = chunks(b"GET / HTTP/1.1\r\n")
FRAMINGS = {
    "a coding before it was there": ("1.0", b"Connection: keep-alive\r\n" + CHUNKED),
    "a coding that nobody decodes": ("1.1", b"Transfer-Encoding: gzip, chunked\r\n"),
}


@attack("H-04")
@pytest.mark.parametrize(("version", "lines"), FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{BASE}/users/alice/mfadevices"),
        ("DELETE", f"{BASE}/users/alice/mfadevices/TOTP/Tablet"),
        ("GET", "/.well-known/jwks.json"),
        ("POST", "/nowhere"),
        ("PUT", f"{BASE}/deviceAuthentications"),
    ],
)
async def test_a_body_that_nobody_reads_must_be_framed_well_too(
    caller: Caller, version: str, lines: bytes, method: str, path: str
) -> None:
    await caller.enrolled()
    known = await authorization(caller)
    begun = f"{method} {path} HTTP/{version}\r\n".encode() + HOST + known + lines + b"\r\n"
    response, closed = await raw(caller.service, begun + HIDDEN + REMOVAL + known + b"\r\n")
    assert (response.status, response.json["code"], closed) == (400, "10034", True)
    assert len((await caller.devices()).json) == 1
