"""Records of one size that are kept equally long, in little more memory than their octets take."""

from struct import Struct
from typing import Final

ID_BYTES: Final = 16
_DEADLINE: Final = Struct("<d")
_BUCKET_NUMBER_BYTES: Final = 2
_BUCKETS: Final = 1 << 8 * _BUCKET_NUMBER_BYTES

_unpack_deadline = _DEADLINE.unpack_from


class ExpiringRecords:
    """A hash table of records, and the order in which they expire.

    A dictionary of objects takes three times as much. Here a bucket is one object: its records one behind the other, in
    the order in which they came. So the one that expires next is the first in the first bucket of the order.

    Args:
        record_bytes: the size of each: a random id of 16 octets, the deadline as a little-endian double, in the rising
            seconds of whoever keeps it, and what else there is to keep.
    """

    def __init__(self, record_bytes: int) -> None:
        self._record_bytes = record_bytes
        self._buckets = [b""] * _BUCKETS
        self._order = bytearray()  # for each record the number of its bucket, which is how its id begins

    def add(self, record: bytes) -> None:
        """Keep a record whose id is not there, and whose deadline is none before those of the others."""
        self._buckets[record[0] << 8 | record[1]] += record
        self._order += record[:_BUCKET_NUMBER_BYTES]

    def get(self, octets: bytes) -> bytes | None:
        """Return the record of an id, whether it has expired or not; None: it is not kept."""
        bucket = self._buckets[octets[0] << 8 | octets[1]]
        at = self._find(bucket, octets)
        return None if at < 0 else bucket[at : at + self._record_bytes]

    def replace(self, record: bytes) -> None:
        """Put a record in the place of the one of the same id and deadline, which is kept."""
        number = record[0] << 8 | record[1]
        bucket = self._buckets[number]
        at = self._find(bucket, record[:ID_BYTES])
        self._buckets[number] = bucket[:at] + record + bucket[at + self._record_bytes :]

    def sweep(self, now_s: float) -> bool:
        """Clear away the record that expires next, if it has expired; tell whether it had."""
        order = self._order
        if not order:
            return False
        number = order[0] << 8 | order[1]
        bucket = self._buckets[number]
        if _unpack_deadline(bucket, ID_BYTES)[0] > now_s:
            return False
        self._buckets[number] = bucket[self._record_bytes :]
        del order[:_BUCKET_NUMBER_BYTES]
        return True

    def _find(self, bucket: bytes, octets: bytes) -> int:
        """Return where the record of an id begins, or -1."""
        at = bucket.find(octets)
        while at > 0 and at % self._record_bytes:  # the same octets by chance, or by somebody's will, but no id
            at = bucket.find(octets, at + 1)
        return at
