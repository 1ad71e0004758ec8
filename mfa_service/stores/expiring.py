"""Records of one size that are kept for a time, in little more memory than their octets take."""

from struct import Struct
from typing import Final

ID_BYTES: Final = 16
_DEADLINE: Final = Struct("<d")
_TIME_TO_LIVE_AT: Final = ID_BYTES + _DEADLINE.size
_TIMES_TO_LIVE: Final = 256  # a record names its own in one octet
_BUCKET_NUMBER_BYTES: Final = 2
_BUCKETS: Final = 1 << 8 * _BUCKET_NUMBER_BYTES

_unpack_deadline = _DEADLINE.unpack_from


class ExpiringRecords:
    """A hash table of records, and the orders in which they expire.

    A dictionary of objects takes three times as much. Here a bucket is one object: its records one behind the other, in
    the order in which they came. So of those that live equally long, the one that expires next is the first of them in
    the first bucket of their order.

    Args:
        record_bytes: the size of each: its random id of 16 octets; its deadline as a little-endian double, in the
            rising seconds of whoever keeps it; the number of its time to live; and what else there is to keep.
    """

    def __init__(self, record_bytes: int) -> None:
        self._record_bytes = record_bytes
        self._buckets = [b""] * _BUCKETS
        self._numbers: dict[float, int] = {}
        self._orders: list[bytearray] = []  # for each record the number of its bucket, which is how its id begins

    def number_of(self, ttl_s: float) -> int:
        """Return the number of a time to live.

        Raises:
            ValueError: there are 256 others.
        """
        number = self._numbers.get(ttl_s)
        if number is None:
            if len(self._orders) >= _TIMES_TO_LIVE:
                raise ValueError(f"there are no more than {_TIMES_TO_LIVE} times to live")
            number = self._numbers[ttl_s] = len(self._orders)
            self._orders.append(bytearray())
        return number

    def add(self, record: bytes) -> None:
        """Keep a record whose id is not there, and whose deadline is none before those of others that live as long."""
        self._buckets[record[0] << 8 | record[1]] += record
        self._orders[record[_TIME_TO_LIVE_AT]] += record[:_BUCKET_NUMBER_BYTES]

    def find(self, octets: bytes) -> tuple[bytes, int]:
        """Return what holds the record of an id, expired or not, and where that begins in it: at -1 if it is not kept.

        Args:
            octets: the id.
        """
        bucket = self._buckets[octets[0] << 8 | octets[1]]
        at, size = bucket.find(octets), self._record_bytes
        while at % size and at > 0:  # the same octets by chance, or by somebody's will, but no id
            at = bucket.find(octets, at + 1)
        return bucket, at

    def overwrite(self, bucket: bytes, at: int, octets: bytes) -> None:
        """Change some of a record's octets behind its time to live.

        Args:
            bucket: as `find` returned it, before anything else was changed.
            at: where in it they begin.
            octets: what is to stand there.
        """
        self._buckets[bucket[0] << 8 | bucket[1]] = bucket[:at] + octets + bucket[at + len(octets) :]

    def sweep(self, now_s: float, most: int) -> int:
        """Clear away so many expired records at most, and return how many it were."""
        swept = 0
        for number, order in enumerate(self._orders):
            while swept < most and order and self._sweep_first(number, order, now_s):
                swept += 1
        return swept

    def _sweep_first(self, number: int, order: bytearray, now_s: float) -> bool:
        """Clear away the record that expires next of those that live equally long, if it has expired."""
        place, size = order[0] << 8 | order[1], self._record_bytes
        bucket = self._buckets[place]
        at = 0
        while bucket[at + _TIME_TO_LIVE_AT] != number:
            at += size
        if _unpack_deadline(bucket, at + ID_BYTES)[0] > now_s:
            return False
        self._buckets[place] = bucket[:at] + bucket[at + size :]
        del order[:_BUCKET_NUMBER_BYTES]
        return True
