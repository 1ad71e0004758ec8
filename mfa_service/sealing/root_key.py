"""The root key, which seals every other key: 32 random bytes, from a setting or from a file that only its owner reads.

As text it is base64url (RFC 4648 §5) of the 32 bytes, 43 characters; padding and the plain base64 alphabet are read
too, so that `openssl rand -base64 32` makes one.
"""

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from mfa_service.errors import WrongRootKey
from mfa_service.ports import RandomBytes
from mfa_service.sealing.cipher import KEY_BYTES, KEY_ID_BYTES, Cipher

_MODE: Final = 0o600
_OPEN_TO_OTHERS: Final = 0o077
_LONGEST_FILE_BYTES: Final = 256


class RootKey:
    """Wraps keys under 32 bytes, which it does not show.

    Args:
        octets: the key.
        random_bytes: the source of nonces.
    """

    __slots__ = ("_cipher",)

    def __init__(self, octets: bytes, random_bytes: RandomBytes) -> None:
        # The id lets a blob tell which root key it needs; from a digest nobody finds 256 random bits.
        key_id = hashlib.sha256(b"root key id" + octets).hexdigest()[: 2 * KEY_ID_BYTES]
        self._cipher = Cipher(key_id, octets, random_bytes)

    def __repr__(self) -> str:
        return "RootKey(...)"

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return a key sealed and bound to its context."""
        return self._cipher.seal(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key that `wrap` sealed.

        Raises:
            UnsealFailed: it is damaged, of another context, or wrapped by another root key.
        """
        return self._cipher.open(wrapped, context=context)


def root_key_from_text(text: str, *, random_bytes: RandomBytes) -> RootKey:
    """Return the root key that a text gives.

    Args:
        text: 32 bytes in base64url or base64; blanks and line ends around it do not count.
        random_bytes: the source of nonces.

    Raises:
        WrongRootKey: it is something else.
    """
    digits = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        octets = base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != KEY_BYTES or _as_text(octets) != digits:
        raise WrongRootKey(f"the root key is not base64url of {KEY_BYTES} bytes; `openssl rand -base64 32` makes one")
    return RootKey(octets, random_bytes)


def read_root_key(path: Path, *, random_bytes: RandomBytes) -> RootKey:
    """Return the root key that a file holds.

    Args:
        path: a regular file, or a link to one.
        random_bytes: the source of nonces.

    Raises:
        WrongRootKey: the file is missing, cannot be read, is open to others, or holds something else.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise WrongRootKey(f"the root key {path} is not a regular file")
            if status.st_mode & _OPEN_TO_OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                raise WrongRootKey(f"the root key {path} is open to others (mode {mode:04o}): run `chmod 600` on it")
            content = file.read(_LONGEST_FILE_BYTES)
    except OSError as error:
        raise WrongRootKey(f"the root key {path} cannot be read: {error.strerror}") from None
    try:
        return root_key_from_text(content.decode("ascii", "replace"), random_bytes=random_bytes)
    except WrongRootKey as error:
        raise WrongRootKey(f"{path}: {error}") from None


def read_or_make_root_key(path: Path, *, random_bytes: RandomBytes) -> RootKey:
    """Return the root key that a file holds, after making the file with mode 0600 where there is none.

    The file comes into being whole and durable under its name, so of several processes that start at once all read the
    same key. It is for a registry's first start alone: elsewhere a lost root key must stay lost.

    Args:
        path: the file; its folder exists.
        random_bytes: the source of the key and of nonces.

    Raises:
        WrongRootKey: as `read_root_key`, or the file cannot be made.
    """
    if not path.exists():
        try:
            _make(path, random_bytes)
        except OSError as error:
            raise WrongRootKey(f"the root key {path} cannot be made: {error.strerror}") from None
    return read_root_key(path, random_bytes=random_bytes)


def _make(path: Path, random_bytes: RandomBytes) -> None:
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
            file.write(f"{_as_text(random_bytes(KEY_BYTES))}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # unlike a rename, it never replaces a key that another process made meanwhile
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _as_text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
