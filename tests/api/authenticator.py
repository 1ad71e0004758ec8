"""A virtual authenticator: what a user's telephone does with a registration URI, by another implementation."""

import pyotp

from mfa_service.ports import Clock

_WINDOW = range(-3, 4)  # every code that could count under any setting, and one more on either side


class Authenticator:
    """Shows the codes of one device.

    Args:
        registration_uri: as the service gave it.
        clock: its time.
    """

    def __init__(self, registration_uri: str, clock: Clock) -> None:
        totp = pyotp.parse_uri(registration_uri)
        assert isinstance(totp, pyotp.TOTP)
        self.totp = totp
        self._clock = clock

    def code(self, *, steps: int = 0) -> str:
        """The code of the present time step, or of one so many steps after it."""
        return self.totp.at(self._clock.now_ms() // 1000, counter_offset=steps)

    def wrong_codes(self, count: int) -> list[str]:
        """So many codes, each another one, that are right at no time near the present."""
        right = {self.code(steps=steps) for steps in _WINDOW}
        codes = (str(number).zfill(self.totp.digits) for number in range(count + len(right)))
        return [code for code in codes if code not in right][:count]

    def wrong_code(self) -> str:
        """A code that is right at no time near the present."""
        return self.wrong_codes(1)[0]
