"""Which of a registry's keys are open, from one reading of their records to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyRecord
from mfa_service.sealing.contexts import key_context
from mfa_service.sealing.keys import KeyWrapping, OpenKey


@dataclass(frozen=True, slots=True)
class OpenKeys:
    """The keys of a registry as one reading found them.

    Attributes:
        by_id: those that open, oldest first.
        damaged: those that do not.
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

    async def opened(self, records: Sequence[KeyRecord], root_key: KeyWrapping) -> "OpenKeys":
        """Return the keys of a new reading: the root key is asked for those alone that are not known yet.

        One that cannot be opened now keeps the others from nothing, and the root key's service from being asked in vain
        for the next.

        Args:
            records: every key of the registry.
            root_key: opens them.
        """
        kept = self.still_in(records)
        by_id: dict[str, OpenKey] = {}
        damaged: dict[str, KeyRecord] = {}
        awaited: set[str] = set()
        obstacle: StoreUnavailable | None = None
        for record in records:
            if record.id in kept:
                by_id[record.id] = kept[record.id]
            elif self.damaged.get(record.id) == record:  # nor is a key service asked for it again each second
                damaged[record.id] = record
            elif obstacle is not None:
                awaited.add(record.id)
            else:
                try:
                    by_id[record.id] = await _opened(record, root_key)
                except UnsealFailed:
                    damaged[record.id] = record
                except StoreUnavailable as error:
                    awaited.add(record.id)
                    obstacle = error
        return OpenKeys(by_id, damaged, frozenset(awaited), obstacle)


async def _opened(record: KeyRecord, root_key: KeyWrapping) -> OpenKey:
    context = key_context(record.id, record.purpose, record.generation, record.algorithm)
    return OpenKey(record, await root_key.unwrap(record.sealed, context=context))
