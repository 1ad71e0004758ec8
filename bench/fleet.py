"""Devices whose secrets are known, so that their right codes are: made from numbers, the same ones in every run."""

import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from mfa_service.model import TotpParameters
from mfa_service.otp import totp

DEVICE_NAME = "phone"
PARAMETERS = TotpParameters()


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device, its user and its secret."""

    id: str
    user_name: str
    secret: bytes = field(repr=False)


def device(number: int) -> KnownDevice:
    """Return the device of a number; ids follow no order, as real ones."""
    digest = hashlib.sha512(b"bench %d" % number).digest()
    return KnownDevice(digest[:16].hex(), f"user-{number:07d}", digest[16:36])


def block(devices: int, size: int, number: int) -> Sequence[KnownDevice]:
    """Return some of the devices, evenly over all of them, in no order; the next number gives others, while there are.

    Args:
        devices: how many there are.
        size: how many are wanted, at most that.
        number: of the block, from 0 on.
    """
    apart = devices // size
    chosen = [number % apart + place * apart for place in range(size)]
    random.Random(number).shuffle(chosen)  # noqa: S311  an order, no secret
    return [device(one) for one in chosen]


def right_code(one: KnownDevice, now_ms: int) -> str:
    """Return the code of the step after the present one: by a window of one step it counts for a minute and longer."""
    return totp.code_at(one.secret, PARAMETERS, _step(now_ms) + 1)


def wrong_code(one: KnownDevice, now_ms: int) -> str:
    """Return a code that is none of the device's within a minute."""
    right = {totp.code_at(one.secret, PARAMETERS, step) for step in range(_step(now_ms) - 1, _step(now_ms) + 4)}
    return next(code for code in (f"{number:06d}" for number in itertools.count()) if code not in right)


def _step(now_ms: int) -> int:
    return totp.step_at(now_ms, PARAMETERS.period_s)
