"""The calls that are measured, as the bytes that callers send and what has to come back."""

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from bench.connections import Expected
from bench.fleet import DEVICE_NAME, KnownDevice

_BASE = "/ciam-mfa/v2"
_CHALLENGES = f"{_BASE}/deviceAuthentications"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"

INITIATED = Expected(201, b'"status":"SUCCESS"')
VALIDATED = Expected(200, b'"status":"SUCCESS"')
REFUSED = Expected(400, b'"code":"10008"')
ISSUED = Expected(200, b'"access_token":"')
ANSWERED = Expected(201, b"SUCCESS")
"""Of the floor and of the responder."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the application gets its tokens."""

    client_id: str
    client_secret: str = field(repr=False)


def token_request(credentials: Credentials) -> bytes:
    """Return call 1: a token for the application's own credentials (RFC 6749 §4.4.2)."""
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    return _post(f"{_BASE}/oauth2/token", urllib.parse.urlencode(form).encode(), media_type=_FORM)


def token_in(answer: bytes) -> str:
    """Return the access token in the answer to call 1."""
    return str(orjson.loads(answer)["access_token"])


def initiate(device: KnownDevice, token: str) -> bytes:
    """Return call 6: open a challenge for a device."""
    body = {"userName": device.user_name, "deviceName": DEVICE_NAME, "deviceType": "TOTP"}
    return _post(_CHALLENGES, orjson.dumps(body), token=token)


def auth_ids_in(answers: Sequence[bytes]) -> Sequence[str]:
    """Return the challenges in answers to call 6."""
    return [str(orjson.loads(answer)["authId"]) for answer in answers]


def validate(auth_id: str, otp: str, token: str) -> bytes:
    """Return call 7: give a code to a challenge."""
    return _post(f"{_CHALLENGES}/{auth_id}", orjson.dumps({"deviceType": "TOTP", "otp": otp}), token=token)


def _post(path: str, body: bytes, *, token: str = "", media_type: str = _JSON) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join((*lines, "", "")).encode() + body
