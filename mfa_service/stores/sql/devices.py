"""`Devices` in SQL: the hot statements in batches, the rest in transactions of their own."""

from collections.abc import Awaitable, Hashable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mfa_service.errors import DeviceNameTaken, DeviceNotFound, NoDevice, StoreUnavailable, TooManyDevices
from mfa_service.model import (
    Acceptance,
    Charged,
    Credential,
    Device,
    DeviceStatus,
    GuessingLimits,
    NewDevice,
    Owner,
    Standing,
)
from mfa_service.ports import NotAccepted, NotCharged
from mfa_service.stores.batching import Batcher, Missing
from mfa_service.stores.sql import statements
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.expressions import now_ms
from mfa_service.stores.sql.faults import is_missing_parent
from mfa_service.stores.sql.prepared import Member
from mfa_service.stores.sql.rows import credential_of, device_of, standing_of
from mfa_service.stores.sql.tables import applications, devices
from mfa_service.stores.sql.turns import Turns

_TRIES_BEYOND_SLOTS = 3


class _Name(NamedTuple):
    """Whose device, by name."""

    application_id: str
    user_name: str
    name: str


class _Charge(NamedTuple):
    """A wrong code to be charged."""

    device_id: str


class SqlDevices:
    """The registry of devices.

    Args:
        database: where they are.
        limits: how devices answer wrong codes.
    """

    def __init__(self, database: Database, limits: GuessingLimits) -> None:
        self._database = database
        self._statements = statements.build(database, limits)
        self._getter: Batcher[str, Device] = Batcher(self._send_get, missing=_not_found)
        self._finder: Batcher[_Name, Device] = Batcher(self._send_find, missing=_not_found)
        # A listing is as many rows as a user has devices: more of them would hold up all others while they are read.
        self._lister: Batcher[Owner, list[Device]] = Batcher(self._send_listing, size=32)
        self._credentials: Batcher[str, Credential] = Batcher(self._send_credential, missing=_not_found)
        self._standings: Batcher[_Name, Standing] = Batcher(self._send_standing, missing=_not_found)
        self._turns = Turns()
        # Right and wrong codes stand in one line for each device: a right one must not overtake the wrong ones before
        # it, or parallel guesses would pass more often than the limits allow.
        self._judge: Batcher[Acceptance | _Charge, Charged | None] = Batcher(
            self._send_judgements, key=_key, apart=attrgetter("device_id"), missing=_refused
        )

    async def close(self) -> None:
        """Answer what is under way and take no more."""
        reading = (self._getter, self._finder, self._lister, self._credentials, self._standings)
        for batcher in (*reading, self._judge):
            await batcher.close()

    def get(self, device_id: str) -> Awaitable[Device]:
        """Return a device by its id, as the port says."""
        return self._getter.submit(device_id)

    def find(self, owner: Owner, name: str) -> Awaitable[Device]:
        """Return a user's device by name, as the port says."""
        return self._finder.submit(_Name(owner.application_id, owner.user_name, name))

    def credential(self, device_id: str) -> Awaitable[Credential]:
        """Return as much of a device as a code is weighed with, as the port says."""
        return self._credentials.submit(device_id)

    def standing(self, owner: Owner, name: str) -> Awaitable[Standing]:
        """Return whether a user's device answers codes now, as the port says."""
        return self._standings.submit(_Name(owner.application_id, owner.user_name, name))

    def accept(self, acceptance: Acceptance) -> Awaitable[None]:
        """Accept one code, as the port says."""
        return cast("Awaitable[None]", self._judge.submit(acceptance))

    def charge(self, device_id: str) -> Awaitable[Charged]:
        """Count one wrong code, as the port says."""
        return cast("Awaitable[Charged]", self._judge.submit(_Charge(device_id)))

    async def all_of(self, owner: Owner) -> Sequence[Device]:
        """Return a user's devices, as the port says."""
        try:
            return await self._lister.submit(owner)
        except Missing:
            return []

    async def owners_named(self, user_name: str) -> Sequence[Owner]:
        """Return the owners of this user name, as the port says."""
        own = sa.exists().where(
            devices.c.application_id == applications.c.id, devices.c.user_name == user_name, statements.is_there()
        )
        query = sa.select(applications.c.id).where(own).order_by(applications.c.id)
        return [Owner(row.id, user_name) for row in await self._database.read(query)]

    async def register(self, device: NewDevice, *, pending_ttl_s: int, max_per_user: int) -> None:
        """Insert a pending device, as the port says."""
        for _ in range(max_per_user + _TRIES_BEYOND_SLOTS):
            try:
                async with self._turns.of(device.owner.application_id), self._database.transaction() as connection:
                    await _register(connection, device, pending_ttl_s=pending_ttl_s, max_per_user=max_per_user)
            except sa.exc.IntegrityError as error:
                if is_missing_parent(error):
                    raise StoreUnavailable("the application or the sealing key went away meanwhile") from None
                continue  # another registration took the slot or the name between the look and the insert
            return
        raise StoreUnavailable("too many registrations of one user at once")

    async def remove(self, owner: Owner, name: str) -> None:
        """Remove a user's device by name, as the port says."""
        async with self._turns.of(owner.application_id):
            removed = await self._delete(*_of(owner), devices.c.name == name, statements.is_there())
        if not removed:
            raise DeviceNotFound

    async def remove_all(self, owner: Owner) -> None:
        """Remove every device of a user, as the port says."""
        async with self._turns.of(owner.application_id):
            removed = await self._delete(*_of(owner), statements.is_there())
        if not removed:
            raise NoDevice

    async def remove_pending(self, device_id: str) -> None:
        """Remove a device that is still pending."""
        await self._delete(devices.c.id == device_id, devices.c.pending_until_ms > 0)

    async def sweep(self, *, limit: int) -> int:
        """Remove some expired pending devices, as the port says."""
        is_expired = sa.and_(devices.c.pending_until_ms > 0, devices.c.pending_until_ms <= now_ms())
        some = sa.select(devices.c.id).where(is_expired).limit(limit).with_for_update(skip_locked=True)
        return await self._delete(devices.c.id.in_(some))

    async def unlock(self, owner: Owner, name: str) -> None:
        """Clear the wrong codes in a row, the wait and the block of a device, as the port says."""
        was_pending = devices.c.pending_until_ms > 0
        before_block = sa.case((was_pending, DeviceStatus.PENDING.value), else_=DeviceStatus.ACTIVE.value)
        statement = (
            sa.update(devices)
            .values(failures=0, locked_until_ms=0, status=before_block)
            .where(*_of(owner), devices.c.name == name, statements.is_there())
            .returning(devices.c.id)
        )
        if not await self._database.write(statement):
            raise DeviceNotFound

    async def _delete(self, *conditions: sa.ColumnElement[bool]) -> int:
        return len(await self._database.write(sa.delete(devices).where(*conditions).returning(devices.c.id)))

    async def _send_get(self, batch: Sequence[str]) -> Mapping[Hashable, Device]:
        rows = await self._database.read_batch(self._statements.get, [(device_id,) for device_id in batch])
        return {row[0]: device_of(row) for row in rows}

    async def _send_find(self, batch: Sequence[_Name]) -> Mapping[Hashable, Device]:
        rows = await self._database.read_batch(self._statements.find, batch)
        return {tuple(row[:3]): device_of(row[3:]) for row in rows}

    async def _send_listing(self, batch: Sequence[Owner]) -> Mapping[Hashable, list[Device]]:
        owners = [(owner.application_id, owner.user_name) for owner in batch]
        listed: dict[Hashable, list[Device]] = {}
        for row in await self._database.read_batch(self._statements.listing, owners):
            device = device_of(row)
            listed.setdefault(device.owner, []).append(device)
        return listed

    async def _send_credential(self, batch: Sequence[str]) -> Mapping[Hashable, Credential]:
        statement = self._statements.credential
        rows = await self._database.read_batch_to_write(statement, [(device_id,) for device_id in batch])
        return {row[0]: credential_of(row) for row in rows}

    async def _send_standing(self, batch: Sequence[_Name]) -> Mapping[Hashable, Standing]:
        rows = await self._database.read_batch(self._statements.standing, batch)
        return {tuple(row[:3]): standing_of(row[3:]) for row in rows}

    async def _send_judgements(self, batch: Sequence[Acceptance | _Charge]) -> Mapping[Hashable, Charged | None]:
        """Accept the right codes, then charge the wrong ones.

        In that order, because an acceptance may be carried out twice without harm where the charges fail after it.
        """
        accepts = [_bound(one) for one in batch if isinstance(one, Acceptance)]
        charges = [one for one in batch if isinstance(one, _Charge)]
        judged: dict[Hashable, Charged | None] = {}
        if accepts:
            judged.update(dict.fromkeys(await self._accept(accepts)))
        if charges:
            rows = await self._database.write_batch(self._statements.charge, charges)
            judged.update({_Charge(device_id): Charged(failures, slow) for device_id, failures, slow in rows})
        return judged

    async def _accept(self, batch: Sequence[Member]) -> Sequence[Hashable]:
        """Accept right codes, and return the keys of those accepted.

        To have each of them told costs a sixth more, and is asked where the count says that some were refused: the
        statement accepts a code of the same challenge once more.
        """
        if await self._database.change_batch(self._statements.accept, batch) == len(batch):
            return [member[:3] for member in batch]
        rows = await self._database.write_batch(self._statements.accept_and_tell, batch)
        return [tuple(row) for row in rows]


