"""`SigningKeys`: how keys are named and shown, and which one signs."""

import base64
import json
import os
from dataclasses import replace
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import KeySet

from mfa_service.access.keysets import SigningKeys, establish_signing_key, new_signing_key
from mfa_service.errors import StoreUnavailable, UnsealFailed
from mfa_service.model import KeyPurpose
from mfa_service.sealing import KeyMaterial, Keyring, establish
from tests.clocks import ManualClock
from tests.unit.access.conftest import Access
from tests.unit.access.fakes import MemoryKeys, root_key

PUBLIC_MEMBERS = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}
_PKCS8 = Encoding.DER, PrivateFormat.PKCS8
NO_KEYS = {
    "nothing": b"",
    "junk": bytes(32),
    "for another algorithm": new_signing_key("RS256").octets,
    "on another curve": generate_private_key(SECP384R1()).private_bytes(*_PKCS8, NoEncryption()),
    "for no signatures": X25519PrivateKey.generate().private_bytes(*_PKCS8, NoEncryption()),
    "encrypted": generate_private_key(SECP384R1()).private_bytes(*_PKCS8, BestAvailableEncryption(b"password")),
}


def jwks(signing: SigningKeys) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", signing.jwks()["keys"])


async def new_keyring(keys: MemoryKeys, clock: ManualClock) -> Keyring:
    return await establish(keys, root_key(), clock=clock, random_bytes=os.urandom)


async def rotate(access: Access, material: KeyMaterial, *, active_from_ms: int = 0) -> None:
    await access.keyring.add(KeyPurpose.SIGNING, material, generation=2, active_from_ms=active_from_ms)
    await access.keyring.refresh()


@pytest.mark.parametrize(
    ("algorithm", "kty", "bits"), [("RS256", "RSA", 2048), ("ES256", "EC", 256), ("EdDSA", "OKP", 256)]
)
async def test_a_first_key_is_shown_by_its_public_members_alone(algorithm: str, kty: str, bits: int) -> None:
    clock = ManualClock()
    keyring = await new_keyring(MemoryKeys(), clock)
    await establish_signing_key(keyring, algorithm)
    signing = SigningKeys(keyring, clock=clock)
    (shown,) = jwks(signing)
    assert shown.keys() == {"kty", "kid", "alg", "use"} | PUBLIC_MEMBERS[kty]
    assert (shown["kty"], shown["alg"], shown["use"]) == (kty, algorithm, "sig")
    assert len(base64.urlsafe_b64decode(shown["n" if kty == "RSA" else "x"] + "==")) * 8 == bits
    assert shown["kid"] == signing.signing_key().verification.kid
    assert signing.signing_key().verification.algorithm == algorithm


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_key_id_is_the_thumbprint_that_another_library_computes(algorithm: str) -> None:
    material = new_signing_key(algorithm)
    (key,) = KeySet.import_key_set({"keys": [json.loads(material.public_jwk)]}).keys
    assert key.thumbprint() == material.id


def test_another_algorithm_makes_no_key() -> None:
    with pytest.raises(ValueError, match="HS256"):
        new_signing_key("HS256")


async def test_the_first_key_is_kept_whatever_algorithm_is_asked_for_later() -> None:
    clock = ManualClock()
    keys = MemoryKeys()
    first = await new_keyring(keys, clock)
    await establish_signing_key(first, "ES256")
    second = await new_keyring(keys, clock)
    await establish_signing_key(second, "EdDSA")
    assert jwks(SigningKeys(second, clock=clock)) == jwks(SigningKeys(first, clock=clock))


async def test_nobody_finds_a_private_key_in_the_registry(access: Access) -> None:
    for record in access.keys.records.values():
        assert access.material.octets not in record.sealed
        assert access.material.octets[-32:] not in record.sealed
        assert '"d"' not in record.public_jwk


async def test_no_repr_shows_a_private_key(access: Access) -> None:
    private_key = access.signing.signing_key().private_key
    assert isinstance(private_key, RSAPrivateKey)
    shown = repr([access.signing.signing_key(), access.signing, access.material, access.keyring.signing_keys])
    assert "private_key" not in shown
    assert repr(access.material.octets)[2:20] not in shown
    assert str(private_key.private_numbers().d) not in shown


