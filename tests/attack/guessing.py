"""Wrong codes, until a device waits."""

from tests.api.authenticator import Authenticator
from tests.api.service import DEVICE, USER, Caller
from tests.attack.outcomes import INVALID, WAITS

FREE_FAILURES = 5
NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"


def most_attempts(caller: Caller) -> int:
    """How many wrong codes a challenge takes."""
    return caller.service.settings.challenge.max_attempts


async def made_to_wait(caller: Caller, phone: Authenticator, device: str = DEVICE, *, user: str = USER) -> None:
    """Give a device wrong codes, each on a challenge of its own, until it waits."""
    opened = [await caller.challenge(device, user=user) for _ in range(FREE_FAILURES)]
    for auth_id, code in zip(opened, phone.wrong_codes(FREE_FAILURES), strict=True):
        assert (await caller.validate(auth_id, code)).outcome == INVALID
    assert (await caller.initiate(device, user=user)).outcome == WAITS
