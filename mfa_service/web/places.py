"""Places for requests under way, and how many of them may be one holder's."""

from mfa_service.web.refusals import Overloaded


class Places:
    """Places for requests under way.

    Whoever finds none is refused, so that nobody waits behind more requests than can be answered before their
    deadlines.

    Args:
        count: how many there are.
        of_one: how many of them one holder may have.
    """

    def __init__(self, count: int, *, of_one: int) -> None:
        self._free = count
        self._most = of_one
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
