"""How a new key takes over from the one before it, and when the old one may go."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mfa_service.errors import KeyRotated
from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.ports import RandomBytes
from mfa_service.sealing.cipher import ALGORITHM, KEY_BYTES, KEY_ID_BYTES
from mfa_service.sealing.keyring import Keyring
from mfa_service.sealing.keys import KeyMaterial

# For workers to have read the newer key: they do each second, and their clocks may be some seconds off.
_NOTICED_WITHIN_MS: Final = 60_000
_REVOKED_WITHIN_MS: Final = 5_000
# A token lives for so long after the last moment at which its key may have signed: tokens.life_s and tokens.leeway_s
# at their most, for other nodes and earlier days may have had other settings than this one.
_LONGEST_TOKEN_MS: Final = (3_600 + 30) * 1000

_RETIRED_AFTER_MS: Final[Mapping[KeyPurpose, int]] = MappingProxyType(
    {
        KeyPurpose.CANARY: 0,  # never superseded
        KeyPurpose.SEALING: _NOTICED_WITHIN_MS,
        KeyPurpose.SIGNING: _LONGEST_TOKEN_MS + _NOTICED_WITHIN_MS,
    }
)


def new_sealing_key(random_bytes: RandomBytes) -> KeyMaterial:
    """Return a new key that seals secrets."""
    return KeyMaterial(random_bytes(KEY_ID_BYTES).hex(), ALGORITHM, random_bytes(KEY_BYTES))


def retirement_ms(purpose: KeyPurpose, *, revoke_tokens: bool = False) -> int:
    """Return for how long a key must have been superseded before it may be retired, in milliseconds.

    Args:
        purpose: what the key is for.
        revoke_tokens: whether a signing key is to go with the tokens that it signed, which then count no more.
    """
    if purpose is KeyPurpose.SIGNING and revoke_tokens:
        return _REVOKED_WITHIN_MS
    return _RETIRED_AFTER_MS[purpose]


async def rotate(keyring: Keyring, purpose: KeyPurpose, material: KeyMaterial, *, active_from_ms: int) -> KeyRecord:
    """Put a new key into the registry, to take over at a moment.

    Args:
        keyring: just read.
        purpose: what the key is for.
        material: the key.
        active_from_ms: when it takes over, by each node's clock, 0 where it does as soon as a node has read it; it
            opens and verifies at once.

    Raises:
        KeyRotated: another rotation came first.
        StoreUnavailable: the registry or the key service is out of reach.
    """
    generation = 1 + max((record.generation for record in keyring.records(purpose)), default=0)
    record = await keyring.add(purpose, material, generation=generation, active_from_ms=active_from_ms)
    if record.id != material.id:
        raise KeyRotated
    return record
