"""What the key set of another issuer needs from outside: documents by their URLs."""

from dataclasses import dataclass, field
from typing import Protocol


class Unusable(Exception):
    """An issuer, or a document of its, cannot be used.

    Args:
        reason: why not, in words that anyone may read.
        details: what the log adds to them.
    """

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.details = details


@dataclass(frozen=True, slots=True)
class Document:
    """What was at a URL.

    Attributes:
        content: its bytes, of bounded number.
        max_age_s: for how many seconds its sender calls it fresh (RFC 9111 §5.2.2.1); None where it does not say.
    """

    content: bytes = field(repr=False)
    max_age_s: int | None = None


class Fetch(Protocol):
    """Gets documents."""

    async def __call__(self, url: str) -> Document:
        """Return what is at a URL that `addresses` lets pass, in bounded time.

        Raises:
            Unusable: nothing came, or too late, or too much, or only a way to another host.
        """
        ...
