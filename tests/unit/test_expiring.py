"""Expiring records are what a dictionary of them would be, in the order of their deadlines."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.stores.expiring import ExpiringRecords

HEAD = struct.Struct("<16sdB")
BODY_BYTES = 18
RECORD_BYTES = HEAD.size + BODY_BYTES
TIMES_TO_LIVE_S = (5, 2)


def record(octets: bytes, deadline_s: float, time_to_live: int, body: bytes = b"") -> bytes:
    return HEAD.pack(octets, deadline_s, time_to_live) + body.ljust(BODY_BYTES, b"\0")


def kept(table: ExpiringRecords, octets: bytes) -> bytes | None:
    bucket, at = table.find(octets)
    return None if at < 0 else bucket[at : at + RECORD_BYTES]


# Few ids, of which most share a bucket, and bodies that hold such ids.
octets_of_ids = st.binary(min_size=1, max_size=3).map(lambda end: b"\0\1".ljust(16 - len(end), b"\0") + end)
ids = octets_of_ids | st.binary(min_size=16, max_size=16)
bodies = st.builds(lambda octets, at: (b"\0" * at + octets)[:BODY_BYTES], octets_of_ids, st.integers(0, 2))
actions = st.lists(
    st.tuples(st.sampled_from(["add 0", "add 1", "overwrite", "sweep"]), ids, bodies, st.integers(0, 2)), max_size=60
)


@given(actions)
def test_they_are_dictionaries_that_lose_what_expired_first(acts: list[tuple[str, bytes, bytes, int]]) -> None:
    table, now_s = ExpiringRecords(RECORD_BYTES), 0
    models: list[dict[bytes, bytes]] = [{}, {}]
    assert [table.number_of(ttl_s) for ttl_s in TIMES_TO_LIVE_S] == [0, 1]
    for act, octets, body, passed_s in acts:
        now_s += passed_s
        model = next((one for one in models if octets in one), None)
        if act.startswith("add") and model is None:
            number = table.number_of(TIMES_TO_LIVE_S[int(act[-1])])
            models[number][octets] = record(octets, now_s + TIMES_TO_LIVE_S[number], number, body)
            table.add(models[number][octets])
        elif act == "overwrite" and model is not None:
            model[octets] = model[octets][: HEAD.size] + body + model[octets][HEAD.size + len(body) :]
            bucket, at = table.find(octets)
            table.overwrite(bucket, at + HEAD.size, body)
        elif act == "sweep":
            expired = [(one, octets) for one in models for octets in one if HEAD.unpack_from(one[octets])[1] <= now_s][
                :2
            ]
            assert table.sweep(now_s, 2) == len(expired)
            for one, swept in expired:
                del one[swept]
        assert kept(table, octets) == {**models[0], **models[1]}.get(octets)
    for one in models:
        assert {octets: kept(table, octets) for octets in one} == one


def test_an_id_within_another_record_is_none() -> None:
    table = ExpiringRecords(RECORD_BYTES)
    number = table.number_of(300)
    octets = bytes(range(16))
    holder = record(octets[:2] + b"\xff" * 14, 1.0, number, octets)
    table.add(holder)
    assert kept(table, octets) is None
    table.add(record(octets, 2.0, number))
    assert (kept(table, octets), kept(table, holder[:16])) == (record(octets, 2.0, number), holder)


def test_there_are_as_many_times_to_live_as_a_record_can_name() -> None:
    table = ExpiringRecords(RECORD_BYTES)
    assert [table.number_of(ttl_s) for ttl_s in range(1, 257)] == list(range(256))
    for ttl_s in (257, 258):
        with pytest.raises(ValueError, match="256"):
            table.number_of(ttl_s)
    assert table.number_of(256) == 255
