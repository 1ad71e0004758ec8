"""Who owns a registry: whoever's root key came first."""

from typing import Final

from mfa_service.errors import WrongRootKey
from mfa_service.model import KeyPurpose
from mfa_service.ports import Clock, Keys, RandomBytes
from mfa_service.sealing.cipher import ALGORITHM, KEY_BYTES, KEY_ID_BYTES
from mfa_service.sealing.keyring import Keyring
from mfa_service.sealing.keys import KeyMaterial, KeyWrapping

_CANARY: Final = b"the root key of this registry"


async def establish(keys: Keys, root_key: KeyWrapping, *, clock: Clock, random_bytes: RandomBytes) -> Keyring:
    """Take hold of a registry's keys; on its first start, make it this root key's own.

    The root key that inserts the canary owns the registry, and nothing else is inserted before the canary opens.

    Args:
        keys: the registry of sealed keys.
        root_key: the root key.
        clock: decides which key is current.
        random_bytes: the source of keys, key ids and nonces.

    Returns:
        The keyring, with a key that seals.

    Raises:
        WrongRootKey: the registry was made with another root key.
        UnsealFailed: the current sealing key is damaged.
        StoreUnavailable: the registry or the key service is out of reach.
    """
    keyring = Keyring(keys, root_key, clock=clock, random_bytes=random_bytes)

    async def ensure(purpose: KeyPurpose, octets: bytes) -> None:
        if not keyring.records(purpose):
            material = KeyMaterial(random_bytes(KEY_ID_BYTES).hex(), ALGORITHM, octets)
            await keyring.add(purpose, material, generation=1)
            await keyring.refresh()

    await keyring.refresh()
    await ensure(KeyPurpose.CANARY, _CANARY)
    if keyring.registry_id in keyring.damaged:
        raise WrongRootKey("the root key is not the one that this registry was made with")
    await ensure(KeyPurpose.SEALING, random_bytes(KEY_BYTES))
    await keyring.seal(b"", context=b"")  # refuses a damaged key now, not at the first registration
    return keyring
