"""The bytes that fuzzing begins with, and those that once broke something."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.fuzz import targets, token_targets

_HERE = Path(__file__).parent
SEEDS = _HERE / "seeds"
"""A folder for each target, whose files are what it takes and what it refuses."""
CRASHES = _HERE / "crashes"
"""A folder for each target, whose files made it fail."""
WORDS = _HERE / "words.txt"
"""What stands in such bytes, in the form of libFuzzer's dictionaries."""
LONGEST = 16_384
"""As long as a body may be."""

TARGETS: Mapping[str, targets.Target] = MappingProxyType(
    {**targets.TARGETS, "token": token_targets.token, "signed_token": token_targets.signed_token}
)


def known(name: str) -> Sequence[bytes]:
    """Return everything that is kept for a target, in an order of its own."""
    files = [file for folder in (SEEDS / name, CRASHES / name) if folder.is_dir() for file in sorted(folder.iterdir())]
    return [file.read_bytes() for file in files]


def mutants(name: str, count: int) -> Iterator[bytes]:
    """Give so many changed copies of what is kept for a target, the same each time."""
    source = random.Random(name)  # noqa: S311  nothing secret is made of it
    kept = known(name)
    for _ in range(count):
        octets = bytearray(source.choice(kept))
        for _ in range(source.randint(1, 4)):
            place = source.randint(0, len(octets))
            match source.randrange(5):
                case 0:
                    octets[place:place] = source.randbytes(source.randint(1, 4))
                case 1:
                    del octets[place : place + source.randint(1, 8)]
                case 2:
                    octets[place : place + 1] = source.randbytes(1)
                case 3:
                    octets[place:place] = source.choice(kept)
                case _:
                    octets[place:] *= source.choice((2, 2, 2, 500))
        yield bytes(octets[:LONGEST])
