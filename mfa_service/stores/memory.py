"""Challenges in the memory of one process, for the embedded default and for tests."""

from struct import Struct

from mfa_service import identifiers
from mfa_service.errors import ChallengeNotFound, ChallengeSpent, StoreUnavailable
from mfa_service.model import Challenge, Purpose, Settlement, Verdict
from mfa_service.ports import Clock
from mfa_service.stores.expiring import ID_BYTES, ExpiringRecords

# Each opening clears away this many expired challenges at most, so that none of them pays for a whole burst.
_SWEPT_PER_OPENING = 4

# There may be hundreds of thousands of challenges, so each is packed: its id; its deadline in rising time; the number
# of its time to live; the taken step or `_NOT_TAKEN`, and the attempts, which settling changes; the number of the
# application in its store; the place of the purpose in `_PURPOSES`; and the id of the device.
_RECORD = Struct("<16sdBqIIB16s")
_BEHIND_ID = Struct("<dBqIIB16s")
_DEADLINE_AND_PROGRESS = Struct("<dBqI")
_PROGRESS = Struct("<qI")
_PROGRESS_AT = ID_BYTES + _DEADLINE_AND_PROGRESS.size - _PROGRESS.size

_NOT_TAKEN = -1  # no time step: those before the epoch do not exist
_PURPOSES = tuple(Purpose)

# Looked up once, for that takes as long as what is done with them: on CPython 3.11 0.1 µs a member of an enumeration.
_WRONG, _USED, _MATCH = Verdict.WRONG, Verdict.USED, Verdict.MATCH
_TAKEN, _REPEAT, _MISMATCH = Settlement.TAKEN, Settlement.REPEAT, Settlement.MISMATCH
_COUNTED, _COUNTED_AS_LAST = Settlement.WRONG, Settlement.LAST_WRONG
_pack, _unpack = _RECORD.pack, _BEHIND_ID.unpack_from
_pack_progress, _unpack_progress = _PROGRESS.pack, _DEADLINE_AND_PROGRESS.unpack_from


class MemoryChallenges:
    """`Challenges` in a table of records, atomic because no method of it awaits anything.

    Args:
        clock: tells when a challenge expires, by its rising time.
        capacity: how many challenges are kept at once, so that memory is bounded.
    """

    def __init__(self, clock: Clock, *, capacity: int = 500_000) -> None:
        self._now_s = clock.monotonic_s
        self._capacity = capacity
        self._count = 0
        self._records = ExpiringRecords(_RECORD.size)
        self._applications: dict[str, int] = {}  # the number of each that has opened a challenge

    async def open(self, challenge: Challenge, *, ttl_s: int) -> None:
        """Keep a new challenge, as the port says.

        Raises:
            StoreUnavailable: there is one of this id, or no more fit.
            ValueError: its id or the device's is none that `identifiers` makes.
        """
        now_s = self._now_s()
        self._count -= self._records.sweep(now_s, _SWEPT_PER_OPENING)
        if self._count >= self._capacity:
            raise StoreUnavailable("too many open challenges")
        octets = identifiers.octets_of_auth_id(challenge.auth_id)
        device = identifiers.octets_of_device_id(challenge.device_id)
        if self._records.find(octets)[1] >= 0:
            self._count -= self._records.sweep(now_s, self._capacity)  # if it has expired, it goes
            if self._records.find(octets)[1] >= 0:
                raise StoreUnavailable("a challenge of this id is open")
        application = self._applications.get(challenge.application_id)
        if application is None:
            application = self._applications[challenge.application_id] = len(self._applications)
        time_to_live = self._records.number_of(ttl_s)
        taken_step = _NOT_TAKEN if challenge.taken_step is None else challenge.taken_step
        purpose = _PURPOSES.index(challenge.purpose)
        self._records.add(
            _pack(octets, now_s + ttl_s, time_to_live, taken_step, challenge.attempts, application, purpose, device)
        )
        self._count += 1

    async def peek(self, auth_id: str, *, application_id: str, purpose: Purpose) -> Challenge:
        """Return a challenge unchanged, as the port says."""
        bucket, at = self._find(auth_id)
        deadline_s, _, taken_step, attempts, application, place, device = _unpack(bucket, at + ID_BYTES)
        if deadline_s <= self._now_s():
            raise ChallengeNotFound
        if _PURPOSES[place] is not purpose or self._applications.get(application_id) != application:
            raise ChallengeNotFound
        taken = None if taken_step == _NOT_TAKEN else taken_step
        return Challenge(auth_id, application_id, device.hex(), purpose, attempts, taken)

    async def settle(self, auth_id: str, verdict: Verdict, *, step: int | None, max_attempts: int) -> Settlement:
        """Put a verdict on record, as the port says."""
        bucket, at = self._find(auth_id)
        deadline_s, _, taken_step, attempts = _unpack_progress(bucket, at + ID_BYTES)
        if deadline_s <= self._now_s():
            raise ChallengeNotFound
        if attempts >= max_attempts:
            raise ChallengeSpent
        taken = taken_step != _NOT_TAKEN
        if taken and verdict is not _WRONG and step == taken_step:
            return _REPEAT
        if verdict is _USED:
            return Settlement.USED
        if not taken and verdict is _MATCH:
            self._records.overwrite(bucket, at + _PROGRESS_AT, _pack_progress(step, attempts))
            return _TAKEN
        attempts += 1
        self._records.overwrite(bucket, at + _PROGRESS_AT, _pack_progress(taken_step, attempts))
        if taken:
            return _MISMATCH
        return _COUNTED if attempts < max_attempts else _COUNTED_AS_LAST

    async def ping(self) -> None:
        """Return at once: this store is always within reach."""

    async def close(self) -> None:
        """Forget every challenge."""
        self._count = 0
        self._records = ExpiringRecords(_RECORD.size)
        self._applications.clear()

    def _find(self, auth_id: str) -> tuple[bytes, int]:
        """Return what holds a challenge, expired or not, and where it begins in it.

        Raises:
            ChallengeNotFound: it is not kept.
        """
        try:
            bucket, at = self._records.find(identifiers.octets_of_auth_id(auth_id))
        except ValueError:
            raise ChallengeNotFound from None
        if at < 0:
            raise ChallengeNotFound
        return bucket, at
