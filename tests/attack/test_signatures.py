"""Signatures that are none: every one is refused, by every algorithm."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mfa_service.access.applications import ApplicationTable, new_application
from mfa_service.access.keysets import VerificationKey
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import AccessDenied
from mfa_service.model import SCOPE_ENROLL
from tests.attack.cases import attack
from tests.attack.forging import imported
from tests.clocks import ManualClock
from tests.unit.access.fakes import MemoryApplications

_FILE: Final[Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "jws" / "signatures.json").read_text(encoding="utf-8")
)


class OneKey:
    """A key set of one key."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def get(self, kid: str) -> VerificationKey | None:
        """Return the key where it is the one asked for."""
        return self._key if kid == self._key.kid else None

    async def find(self, kid: str) -> VerificationKey | None:
        """Return the same as `get`."""
        return self.get(kid)


async def verifier_with(jwk: Mapping[str, str]) -> JwtVerifier:
    """A verifier whose issuer has this one key, read by another library, and this file's one application."""
    public_key: Any = load_pem_public_key(imported(jwk).as_pem(private=False))
    clock, applications = ManualClock(_FILE["now_ms"]), MemoryApplications()
    application, _ = new_application(
        "vectors", frozenset({SCOPE_ENROLL}), clock=clock, random_bytes=bytes, client_id=_FILE["client_id"]
    )
    await applications.add(application)
    table = ApplicationTable(applications, clock=clock)
    await table.refresh()
    return JwtVerifier(
        keys=OneKey(VerificationKey(jwk["kid"], jwk["alg"], public_key)),
        applications=table,
        clock=clock,
        issuer=_FILE["issuer"],
        audience=_FILE["audience"],
        leeway_s=0,
    )


def vectors() -> Iterator[Any]:
    """Every vector: the key, the token, and whether its signature is good."""
    for group in _FILE["groups"]:
        for test in group["tests"]:
            token = f"{test.get('signed', group['signed'])}.{test['signature']}"
            yield pytest.param(group["jwk"], token, test["good"], id=f"{group['algorithm']}: {test['case']}")


@attack("J-20")
@pytest.mark.parametrize(("jwk", "token", "is_good"), list(vectors()))
async def test_a_signature_is_good_or_refused(jwk: Mapping[str, str], token: str, is_good: bool) -> None:  # noqa: FBT001
    verifier = await verifier_with(jwk)
    if is_good:
        assert (await verifier.verify(token)).scopes == {SCOPE_ENROLL}
    else:
        with pytest.raises(AccessDenied):
            await verifier.verify(token)
