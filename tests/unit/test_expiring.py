"""Expiring records are what a dictionary of them would be, in the order of their deadlines."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from mfa_service.stores.expiring import ExpiringRecords

HEAD = struct.Struct("<16sd")
BODY_BYTES = 18
RECORD_BYTES = HEAD.size + BODY_BYTES


def record(octets: bytes, deadline_s: float, body: bytes = b"") -> bytes:
    return HEAD.pack(octets, deadline_s) + body.ljust(BODY_BYTES, b"\0")


# Few ids, of which most share a bucket, and bodies that hold such ids.
octets_of_ids = st.binary(min_size=1, max_size=3).map(lambda end: b"\0\1".ljust(16 - len(end), b"\0") + end)
ids = octets_of_ids | st.binary(min_size=16, max_size=16)
bodies = st.builds(lambda octets, at: (b"\0" * at + octets)[:BODY_BYTES], octets_of_ids, st.integers(0, 2))
actions = st.lists(st.tuples(st.sampled_from(["add", "replace", "sweep"]), ids, bodies, st.integers(0, 3)), max_size=60)


@given(actions)
def test_they_are_a_dictionary_that_loses_what_expired_first(acts: list[tuple[str, bytes, bytes, int]]) -> None:
    table, model, now_s = ExpiringRecords(RECORD_BYTES), dict[bytes, bytes](), 0
    for act, octets, body, passed_s in acts:
        now_s += passed_s
        kept = model.get(octets)
        if act == "add" and kept is None:
            model[octets] = record(octets, now_s + 5, body)
            table.add(model[octets])
        elif act == "replace" and kept is not None:
            model[octets] = kept[: HEAD.size] + record(octets, 0, body)[HEAD.size :]
            table.replace(model[octets])
        elif act == "sweep":
            oldest = next(iter(model), None)
            expired = oldest is not None and HEAD.unpack_from(model[oldest])[1] <= now_s
            assert table.sweep(now_s) is expired
            if oldest is not None and expired:
                del model[oldest]
        assert table.get(octets) == model.get(octets)
    assert {octets: table.get(octets) for octets in model} == model


def test_an_id_within_another_record_is_none() -> None:
    table = ExpiringRecords(RECORD_BYTES)
    octets = bytes(range(16))
    holder = record(octets[:2] + b"\xff" * 14, 1.0, octets)
    table.add(holder)
    assert table.get(octets) is None
    table.add(record(octets, 2.0))
    table.replace(record(octets, 2.0, b"changed"))
    assert (table.get(octets), table.get(holder[:16])) == (record(octets, 2.0, b"changed"), holder)
