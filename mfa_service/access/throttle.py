"""How often a client id may come with a wrong secret before that is answered with a pause."""

import math
from array import array
from typing import Final

from mfa_service.errors import QuotaExceeded
from mfa_service.ports import Clock

_MOST: Final = 10
_WITHIN_S: Final = 60.0
_APART_S: Final = _WITHIN_S / _MOST
_PLACES: Final = 4096


class WrongSecrets:
    """Counts wrong secrets by client id, known or not, by the generic cell rate algorithm (ITU-T I.371).

    Each worker counts for itself, in a table of one size: ids that nobody onboarded take no memory. Ids that share a
    place share their count, which costs them nothing but the kind of refusal, as no right secret is looked up here.

    Args:
        clock: the time between wrong secrets.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # When the place would be empty again; the hash is another one in each process, so no place can be aimed at.
        self._empty_at_s = array("d", bytes(8 * _PLACES))

    def count(self, client_id: str) -> None:
        """Count one wrong secret.

        Raises:
            QuotaExceeded: ten came within the last minute or so; this one was not counted.
        """
        place = hash(client_id) % _PLACES
        now_s = self._clock.monotonic_s()
        empty_at_s = max(self._empty_at_s[place], now_s)
        early_s = empty_at_s - now_s - (_WITHIN_S - _APART_S)
        if early_s > 0:
            raise QuotaExceeded(math.ceil(early_s))
        self._empty_at_s[place] = empty_at_s + _APART_S
