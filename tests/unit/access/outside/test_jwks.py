"""An issuer's key set as the keys that verify its tokens."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mfa_service.access.outside.documents import Unusable
from mfa_service.access.outside.jwks import MAX_KEYS, ReadKeys, read_keys

RSA = RSAKey.generate_key(2048, {"kid": "r"})
CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


def public(key: RSAKey | ECKey | OKPKey, **members: object) -> dict[str, Any]:
    """A key's public JWK, with members changed; None leaves one out."""
    changed = {**key.as_dict(private=False), **members}
    return {name: value for name, value in changed.items() if value is not None}


EC = {crv: ECKey.generate_key(crv, {"kid": crv}) for crv in CURVES}
ED25519 = OKPKey.generate_key("Ed25519", {"kid": "ed"})


def read(*jwks: object, rsa_algorithm: str = "RS256") -> ReadKeys:
    return read_keys(json.dumps({"keys": jwks}).encode(), rsa_algorithm=rsa_algorithm)


def ignored(jwk: object) -> str:
    """Why a key is left out while its neighbour is not."""
    found = read(jwk, public(EC["P-256"], kid="neighbour"))
    assert found.keys.keys() == {"neighbour"}
    [(reason, count)] = found.ignored.items()
    assert count == 1
    return reason


@pytest.mark.parametrize("algorithm", RSA_ALGORITHMS)
def test_an_rsa_key_verifies_what_it_names_or_else_what_the_setting_says(algorithm: str) -> None:
    named, unnamed = public(RSA, kid="a", alg=algorithm), public(RSA, kid="b")
    assert {key.kid: key.algorithm for key in read(named, unnamed).keys.values()} == {"a": algorithm, "b": "RS256"}
    assert read(unnamed, rsa_algorithm=algorithm).keys["b"].algorithm == algorithm


@pytest.mark.parametrize(("curve", "algorithm"), CURVES.items())
def test_a_curve_has_one_algorithm(curve: str, algorithm: str) -> None:
    for named in (None, algorithm):
        assert read(public(EC[curve], alg=named)).keys[curve].algorithm == algorithm
    for other in {*CURVES.values(), "RS256", "HS256", "EdDSA"} - {algorithm}:
        assert ignored(public(EC[curve], alg=other)) == "an algorithm that is not taken"


def test_ed25519_is_taken_and_its_neighbours_are_not() -> None:
    assert read(public(ED25519)).keys["ed"].algorithm == "EdDSA"
    assert ignored(public(ED25519, alg="ES256")) == "an algorithm that is not taken"
    for curve in ("Ed448", "X25519", "X448"):
        assert ignored(public(OKPKey.generate_key(curve, {"kid": "a"}))) == "a type that is not taken"


@pytest.mark.parametrize("named", ["HS256", "none", "ES256", "RSA-OAEP", "rs256", "", 256, ["RS256"], {}])
def test_an_rsa_key_of_another_algorithm_is_left_out(named: object) -> None:
    assert ignored(public(RSA, alg=named)) == "an algorithm that is not taken"


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        (public(RSA, kid=None), "no id"),
        (public(RSA, kid=""), "no id"),
        (public(RSA, kid=1), "no id"),
        (public(RSA, kid="x" * 257), "no id"),
        (public(RSA, use="enc"), "not for signatures"),
        (public(RSA, use=["sig"]), "not for signatures"),
        (public(RSA, key_ops=["encrypt"]), "not for verifying"),
        (public(RSA, key_ops=[]), "not for verifying"),
        (public(RSA, key_ops="verify"), "not for verifying"),
        (public(RSA, key_ops=["sign"]), "not for verifying"),
        ({"kty": "oct", "kid": "a", "k": "AAAA"}, "a type that is not taken"),
        (OctKey.generate_key(256, {"kid": "a", "alg": "HS256"}).as_dict(), "a type that is not taken"),
        ({"kty": "oct", "kid": "a", "crv": "P-256", "alg": "ES256"}, "a type that is not taken"),
        ({"kty": "AKP", "kid": "a", "alg": "ML-DSA-44", "pub": "AAAA"}, "a type that is not taken"),
        ({"kty": ["RSA"], "kid": "a"}, "a type that is not taken"),
        ({"kid": "a"}, "a type that is not taken"),
        (public(EC["P-256"], crv="secp256k1"), "a type that is not taken"),
        (public(EC["P-256"], crv=["P-256"]), "a type that is not taken"),
        (public(EC["P-256"], crv="P-384"), "malformed"),
        (public(EC["P-256"], x="AAAA"), "malformed"),
        (public(EC["P-256"], y=public(EC["P-256"])["x"]), "malformed"),  # no point of the curve
        (public(EC["P-256"], y=None), "malformed"),
        (public(EC["P-256"], x=1), "malformed"),
        (public(ED25519, x="AAAA"), "malformed"),
        (public(RSA, n=None), "malformed"),
        (public(RSA, n=5), "malformed"),
        (public(RSA, n="\u00e9"), "malformed"),
        (public(RSA, n=""), "malformed"),
        (public(RSA, e="AQ"), "malformed"),
        (RSA.as_dict(private=True), "a private key"),
        (EC["P-256"].as_dict(private=True), "a private key"),
        (ED25519.as_dict(private=True), "a private key"),
        *[(None, "no key"), (1, "no key"), ("RSA", "no key"), ([], "no key"), ([{}], "no key")],
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_is_not_fit_is_left_out_alone(jwk: object, reason: str) -> None:
    assert ignored(jwk) == reason


