"""The keys of another issuer, kept fresh in the background."""

import asyncio
import contextvars
import math
import re
from typing import Final

import structlog

from mfa_service.access.keysets import VerificationKey
from mfa_service.access.outside.discovery import find_keys_url
from mfa_service.access.outside.documents import Fetch, Unusable
from mfa_service.access.outside.jwks import MAX_KID_CHARACTERS, read_keys
from mfa_service.errors import StoreUnavailable
from mfa_service.ports import Clock

MAX_AGE_S: Final = 280.0
"""For how many seconds keys are fresh at most; with a look in time, a removed key is out within five minutes."""

_MIN_AGE_S: Final = 60.0
_COOL_DOWN_S: Final = 30.0  # between two looks, whoever asks for them
_FIRST_PAUSE_S: Final = 5.0  # the same before the first that succeeds
_PATIENCE_S: Final = 2.0  # of whoever waits for a look
_METADATA_AGE_S: Final = 3_600.0
_KID: Final = re.compile(rf"[!-~]{{1,{MAX_KID_CHARACTERS}}}", re.ASCII)
_log = structlog.get_logger(__name__)


class IssuerKeys:
    """The key set of another issuer (`KeySet`).

    A process calls `refresh` each second; most of those calls find that the keys are fresh. A key id that is not known
    makes it look at once, all requests that ask for one meanwhile wait for the same look, and none is begun within the
    cool-down of the last. Where the issuer fails, what it last published goes on to count, and a key id that is not
    known is refused without a wait. To publish no key that verifies tokens is to fail.

    Args:
        issuer: its identifier, an `https` URL.
        fetch: gets its documents.
        clock: tells how old the keys are.
        rsa_algorithm: what an RSA key verifies that names no algorithm.
    """

    def __init__(self, issuer: str, *, fetch: Fetch, clock: Clock, rsa_algorithm: str = "RS256") -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._rsa_algorithm = rsa_algorithm
        self._keys: dict[str, VerificationKey] = {}
        self._ignored: dict[str, int] = {}
        self._trouble: str | None = None
        self._keys_url: str | None = None
        self._found_at_s = -math.inf
        self._began_at_s = -math.inf
        self._due_at_s = -math.inf
        self._look: asyncio.Task[None] | None = None

    @property
    def obstacle(self) -> str | None:
        """Why no token can be verified, in words that anyone may read; None where some can."""
        return None if self._keys else self._trouble or "starting"

    def get(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, as far as known now; the same object until the issuer changes or removes it."""
        return self._keys.get(kid)

    async def find(self, kid: str) -> VerificationKey | None:
        """Return a key by its id, after a look at the issuer where it is not known and the cool-down allows it.

        Raises:
            StoreUnavailable: the issuer's keys have never been read.
        """
        key = self._keys.get(kid)
        if key is not None:
            return key
        if not self._keys:
            raise StoreUnavailable("the keys of the issuer have not been read yet")
        if self._trouble is None and _KID.fullmatch(kid):  # no other text is a key id: not worth a look
            if self._look is None and self._clock.monotonic_s() - self._began_at_s >= _COOL_DOWN_S:
                self._begin()
            await self._wait()
            if kid not in self._keys:  # the keys may have moved: the next look asks where they are
                self._keys_url = None
        return self._keys.get(kid)

    async def start(self) -> None:
        """Read the keys for the first time, and wait for that a moment; whatever becomes of it, `refresh` goes on."""
        self._begin()
        await self._wait()

    async def refresh(self) -> None:
        """Read the keys again where that is due; nothing is raised where the issuer fails."""
        if self._look is None and self._clock.monotonic_s() >= self._due_at_s:
            self._begin()
        if self._look is not None:
            await asyncio.wait({self._look})

    async def close(self) -> None:
        """Give up a look under way."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})

    def _begin(self) -> None:
        # An empty context: a look is no request's, and must not log under the trace id of one.
        self._look = asyncio.get_running_loop().create_task(self._read(), context=contextvars.Context())

    async def _wait(self) -> None:
        """Wait a moment for the look under way, which goes on by itself."""
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=_PATIENCE_S)

    async def _read(self) -> None:
        self._began_at_s = began_at_s = self._clock.monotonic_s()
        self._due_at_s = began_at_s + (_COOL_DOWN_S if self._keys else _FIRST_PAUSE_S)
        try:
            age_s = await self._read_keys(began_at_s)
        except Unusable as reason:
            self._keys_url = None
            self._tell(reason)
        except Exception as error:  # noqa: BLE001  a defect here must not leave a node that waits for ever
            self._keys_url = None
            self._tell(Unusable("a defect in reading it", fault=type(error).__name__))
        else:
            self._due_at_s = began_at_s + age_s
            self._tell(None)
        finally:
            self._look = None

    async def _read_keys(self, now_s: float) -> float:
        """Read the keys, and return for how many seconds they are fresh."""
        if self._keys_url is None or now_s - self._found_at_s >= _METADATA_AGE_S:
            self._keys_url = await find_keys_url(self._issuer, self._fetch)
            self._found_at_s = now_s
        document = await self._fetch(self._keys_url)
        found = read_keys(document.content, rsa_algorithm=self._rsa_algorithm)
        if not found.keys:  # more often an issuer gone wrong than one without applications
            raise Unusable("publishes no key that verifies tokens", ignored=dict(found.ignored))
        # An equal key stays the same object: what was verified with it stays verified.
        keys = {kid: self._keys[kid] if self._keys.get(kid) == key else key for kid, key in found.keys.items()}
        ignored = dict(found.ignored)
        if keys != self._keys or ignored != self._ignored:
            _log.info("issuer_keys_changed", keys=len(keys), ignored=ignored)
        self._keys, self._ignored = keys, ignored
        return MAX_AGE_S if document.max_age_s is None else min(max(document.max_age_s, _MIN_AGE_S), MAX_AGE_S)

    def _tell(self, refusal: Unusable | None) -> None:
        """Note what keeps the issuer from being read, and log it where it is another than before."""
        trouble = None if refusal is None else str(refusal)
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if refusal is None:
            _log.info("issuer_answers_again")
        else:
            _log.warning("issuer_unusable", reason=trouble, known_keys=len(self._keys), **refusal.details)
