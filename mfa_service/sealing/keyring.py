"""The keys of a registry, opened by the root key: what seals devices' secrets, and what signs tokens."""

import asyncio
from collections.abc import Mapping
from typing import Final

from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose, KeyRecord, SealedSecret
from mfa_service.ports import Clock, Keys, RandomBytes
from mfa_service.sealing.cipher import Cipher
from mfa_service.sealing.contexts import key_context
from mfa_service.sealing.keys import KeyMaterial, KeyWrapping, OpenKey, current
from mfa_service.sealing.open_keys import OpenKeys

_MAX_AGE_S: Final = 1.0
_DAMAGED_AGAIN_S: Final = 60.0  # a key service may have been mended; each key costs it a request from every worker
_MOST_LOOKED_FOR: Final = 1_000
_FROM_THE_START: Final = 0  # as `active_from_ms`: no node's clock is before it


class Keyring:
    """Keeps a registry's keys open and seals secrets with the current one (`Sealing`); made by `establish`.

    The table is read again by `refresh`, which a process calls each second, and also where the keys are older than
    that when a secret is sealed, or where a key is unknown, at most once a second for each. A key that was opened stays
    open until it is removed, so the root key or its service is needed for new keys alone, and one that cannot be opened
    while that service is away keeps neither the others from use nor a removed one in it. For damaged ones the root key
    is asked again by one reading a minute.

    Args:
        keys: the registry of sealed keys.
        root_key: opens them.
        clock: decides which key is current.
        random_bytes: the source of nonces.
    """

    def __init__(self, keys: Keys, root_key: KeyWrapping, *, clock: Clock, random_bytes: RandomBytes) -> None:
        self._keys = keys
        self._root_key = root_key
        self._clock = clock
        self._random_bytes = random_bytes
        self._found = OpenKeys()
        self._in_use: Mapping[str, OpenKey] = {}
        self._ciphers: dict[str, Cipher] = {}
        self._records: dict[KeyPurpose, tuple[KeyRecord, ...]] = {}
        self._signing: tuple[OpenKey, ...] = ()
        self._read_at_s = self._looked_at_s = self._damaged_again_at_s = float("-inf")
        self._looked_for_at_s: dict[str, float] = {}
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return "Keyring(...)"

    @property
    def registry_id(self) -> str:
        """The name of the registry: 32 hexadecimal digits, the same for its whole life."""
        return self._records[KeyPurpose.CANARY][0].id

    def records(self, purpose: KeyPurpose) -> tuple[KeyRecord, ...]:
        """Return the records of one purpose, oldest first, whether they open or not."""
        return self._records[purpose]

    @property
    def signing_keys(self) -> tuple[OpenKey, ...]:
        """The token-signing keys that open, oldest first; another tuple as soon as they change."""
        return self._signing

    @property
    def damaged(self) -> frozenset[str]:
        """The ids of keys in the registry that do not open; what needs them fails, and nothing else."""
        return frozenset(self._found.damaged)

    @property
    def awaited(self) -> frozenset[str]:
        """The ids of keys that nobody could open so far, because the root key's service is away."""
        return self._found.awaited

    @property
    def sealing_key_id(self) -> str:
        """The id of the key that secrets are sealed with now, as far as known."""
        return current(self._records[KeyPurpose.SEALING], self._clock.now_ms()).id

    async def seal(self, secret: bytes, *, context: bytes) -> SealedSecret:
        """Seal a secret under the current key, bound to its context.

        Raises:
            StoreUnavailable: the keys are older than a second and cannot be read again, or the current one cannot be
                opened now.
            UnsealFailed: the current key itself is damaged.
        """
        if self._is_old():
            try:
                await self.refresh()
            except StoreUnavailable:
                if self._is_old():  # otherwise they were read, and some new key is not open yet
                    raise
        cipher = self._current_cipher()
        return SealedSecret(cipher.key_id, cipher.seal(secret, context=context))

    async def unseal(self, sealed: SealedSecret, *, context: bytes) -> bytes:
        """Open a sealed secret.

        Raises:
            UnsealFailed: it is damaged, of another context, of an unknown key, or of a damaged one.
            StoreUnavailable: its key is unknown and the keys cannot be read again, or it cannot be opened now.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            await self._look_for(sealed.key_id)
            cipher = self._ciphers.get(sealed.key_id)
            if cipher is None:
                self._refuse_awaited(sealed.key_id)
                if sealed.key_id in self._found.damaged:
                    raise UnsealFailed(f"a secret is sealed with the damaged key {sealed.key_id}")
                raise UnsealFailed("a sealed secret is of an unknown key")
        return cipher.open(sealed.blob, context=context)

    async def look_again(self) -> None:
        """Read the keys once more on behalf of an unknown key id, unless another one caused that within a second.

        It is for ids that anybody may make up, such as those in tokens.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        now_s = self._clock.monotonic_s()
        if self._reading is not None or now_s - self._looked_at_s >= _MAX_AGE_S:
            self._looked_at_s = now_s
            await self.refresh()

    async def refresh(self) -> None:
        """Read the keys again; callers of the same time share one reading.

        Raises:
            StoreUnavailable: they cannot be read, and those known before stay; or they were read and a new one cannot
                be opened, of which the others know nothing.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._end_reading)
        await asyncio.shield(self._reading)  # a caller that is cancelled does not take the others with it

    async def add(
        self, purpose: KeyPurpose, material: KeyMaterial, *, generation: int, active_from_ms: int = _FROM_THE_START
    ) -> KeyRecord:
        """Wrap a new key and insert it, unless its purpose and generation are taken; `refresh` then opens it.

        Args:
            purpose: what it is for.
            material: the key.
            generation: 1 for the first key of its purpose, one more for each that follows.
            active_from_ms: when it takes over from the one before it, by each node's clock.

        Returns:
            The record that holds that place: this one, or the one that was first.
        """
        context = key_context(material.id, purpose, generation, material.algorithm)
        return await self._keys.add(
            KeyRecord(
                id=material.id,
                purpose=purpose,
                generation=generation,
                algorithm=material.algorithm,
                sealed=await self._root_key.wrap(material.octets, context=context),
                public_jwk=material.public_jwk,
                created_at_ms=self._clock.now_ms(),
                active_from_ms=active_from_ms,
            )
        )

    def _current_cipher(self) -> Cipher:
        key_id = self.sealing_key_id
        try:
            return self._ciphers[key_id]
        except KeyError:  # an older key would open again what a rotation meant to end
            self._refuse_awaited(key_id)
            raise UnsealFailed(f"the current sealing key {key_id} is damaged: it does not open") from None

    def _is_old(self) -> bool:
        return self._clock.monotonic_s() - self._read_at_s > _MAX_AGE_S

    def _refuse_awaited(self, key_id: str) -> None:
        if key_id in self._found.awaited:
            raise StoreUnavailable("a key cannot be opened now")

    async def _look_for(self, key_id: str) -> None:
        """Read the keys once more on behalf of a row's key, unless it was looked for in vain within a second.

        A row that names a key was written after the key: a worker that has not read it yet must not fail for other
        ids' being looked for, nor for a reading that began before the key came.
        """
        now_s = self._clock.monotonic_s()
        if self._reading is None and now_s - self._looked_for_at_s.get(key_id, float("-inf")) < _MAX_AGE_S:
            return
        if len(self._looked_for_at_s) >= _MOST_LOOKED_FOR:
            self._looked_for_at_s.clear()
        self._looked_for_at_s[key_id] = now_s
        if self._reading is not None:
            await asyncio.shield(self._reading)
        if key_id not in self._ciphers:
            await self.refresh()

    async def _read(self) -> None:
        began_at_s = self._clock.monotonic_s()
        records = await self._keys.all()
        # A key that was removed is out at once, however long the root key's service takes for new ones.
        self._use(self._found.still_in(records))
        again = began_at_s - self._damaged_again_at_s >= _DAMAGED_AGAIN_S
        if again:
            self._damaged_again_at_s = began_at_s
        self._found = await self._found.opened(records, self._root_key, damaged_again=again)
        self._use(self._found.by_id)
        self._records = {
            purpose: tuple(record for record in records if record.purpose is purpose) for purpose in KeyPurpose
        }
        self._read_at_s = began_at_s
        if self._found.obstacle is not None:
            raise self._found.obstacle

    def _use(self, opened: Mapping[str, OpenKey]) -> None:
        """Have these keys in use from now on and no others."""
        if opened == self._in_use:
            return
        self._ciphers = {
            key_id: Cipher(key_id, key.octets, self._random_bytes)
            for key_id, key in opened.items()
            if key.record.purpose is KeyPurpose.SEALING
        }
        self._signing = tuple(key for key in opened.values() if key.record.purpose is KeyPurpose.SIGNING)
        self._in_use = opened

    def _end_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = None