def _not_found(_: object) -> DeviceNotFound:
    return DeviceNotFound()


def _refused(judgement: Acceptance | _Charge) -> NotAccepted | NotCharged:
    return NotAccepted() if isinstance(judgement, Acceptance) else NotCharged()


def _bound(one: Acceptance) -> Member:
    """Return an acceptance as its statement takes it."""
    purpose = str(one.purpose)  # plain text: a driver takes longer with a member of an enumeration
    return one.device_id, one.step, one.auth_id, one.matched_at_ms, purpose, one.clock_tolerance_ms


def _key(judgement: Acceptance | _Charge) -> Hashable:
    if isinstance(judgement, Acceptance):
        return judgement.device_id, judgement.step, judgement.auth_id
    return judgement


async def _register(connection: AsyncConnection, device: NewDevice, *, pending_ttl_s: int, max_per_user: int) -> None:
    owner = device.owner
    replaced = sa.or_(sa.not_(statements.is_there()), devices.c.name == device.name)
    await connection.execute(sa.delete(devices).where(*_of(owner), devices.c.pending_until_ms > 0, replaced))
    found = (await connection.execute(sa.select(devices.c.name, devices.c.slot).where(*_of(owner)))).all()
    if any(row.name == device.name for row in found):
        raise DeviceNameTaken
    free = set(range(1, max_per_user + 1)) - {row.slot for row in found}
    if not free or len(found) >= max_per_user:
        raise TooManyDevices
    await connection.execute(
        sa.insert(devices).values(
            id=device.id,
            application_id=owner.application_id,
            user_name=owner.user_name,
            name=device.name,
            slot=min(free),
            status=DeviceStatus.PENDING.value,
            algorithm=device.parameters.algorithm,
            digits=device.parameters.digits,
            period_s=device.parameters.period_s,
            key_id=device.secret.key_id,
            secret=device.secret.blob,
            last_step=-1,
            last_auth_id="",
            earlier_acceptances="",
            failures=0,
            slow_failures=0,
            slow_since_ms=0,
            locked_until_ms=0,
            pending_until_ms=now_ms() + pending_ttl_s * 1000,
            created_at_ms=device.created_at_ms,
            last_used_ms=0,
        )
    )


def _of(owner: Owner) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return devices.c.application_id == owner.application_id, devices.c.user_name == owner.user_name
