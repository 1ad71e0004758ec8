"""Whom an access token stands for: a signed JWT (RFC 9068 §4), checked once and remembered for a while."""

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import jwt

from mfa_service.access.applications import ApplicationTable
from mfa_service.access.keysets import KeySet, VerificationKey
from mfa_service.access.profiles import RFC_9068, TokenProfile
from mfa_service.errors import AccessDenied, ApplicationNotFound, TokenExpired
from mfa_service.model import Application, Principal
from mfa_service.ports import Clock

MAX_LEEWAY_S: Final = 30
MAX_TOKEN_CHARACTERS: Final = 8_192

_REMEMBERED: Final = 20_000  # verdicts; 19 MiB when full
_REMEMBERED_S: Final = 60.0
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)  # RFC 7515 §7.1
_LATEST_S: Final = 2**40  # of any time claim; farther off, a float has no milliseconds left
_OPTIONS: Final[Any] = {
    "enforce_minimum_key_length": True,
    # Checked here instead: PyJWT takes the time from this machine's clock.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


@dataclass(slots=True)
class _Verdict:
    """What a token that was verified says.

    Attributes:
        key: what verified it.
        client_id: whom it is for.
        scopes: what it allows.
        issued_at_ms: when it was issued, by the issuer's clock.
        expires_at_ms: when it is no longer good, by the wall clock, with the leeway.
        forget_at_s: when it must be verified again, by the monotonic clock.
        application: the onboarded application that `principal` was made with.
        principal: whom the token stands for.
    """

    key: VerificationKey
    client_id: str
    scopes: frozenset[str]
    issued_at_ms: int
    expires_at_ms: int
    forget_at_s: float
    application: Application | None = field(default=None, repr=False)
    principal: Principal | None = None


class JwtVerifier:
    """Verifies access tokens of one issuer (`TokenVerifier`).

    A verdict is remembered under the token's SHA-256 for at most a minute, while its key is in the set; expiry and the
    application are looked at on every call.

    Args:
        keys: the issuer's keys.
        applications: who is onboarded.
        clock: the time.
        issuer: the one `iss` taken.
        audience: what `aud` must name.
        leeway_s: how far the issuer's clock may be off, 0 to 30 seconds.
        profile: how the issuer writes its tokens.
    """

    def __init__(
        self,
        *,
        keys: KeySet,
        applications: ApplicationTable,
        clock: Clock,
        issuer: str,
        audience: str,
        leeway_s: int,
        profile: TokenProfile = RFC_9068,
    ) -> None:
        if not 0 <= leeway_s <= MAX_LEEWAY_S:
            raise ValueError(f"the leeway is 0 to {MAX_LEEWAY_S} s")
        if not issuer or not audience:
            raise ValueError("issuer and audience are needed")
        self._keys = keys
        self._applications = applications
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._profile = profile
        self._options: Any = {**_OPTIONS, "require": list(profile.required)}
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()  # the oldest first

    async def verify(self, token: str) -> Principal:
        """Return whom an access token stands for, now.

        Args:
            token: the credentials after `Bearer` (RFC 6750 §2.1), any text.

        Raises:
            TokenExpired: it was good and has expired.
            AccessDenied: it is not a token for this service, or its application is unknown or disabled.
            StoreUnavailable: the applications or keys are needed afresh and out of reach.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise AccessDenied(presented=True)
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        verdict = self._verdicts.get(digest)
        if (
            verdict is None
            or self._keys.get(verdict.key.kid) is not verdict.key
            or self._clock.monotonic_s() >= verdict.forget_at_s
        ):
            self._verdicts.pop(digest, None)
            verdict = await self._verified(token)
            self._remember(digest, verdict)
        try:
            application = await self._applications.find(verdict.client_id)
        except ApplicationNotFound:
            raise AccessDenied(presented=True) from None
        principal = verdict.principal
        if principal is None or verdict.application is not application:
            principal = self._principal(verdict, application)
        if self._clock.now_ms() >= verdict.expires_at_ms:
            raise TokenExpired
        return principal

    def _principal(self, verdict: _Verdict, application: Application) -> Principal:
        """Return whom a token stands for, and remember that for as long as the application stays as it is."""
        created_at_ms = application.created_at_ms // 1000 * 1000  # issuers tell whole seconds
        if application.disabled or verdict.issued_at_ms + self._leeway_s * 1000 < created_at_ms:
            raise AccessDenied(presented=True)  # a token of an earlier application of the same client id is not its own
        principal = Principal(application.id, application.client_id, verdict.scopes & application.scopes)
        verdict.application, verdict.client_id, verdict.principal = application, application.client_id, principal
        return principal

    def _remember(self, digest: bytes, verdict: _Verdict) -> None:
        self._verdicts[digest] = verdict
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)

    async def _verified(self, token: str) -> _Verdict:
        """Return what a token says if it is one of the issuer's for this service, expired or not."""
        if not _COMPACT.fullmatch(token):
            raise AccessDenied(presented=True)
        try:
            key = await self._key_for(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key.public_key,
                algorithms=[key.algorithm],
                options=self._options,
                audience=self._audience,
                issuer=self._issuer,
            )
        except jwt.PyJWTError:
            raise AccessDenied(presented=True) from None
        client_id, scopes = self._profile.client_id(claims), self._profile.scopes(claims)
        self._refuse_premature(claims)
        return _Verdict(
            key=key,
            client_id=client_id,
            scopes=scopes,
            issued_at_ms=_moment_ms(claims["iat"]),
            expires_at_ms=_moment_ms(claims["exp"]) + self._leeway_s * 1000,
            forget_at_s=self._clock.monotonic_s() + _REMEMBERED_S,
        )

    async def _key_for(self, header: dict[str, Any]) -> VerificationKey:
        """Return the key that a token's header names, where it claims no more than any token here may."""
        kid = header.get("kid")
        if not isinstance(kid, str) or not self._profile.takes_type(header.get("typ")):
            raise AccessDenied(presented=True)
        if "crit" in header or "b64" in header:  # RFC 7515 §4.1.11: no extension is understood here
            raise AccessDenied(presented=True)
        key = await self._keys.find(kid)
        if key is None:
            raise AccessDenied(presented=True)
        return key

    def _refuse_premature(self, claims: dict[str, Any]) -> None:
        latest_ms = self._clock.now_ms() + self._leeway_s * 1000
        if _moment_ms(claims["iat"]) > latest_ms or _moment_ms(claims.get("nbf", 0)) > latest_ms:
            raise AccessDenied(presented=True)


def _moment_ms(claim: object) -> int:
    """Return a NumericDate (RFC 7519 §2) in milliseconds.

    Raises:
        AccessDenied: it is none, or from another age.
    """
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not 0 <= claim <= _LATEST_S:
        raise AccessDenied(presented=True)
    return int(claim * 1000)
