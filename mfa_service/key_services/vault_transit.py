"""HashiCorp Vault's Transit secrets engine as the root key, by its HTTP API.

Vault encrypts and decrypts a key as `vault:v1:…` and keeps its own to itself (`POST /v1/{mount}/encrypt/{key}` and
`…/decrypt/{key}`). Its key is of a type that takes associated data, as `aes256-gcm96` does.
"""

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp

from mfa_service.errors import SettingsInvalid, StoreUnavailable, UnsealFailed, WrongRootKey
from mfa_service.hostnames import HostNames
from mfa_service.settings import Vault

_DEADLINE_S: Final = 2.5
_TRY_S: Final = 1.0
_TRIES: Final = 3
_PAUSE_S: Final = 0.1
_MOST_ANSWER_BYTES: Final = 65_536
_WRAPPED: Final = b"vault:v"

# Neither call changes anything, so each may be made again. A sealed Vault (503) is not unsealed meanwhile.
_WORTH_ANOTHER_TRY: Final = frozenset({412, 429, 500, 502})
_REASONS: Final[Mapping[int, str]] = {
    HTTPStatus.FORBIDDEN: "it refuses the token: check vault.token and its policy",
    HTTPStatus.NOT_FOUND: "there is no such path: check vault.mount and vault.namespace",
    HTTPStatus.SERVICE_UNAVAILABLE: "it is sealed, or down for maintenance",
    HTTPStatus.TOO_MANY_REQUESTS: "it is over a rate limit",
}


class _Refused(Exception):
    """Vault finds the request itself wrong (400): the key is not there, or the ciphertext not of it."""


class _TryAgain(Exception):
    """No answer came, or one that another try may better; the text says which."""


class VaultTransit:
    """Wraps keys with a key of Vault's (`KeyWrapping`).

    Args:
        session: makes the requests; it does not decompress.
        address: of Vault, without a slash at its end.
        token: what Vault knows this service by; shown nowhere.
        mount: where the engine is mounted.
        key_name: of the key in it.
        namespace: of Vault Enterprise; empty for none.
        pause_s: between two tries, in seconds.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        address: str,
        token: str,
        mount: str,
        key_name: str,
        namespace: str = "",
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._session = session
        self._base = f"{address}/v1/{mount}"
        self._key_name = key_name
        self._pause_s = pause_s
        self._headers = {
            "X-Vault-Token": token,
            "X-Vault-Request": "true",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        if namespace:
            self._headers["X-Vault-Namespace"] = namespace

    def __repr__(self) -> str:
        return "VaultTransit(...)"

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return a key sealed and bound to its context.

        Raises:
            WrongRootKey: Vault's key is not there, or takes no associated data.
            StoreUnavailable: Vault is out of reach, or refuses the token.
        """
        try:
            wrapped = await self._answered("encrypt", {"plaintext": _text(key)}, context, "ciphertext")
        except _Refused:
            raise WrongRootKey(
                f"Vault does not encrypt with its key {self._key_name}: it must be there and of the type aes256-gcm96"
            ) from None
        if not wrapped.startswith(_WRAPPED):
            raise _unavailable("it answers something else than the Transit engine does")
        return wrapped

    async def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` sealed.

        Raises:
            UnsealFailed: it is damaged, of another context, or wrapped by another root key.
            StoreUnavailable: Vault is out of reach, or refuses the token.
        """
        if not wrapped.startswith(_WRAPPED) or not wrapped.isascii():
            raise UnsealFailed("a key was not wrapped by Vault")
        try:
            octets = await self._answered("decrypt", {"ciphertext": wrapped.decode("ascii")}, context, "plaintext")
            return base64.b64decode(octets, validate=True)
        except _Refused:
            raise UnsealFailed("Vault does not open a wrapped key") from None
        except binascii.Error:
            raise _unavailable("it answers something else than the Transit engine does") from None

    async def _answered(self, operation: str, fields: Mapping[str, str], context: bytes, wanted: str) -> bytes:
        """Return one member of the answer's data, after several tries where one may help."""
        body = json.dumps({**fields, "associated_data": _text(context)}).encode()
        url = f"{self._base}/{operation}/{self._key_name}"
        reason = "no answer in time"
        try:
            async with asyncio.timeout(_DEADLINE_S):
                for tried in range(_TRIES):
                    if tried:
                        await asyncio.sleep(self._pause_s)
                    try:
                        return _member(await self._post(url, body), wanted)
                    except _TryAgain as again:
                        reason = str(again)
        except TimeoutError:
            pass
        raise _unavailable(reason) from None

    async def _post(self, url: str, body: bytes) -> bytes:
        try:
            async with self._session.post(url, data=body, headers=self._headers, allow_redirects=False) as response:
                content = await _read(response)
        except TimeoutError:
            raise _TryAgain("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _TryAgain(type(error).__name__) from None
        status = response.status
        if status == HTTPStatus.OK:
            return content
        if status == HTTPStatus.BAD_REQUEST:
            raise _Refused
        reason = f"{_REASONS.get(status, 'it does not do what it is asked')} ({status})"
        if status in _WORTH_ANOTHER_TRY:
            raise _TryAgain(reason)
        raise _unavailable(reason)


@asynccontextmanager
async def open_vault_transit(vault: Vault) -> AsyncIterator[VaultTransit]:
    """Give Vault's Transit engine as these settings name it; it is first asked when it is first needed.

    Raises:
        SettingsInvalid: `vault.ca_file` cannot be read.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_trust(vault.ca_file), resolver=HostNames()),
        timeout=aiohttp.ClientTimeout(total=_TRY_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield VaultTransit(
            session,
            address=vault.address,
            token=vault.token,
            mount=vault.mount,
            key_name=vault.key_name,
            namespace=vault.namespace,
        )


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # of a file that holds no certificate too
        raise SettingsInvalid(f"vault.ca_file: it cannot be read: {error.strerror or 'no certificate'}") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer that is no longer than any that Vault gives here."""
    content = bytearray()
    async for piece in response.content.iter_chunked(_MOST_ANSWER_BYTES):
        content += piece
        if len(content) > _MOST_ANSWER_BYTES:
            raise _unavailable("its answer is too long")
    return bytes(content)


def _member(content: bytes, name: str) -> bytes:
    """Return a text of the answer's `data`."""
    try:
        return json.loads(content)["data"][name].encode("ascii")  # type: ignore[no-any-return]  # text has it, or fails
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _unavailable("it answers something else than the Transit engine does") from None


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _unavailable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"Vault cannot be used: {reason}")
