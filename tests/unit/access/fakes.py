"""Registries of keys and applications in memory, one of which can be put out of reach."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mfa_service.errors import (
    ApplicationHasDevices,
    ApplicationNameTaken,
    ApplicationNotFound,
    KeyNotFound,
    StoreUnavailable,
)
from mfa_service.model import Application, KeyRecord, SecretHash
from mfa_service.sealing import RootKey

ROOT_OCTETS = bytes(range(32))


def root_key(octets: bytes = ROOT_OCTETS) -> RootKey:
    return RootKey(octets, os.urandom)


class MemoryKeys:
    """`Keys` in memory."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], KeyRecord] = {}
        self.out_of_reach = False
        self.reads = 0

    async def all(self) -> Sequence[KeyRecord]:
        self.reads += 1
        if self.out_of_reach:
            raise StoreUnavailable
        return [self.records[place] for place in sorted(self.records)]

    async def add(self, record: KeyRecord) -> KeyRecord:
        if self.out_of_reach:
            raise StoreUnavailable
        return self.records.setdefault((record.purpose.value, record.generation), record)

    async def retire(self, key_id: str, *, superseded_for_ms: int) -> None:
        assert superseded_for_ms == 0, "nothing is remembered of when a key was superseded"
        if not any(record.id == key_id for record in self.records.values()):
            raise KeyNotFound
        self.remove(key_id)

    def replace(self, record: KeyRecord) -> None:
        self.records[record.purpose.value, record.generation] = record

    def remove(self, key_id: str) -> None:
        self.records = {place: record for place, record in self.records.items() if record.id != key_id}


class MemoryApplications:
    """`Applications` in memory."""

    def __init__(self) -> None:
        self.by_id: dict[str, Application] = {}
        self.out_of_reach = False
        self.lookups = 0

    async def add(self, application: Application) -> None:
        if any({one.name, one.client_id} & {application.name, application.client_id} for one in self.by_id.values()):
            raise ApplicationNameTaken
        self.by_id[application.id] = application

    async def all(self) -> Sequence[Application]:
        self._refuse_out_of_reach()
        return sorted(self.by_id.values(), key=lambda application: application.name)

    async def by_client_id(self, client_id: str) -> Application:
        self._refuse_out_of_reach()
        self.lookups += 1
        return _only(one for one in self.by_id.values() if one.client_id == client_id)

    async def named(self, text: str) -> Application:
        return _only(one for one in self.by_id.values() if text in (one.client_id, one.name))

    async def set_secrets(self, application_id: str, hashes: Sequence[SecretHash]) -> None:
        self.by_id[application_id] = replace(self._get(application_id), secret_hashes=tuple(hashes))

    async def set_disabled(self, application_id: str, *, disabled: bool) -> None:
        self.by_id[application_id] = replace(self._get(application_id), disabled=disabled)

    async def remove(self, application_id: str, *, with_devices: bool) -> None:
        if not with_devices:
            raise ApplicationHasDevices
        del self.by_id[self._get(application_id).id]

    def _get(self, application_id: str) -> Application:
        return _only(one for one in self.by_id.values() if one.id == application_id)

    def _refuse_out_of_reach(self) -> None:
        if self.out_of_reach:
            raise StoreUnavailable


def _only(found: Iterable[Application]) -> Application:
    for application in found:
        return application
    raise ApplicationNotFound
