"""Which of a registry's keys are open, from one reading of their records to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.sealing.cipher import KEY_BYTES
from mfa_service.sealing.contexts import key_context
from mfa_service.sealing.keys import KeyWrapping, OpenKey, private_key


@dataclass(frozen=True, slots=True)
class OpenKeys:
    """The keys of a registry as one reading found them.

    Attributes:
        by_id: those that open, oldest first.
        damaged: those that do not, or hold what is no key.
        awaited: the ids of those that nobody could open so far, because the root key's service is away.
        obstacle: what it said.
    """

    by_id: Mapping[str, OpenKey] = field(default_factory=dict)
    damaged: Mapping[str, KeyRecord] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()
    obstacle: StoreUnavailable | None = None

    def still_in(self, records: Sequence[KeyRecord]) -> Mapping[str, OpenKey]:
        """Return those open keys whose records are among these, as they were."""
        there = {record.id: record for record in records}
        return {key_id: key for key_id, key in self.by_id.items() if there.get(key_id) == key.record}

    async def opened(
        self, records: Sequence[KeyRecord], root_key: KeyWrapping, *, damaged_again: bool = False
    ) -> "OpenKeys":
        """Return the keys of a new reading: the root key is asked for those alone that are not known yet.

        One that cannot be opened now keeps the others from nothing, and the root key's service from being asked in vain
        for the next.

        Args:
            records: every key of the registry.
            root_key: opens them.
            damaged_again: whether it is asked once more for the damaged ones, as a key service may have been mended;
                one that cannot answer leaves them what they are.
        """
        kept = self.still_in(records)
        by_id: dict[str, OpenKey] = {}
        damaged: dict[str, KeyRecord] = {}
        awaited: set[str] = set()
        obstacle: StoreUnavailable | None = None
        for record in records:
            was_damaged = self.damaged.get(record.id) == record
            if record.id in kept:
                by_id[record.id] = kept[record.id]
            elif was_damaged and (obstacle is not None or not damaged_again):
                damaged[record.id] = record
            elif obstacle is not None:
                awaited.add(record.id)
            else:
                try:
                    by_id[record.id] = await _opened(record, root_key)
                except UnsealFailed:
                    damaged[record.id] = record
                except StoreUnavailable as error:
                    obstacle = error
                    if was_damaged:
                        damaged[record.id] = record
                    else:
                        awaited.add(record.id)
        return OpenKeys(by_id, damaged, frozenset(awaited), obstacle if awaited else None)


async def _opened(record: KeyRecord, root_key: KeyWrapping) -> OpenKey:
    context = key_context(record.id, record.purpose, record.generation, record.algorithm)
    key = OpenKey(record, await root_key.unwrap(record.sealed, context=context))
    if record.purpose is KeyPurpose.SEALING and len(key.octets) != KEY_BYTES:
        raise UnsealFailed(f"the sealing key {record.id} is damaged: it has not {KEY_BYTES} bytes")
    if record.purpose is KeyPurpose.SIGNING:
        private_key(key)  # only to see that it is one
    return key
