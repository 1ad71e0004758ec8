"""How many requests a worker works on at once, and how many of those may be one application's."""

from typing import Final

from mfa_service.web.refusals import Overloaded

_KEPT_PART: Final = 4  # one in so many places is out of any one holder's reach


class Places:
    """Places for requests under way.

    Whoever finds none is refused at once, so that nobody waits behind more requests than can be answered before their
    deadlines. No holder gets the last quarter of the places: others find some, however much one of them asks.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._most = count - count // _KEPT_PART
        self._taken: dict[str | None, int] = {}

    def take(self, holder: str | None) -> None:
        """Take a place, until `leave`.

        Args:
            holder: the application that asks; None for all who have not proved to be one.

        Raises:
            Overloaded: there is no place, or none for this holder.
        """
        taken = self._taken.get(holder, 0)
        if not self._free or taken >= self._most:
            raise Overloaded
        self._free -= 1
        self._taken[holder] = taken + 1

    def leave(self, holder: str | None) -> None:
        """Give a place back.

        Args:
            holder: as it was taken.
        """
        self._free += 1
        taken = self._taken[holder]
        if taken == 1:
            del self._taken[holder]  # so that only those who are here are remembered
        else:
            self._taken[holder] = taken - 1