@pytest.mark.parametrize("octets", [1, 128, 255, 1025, 2048])
def test_an_rsa_key_too_short_or_too_long_is_left_out(octets: int) -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * octets).decode().rstrip("=")
    assert ignored(public(RSA, n=modulus)) in ("an RSA key too short or too long", "malformed")


def test_an_rsa_key_of_1024_bits_is_left_out() -> None:
    short = generate_private_key(65537, 1024)  # noqa: S505  too short on purpose
    numbers = short.public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).decode().rstrip("=")
    assert ignored(public(RSA, n=modulus)) == "an RSA key too short or too long"


def test_verifying_may_be_one_operation_of_several() -> None:
    assert read(public(RSA, use="sig", key_ops=["sign", "verify"])).keys.keys() == {"r"}


def test_of_two_keys_with_one_id_neither_counts() -> None:
    twice = {"two keys of one id": 1}
    assert ignored_ids(public(EC["P-256"], kid="a"), public(EC["P-384"], kid="a")) == twice
    assert ignored_ids(public(RSA, kid="a", alg="RS256"), public(RSA, kid="a", alg="PS256")) == twice


def ignored_ids(*jwks: object) -> dict[str, int]:
    found = read(*jwks, public(EC["P-521"]))
    assert found.keys.keys() == {"P-521"}
    return dict(found.ignored)


def test_one_key_listed_twice_counts_once() -> None:
    assert read(public(RSA), public(RSA, x5t="AAAA")).keys.keys() == {"r"}
    assert read(public(RSA), public(RSA, use="enc")).keys.keys() == {"r"}


def test_an_empty_key_set_is_one() -> None:
    assert read() == ReadKeys({}, {})


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"<html></html>", b"\xff", b"[" * 100_000),
        *(b"null", b"[]", b"{}", b'{"keys":null}', b'{"keys":{}}', b'{"keys":"x"}', b'"keys"'),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_garbage_is_no_key_set(content: bytes) -> None:
    with pytest.raises(Unusable, match="no key set"):
        read_keys(content, rsa_algorithm="RS256")


def test_a_key_set_has_a_hundred_keys_at_most() -> None:
    assert read(*({"kty": "oct"} for _ in range(MAX_KEYS))).ignored == {"no id": MAX_KEYS}
    with pytest.raises(Unusable, match="too many"):
        read(*({"kty": "oct"} for _ in range(MAX_KEYS + 1)))


def test_equal_keys_of_two_readings_are_equal() -> None:
    first, second = (read(public(RSA), public(EC["P-256"]), public(ED25519)) for _ in range(2))
    assert first == second
    assert all(isinstance(key.public_key, RSAPublicKey) == (kid == "r") for kid, key in first.keys.items())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["AQAB", "sig", "RSA", "P-256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_MEMBERS = st.sampled_from(["kty", "crv", "kid", "use", "key_ops", "alg", "n", "e", "x", "y", "d"])


@given(st.sampled_from([public(RSA), *map(public, EC.values()), public(ED25519)]), st.dictionaries(_MEMBERS, _JSON))
def test_whatever_a_key_s_members_are_the_others_count(jwk: dict[str, object], changed: dict[str, object]) -> None:
    found = read({**jwk, **changed}, public(EC["P-256"], kid="the neighbour"))
    assert "the neighbour" in found.keys
    assert len(found.keys) + sum(found.ignored.values()) == 2
