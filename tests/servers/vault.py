"""A stand-in for HashiCorp Vault: its Transit engine by its documented HTTP API, which takes nothing else.

Its keys are real (AES-256-GCM, `vault:vN:` and base64 of nonce and ciphertext) and have versions. It can be told to be
sealed, slow, over its rate limit, to refuse a token, to answer nonsense, or to be down.
"""

import asyncio
import base64
import binascii
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.CAESIJ-not-a-token-of-any-vault"
MOUNT = "team/transit"
KEY_NAME = "mfa-service"

_FIELDS = {"encrypt": {"plaintext", "associated_data"}, "decrypt": {"ciphertext", "associated_data"}}
_NONCE_BYTES = 12


class _Error(Exception):
    """An answer that is none: its status and Vault's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Vault:
    """One Vault.

    Attributes:
        keys: name → the versions of a key, the first one first.
        namespace: what requests must name, None where it has none.
        failing: how many requests to come fail, and with which status.
        answer: what every request is answered in place of what it asks for.
        delay_s: how long each takes.
        sealed: whether it is.
        requests: what it has been asked, by operation.
        seen: how many requests came, whatever they were.
    """

    keys: dict[str, list[bytes]] = field(default_factory=lambda: {KEY_NAME: [os.urandom(32)]}, repr=False)
    oldest_version: int = 1
    namespace: str | None = None
    token: str = field(default=TOKEN, repr=False)
    failing: list[int] = field(default_factory=list)
    answer: web.Response | None = None
    delay_s: float = 0.0
    sealed: bool = False
    requests: list[str] = field(default_factory=list)
    seen: int = 0
    address: str = ""
    _runner: web.AppRunner | None = None
    _tls: ssl.SSLContext | None = None

    def rotate(self, name: str = KEY_NAME) -> None:
        """Give a key a new version, which encrypts from now on."""
        self.keys[name].append(os.urandom(32))

    def settings(self) -> Mapping[str, object]:
        """The settings of a service that has its root key here."""
        return {
            "keys.provider": "vault-transit",
            "vault.address": self.address,
            "vault.token": self.token,
            "vault.mount": MOUNT,
            "vault.key_name": KEY_NAME,
        }

    async def start(self) -> None:
        """Listen; where it did before, on the same port."""
        application = web.Application(client_max_size=2**25)
        application.router.add_route("*", "/{path:.*}", self._answered)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        port = int(self.address.rpartition(":")[2]) if self.address else 0
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._tls, reuse_address=True).start()
        scheme = "http" if self._tls is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Be down."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answered(self, request: web.Request) -> web.Response:
        self.seen += 1
        await asyncio.sleep(self.delay_s)
        if self.answer is not None:
            return self.answer
        try:
            return web.json_response({"request_id": "r", "lease_id": "", "data": await self._data(request)})
        except _Error as error:
            return web.json_response({"errors": [str(error)]}, status=error.status)

    async def _data(self, request: web.Request) -> Mapping[str, object]:
        if self.failing:
            raise _Error(self.failing.pop(0), "told to fail")
        if self.sealed:
            raise _Error(503, "Vault is sealed")
        operation, _, name = request.path.removeprefix(f"/v1/{MOUNT}/").partition("/")
        if request.method != "POST":
            raise _Error(405, "unsupported operation")
        if request.path != f"/v1/{MOUNT}/{operation}/{name}" or request.query_string or operation not in _FIELDS:
            raise _Error(404, "no handler for route")
        self._refuse_unknown(request)
        fields = _text_fields(await request.json(), _FIELDS[operation])
        self.requests.append(operation)
        if name not in self.keys:
            raise _Error(400, "encryption key not found")
        return self._encrypted(name, fields) if operation == "encrypt" else self._decrypted(name, fields)

    def _refuse_unknown(self, request: web.Request) -> None:
        heads = request.headers
        known = heads.getall("X-Vault-Token", []) == [self.token] and heads.get("X-Vault-Namespace") == self.namespace
        if not known or heads.get("X-Vault-Request") != "true":
            raise _Error(403, "permission denied")
        if heads.get("Content-Type") != "application/json" or {"Cookie", "Authorization"} & set(heads):
            raise _Error(400, "not what the API describes")

    def _encrypted(self, name: str, fields: Mapping[str, str]) -> Mapping[str, object]:
        versions = self.keys[name]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, _octets(fields["plaintext"]), _associated(fields))
        return {
            "ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}",
            "key_version": len(versions),
        }

    def _decrypted(self, name: str, fields: Mapping[str, str]) -> Mapping[str, object]:
        prefix, version, text = (*fields["ciphertext"].split(":"), "", "", "")[:3]
        if prefix != "vault" or not version[1:].isdecimal() or fields["ciphertext"].count(":") != 2:
            raise _Error(400, "invalid ciphertext: no prefix")
        number = int(version[1:])
        if not self.oldest_version <= number <= len(self.keys[name]):
            raise _Error(400, "ciphertext or signature version is disallowed by policy")
        sealed = _octets(text)
        try:
            opened = AESGCM(self.keys[name][number - 1]).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated(fields)
            )
        except (InvalidTag, ValueError):
            raise _Error(400, "cipher: message authentication failed") from None
        return {"plaintext": base64.b64encode(opened).decode()}


@asynccontextmanager
async def vault(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vault]:
    """Run a Vault on a free port of this machine."""
    running = Vault(_tls=tls)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


def _text_fields(body: object, names: set[str]) -> Mapping[str, str]:
    if not isinstance(body, dict) or set(body) != names or not all(isinstance(one, str) for one in body.values()):
        raise _Error(400, f"expected {json.dumps(sorted(names))}")
    return body


def _associated(fields: Mapping[str, str]) -> bytes:
    octets = _octets(fields["associated_data"])
    if not octets:
        raise _Error(400, "no associated data")
    return octets


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _Error(400, "failed to base64-decode") from None