async def test_a_key_whose_time_has_not_come_is_shown_and_verifies_but_does_not_sign(access: Access) -> None:
    old = access.signing.signing_key().verification.kid
    new = new_signing_key("ES256")
    await rotate(access, new, active_from_ms=access.clock.now_ms() + 2000)
    assert [key["kid"] for key in jwks(access.signing)] == [old, new.id]
    assert access.signing.get(new.id) is not None
    assert access.signing.signing_key().verification.kid == old
    access.clock.advance(2)
    assert access.signing.signing_key().verification.kid == new.id


async def test_a_token_of_the_old_key_is_good_after_a_rotation_to_another_algorithm(access: Access) -> None:
    old_token = await access.token()
    await rotate(access, new_signing_key("EdDSA"))
    new_token = await access.token()
    assert jwt.get_unverified_header(old_token)["alg"] == "RS256"
    assert jwt.get_unverified_header(new_token)["alg"] == "EdDSA"
    assert await access.verifier.verify(old_token) == await access.verifier.verify(new_token)


async def test_a_key_stays_the_same_object_while_others_come(access: Access) -> None:
    key = access.signing.get(access.material.id)
    await rotate(access, new_signing_key("ES256"))
    assert access.signing.get(access.material.id) is key


async def test_an_unknown_thumbprint_is_looked_for_once_a_second(access: Access) -> None:
    reads = access.keys.reads
    for _ in range(50):
        assert await access.signing.find("A" * 43) is None
    assert access.keys.reads == reads + 1


@pytest.mark.parametrize("kid", ["", "../../etc/passwd", "' OR 1", "https://evil.example/key", "A" * 10_240, "\0", "é"])
async def test_what_is_no_thumbprint_is_not_looked_for(access: Access, kid: str) -> None:
    reads = access.keys.reads
    assert await access.signing.find(kid) is None
    assert access.keys.reads == reads


async def test_a_key_of_another_worker_is_found_at_once(access: Access) -> None:
    new = new_signing_key("ES256")
    await access.keyring.add(KeyPurpose.SIGNING, new, generation=2)
    found = await access.signing.find(new.id)
    assert found is not None
    assert (found.kid, found.algorithm) == (new.id, "ES256")


async def test_an_unknown_key_is_not_called_wrong_while_the_registry_is_out_of_reach(access: Access) -> None:
    access.keys.out_of_reach = True
    with pytest.raises(StoreUnavailable):
        await access.signing.find("A" * 43)


async def test_the_open_column_of_a_key_is_not_what_verifies(access: Access) -> None:
    (shown,) = jwks(access.signing)
    foreign = new_signing_key("RS256")
    access.keys.replace(replace(access.keys.records["signing", 1], public_jwk=foreign.public_jwk))
    await access.keyring.refresh()
    assert jwks(access.signing) == [shown]


@pytest.mark.parametrize("octets", NO_KEYS.values(), ids=NO_KEYS)
async def test_a_signing_key_that_holds_what_is_no_key_takes_nothing_else_with_it(
    access: Access, octets: bytes
) -> None:
    token = await access.token()
    (shown,) = jwks(access.signing)
    await rotate(access, KeyMaterial("no key", "ES256", octets))
    assert access.keyring.damaged == {"no key"}
    assert jwks(access.signing) == [shown]
    assert access.signing.get("no key") is None
    assert access.signing.signing_key().verification.kid == shown["kid"]
    assert await access.verifier.verify(token) == await access.verifier.verify(await access.token())


async def test_where_no_signing_key_opens_nothing_is_signed_and_a_start_is_refused(access: Access) -> None:
    access.keys.replace(replace(access.keys.records["signing", 1], sealed=b"damaged"))
    await access.keyring.refresh()
    with pytest.raises(UnsealFailed):
        access.signing.signing_key()
    with pytest.raises(UnsealFailed):
        await establish_signing_key(access.keyring, "RS256")
