"""What a run leaves behind: every request with its answer, the faults meanwhile, and the registry's ledger."""

import enum
import math
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Thing = TypeVar("Thing")
Key = TypeVar("Key", bound=Hashable)


class Call(enum.StrEnum):
    """The calls of the wire."""

    TOKEN = "token"
    REGISTER = "register"
    ACTIVATE = "activate"
    LIST = "list"
    REMOVE = "remove"
    INITIATE = "initiate"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request and its answer.

    Attributes:
        call: which of the calls.
        node: who was asked.
        application: whose token came with it.
        user: the user meant; of a validation, the one whose authenticator made the code.
        device_name: the device's name, where the request carried one.
        device: of an answered registration and of all that follows it, the activation's `authId`, which tells the
            device from others that had its name; of a validation, the device whose authenticator made the code.
        auth_id: the challenge; of a registration and an initiation the one that was answered.
        step: the time step that the code was made from; None where it was a guess, or there was none.
        sent_s: when it was sent, by a clock that only rises.
        answered_s: when the answer was complete, or the connection lost.
        status: the HTTP status; None where no answer came.
        code: the service's own code; of a request without an answer, why there was none.
        used: whether a refusal says that the code was already used.
        retry_after_s: the header, in seconds.
        trace_id: as sent.
        answered_trace_id: as answered.
        private: what the answer holds that is one user's alone, field by field.
        listed: of a list, name and status of each device.
    """

    call: Call
    node: str
    application: str
    user: str
    device_name: str = ""
    device: str = ""
    auth_id: str = ""
    step: int | None = None
    sent_s: float
    answered_s: float
    status: int | None
    code: str = ""
    used: bool = False
    retry_after_s: int | None = None
    trace_id: str = ""
    answered_trace_id: str = ""
    private: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    listed: tuple[tuple[str, str], ...] = ()

    @property
    def outcome(self) -> tuple[int | None, str]:
        """The status and the service's own code."""
        return self.status, self.code

    @property
    def is_unknown(self) -> bool:
        """Whether the answer leaves open what the request did."""
        return self.status is None or self.status >= 500

    @property
    def passed(self) -> bool:
        """Whether a code was accepted, or had been."""
        return self.status == 200 and self.call in (Call.ACTIVATE, Call.VALIDATE)

    @property
    def was_wrong(self) -> bool:
        """Whether the answer tells that a code is not the device's."""
        return self.outcome == (400, "10008") and not self.used


class Lost(enum.StrEnum):
    """Why a request has no answer."""

    CONNECTION = "connection lost"
    TIME = "no answer in time"


class Mark(enum.StrEnum):
    """What an entry of the ledger tells."""

    ACCEPTED = "accepted"
    CHARGED = "charged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change of one device's row, as the database committed it.

    Attributes:
        number: rises in the order in which the changes of one device were committed.
        device_id: the registry's own.
        step: the highest accepted time step after the change.
        auth_id: the challenge that its code came with.
        failures: wrong codes in a row after the change.
        locked_until_ms: no code counts before, by the database's clock.
        at_ms: when it happened, by the database's clock.
    """

    number: int
    device_id: str
    mark: Mark
    step: int
    auth_id: str
    failures: int
    locked_until_ms: int
    at_ms: int


@dataclass(slots=True)
class Fault:
    """A time in which 503 is an answer to be expected.

    Attributes:
        began_s: when the fault was made.
        ended_s: when the service had to be whole again.
        lost_nodes: nodes that may leave requests without an answer.
    """

    began_s: float
    ended_s: float = math.inf
    lost_nodes: frozenset[str] = frozenset()

    def covers(self, record: Record) -> bool:
        """Tell whether a request was under way while the fault lasted."""
        return record.answered_s >= self.began_s and record.sent_s <= self.ended_s


@dataclass(slots=True)
class History:
    """Everything that is known of a run."""

    records: list[Record] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ledger: Sequence[Entry] = ()

    def begin_fault(self, *lost_nodes: str) -> Fault:
        """Note that a fault is about to be made."""
        fault = Fault(time.monotonic(), lost_nodes=frozenset(lost_nodes))
        self.faults.append(fault)
        return fault

    def during(self, fault: Fault) -> list[Record]:
        """Return the requests that were under way while a fault lasted."""
        return [record for record in self.records if fault.covers(record)]

    def passes(self) -> list[Record]:
        """Return the requests whose code passed."""
        return [record for record in self.records if record.passed]

    def first_passes(self) -> list[Record]:
        """Return of each challenge and step the pass that was answered first; the others repeat it."""
        first: dict[tuple[str, int | None], Record] = {}
        for record in sorted(self.passes(), key=lambda record: record.answered_s):
            first.setdefault((record.auth_id, record.step), record)
        return list(first.values())

    def first_asked_s(self) -> dict[tuple[str, int | None], float]:
        """Return when each challenge and step was first asked for by a request that may have been accepted."""
        asked: dict[tuple[str, int | None], float] = {}
        for record in self.records:
            if record.passed or record.is_unknown:
                key = (record.auth_id, record.step)
                asked[key] = min(record.sent_s, asked.get(key, math.inf))
        return asked

    def openings(self) -> dict[str, Record]:
        """Return what opened each challenge, by `authId`."""
        calls = (Call.REGISTER, Call.INITIATE)
        return {record.auth_id: record for record in self.records if record.call in calls and record.auth_id}

    def accepted(self) -> list[Entry]:
        """Return the ledger's acceptances."""
        return [entry for entry in self.ledger if entry.mark is Mark.ACCEPTED]


def grouped(things: Iterable[Thing], key: Callable[[Thing], Key]) -> dict[Key, list[Thing]]:
    """Return things by what they have in common, each group in the order given."""
    groups: defaultdict[Key, list[Thing]] = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return dict(groups)
