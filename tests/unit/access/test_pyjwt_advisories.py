"""What PyJWT's security advisories since November 2024 say of tokens, tried here; each test is named after its own."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mfa_service.access.verifier import MAX_TOKEN_CHARACTERS
from tests.unit.access.conftest import ISSUER, Access
from tests.unit.access.forging import base64url, claims, forged, header, hmac_signed, private_key, sign, signing_input
from tests.unit.access.test_verifier import refused


def public_key(access: Access) -> Any:  # noqa: ANN401  whichever type cryptography has for it
    return private_key(access).public_key


# The signature


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS512"])
async def test_ghsa_jq35_7prp_9v3f_a_key_verifies_its_own_algorithm_whatever_the_header_says(
    access: Access, algorithm: str
) -> None:
    """CVE-2026-48523: the algorithm of a key was not held against the header's."""
    for named, used in ((algorithm, algorithm), ("RS256", algorithm), (algorithm, "RS256")):
        await refused(access, sign(header(access, alg=named), claims(access), private_key(access), algorithm=used))


async def test_ghsa_xgmm_8j9v_c9wx_a_published_key_is_no_shared_secret(access: Access) -> None:
    """CVE-2026-48526: the JSON of a public key was taken for an HMAC secret."""
    jwk = access.signing.jwks()["keys"][0]  # type: ignore[index]  # a list, by its own test
    for text in (access.material.public_jwk, json.dumps(jwk), json.dumps(jwk, separators=(",", ":"), sort_keys=True)):
        await refused(access, hmac_signed(header(access, alg="HS256"), claims(access), text.encode(), "sha256"))


@pytest.mark.parametrize(
    "changed",
    [
        lambda pem: b"\n" + pem,
        lambda pem: b" \t" + pem,
        lambda pem: pem + b"\n\n",
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.replace(b"\n", b"\r"),
        lambda pem: pem.replace(b"\n", b" "),
        lambda pem: pem.replace(b"-----BEGIN", b"----- BEGIN"),
        lambda pem: b"\n".join(line + b" " for line in pem.splitlines()),
    ],
)
async def test_ghsa_ffc3_869f_jxw9_a_public_key_with_other_white_space_is_no_shared_secret(
    access: Access, changed: Callable[[bytes], bytes]
) -> None:
    """CVE-2026-102268: a PEM whose line ends or blanks were changed was taken for an HMAC secret."""
    pem = public_key(access).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    await refused(access, hmac_signed(header(access, alg="HS256"), claims(access), changed(pem), "sha256"))


async def test_ghsa_p4g4_x82p_q773_r6x4_923q_g947_w2cx_738m_mc7w_no_form_of_a_public_key_is_a_shared_secret(
    access: Access,
) -> None:
    """CVE-2026-102271, CVE-2026-102272 and CVE-2026-102273: DER, key sets, arrays, a byte-order mark before them."""
    jwks = access.signing.jwks()
    documents = [json.dumps(one).encode() for one in (jwks, jwks["keys"], [jwks], {"key": jwks["keys"]}, [[jwks]])]
    der = [
        public_key(access).public_bytes(Encoding.DER, form)
        for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)
    ]
    pem = public_key(access).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for plain in (*documents, *der, pem):
        for secret in (plain, b"\xef\xbb\xbf" + plain, base64url(plain).encode(), plain.hex().encode()):
            await refused(access, hmac_signed(header(access, alg="HS256"), claims(access), secret, "sha256"))


# The header


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["x-policy"], "x-policy": "mfa"},
        {"crit": ["x-policy"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64", "x-policy"], "b64": True, "x-policy": 1},
    ],
)
async def test_ghsa_752w_5fwx_jx9f_an_extension_that_must_be_understood_is_refused(
    access: Access, members: Mapping[str, object]
) -> None:
    """CVE-2026-32597: `crit` was not looked at."""
    await refused(access, forged(access, protected=members))


async def test_ghsa_w7vc_732c_9m39_an_unencoded_payload_is_refused_and_a_long_one_not_even_read(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2026-48525: with `b64` false the payload was decoded, however long, to be thrown away."""
    begun = base64url(json.dumps(header(access, b64=False, crit=["b64"])).encode())
    for payload in ("", "A" * 4_000):
        await refused(access, f"{begun}.{payload}.AAAA")
    for function in ("get_unverified_header", "decode"):
        monkeypatch.setattr(jwt, function, None)  # whoever calls it breaks
    await refused(access, f"{begun}.{'A' * MAX_TOKEN_CHARACTERS}.AAAA")


@pytest.mark.parametrize("begun", ["[", '{"a":', '{"kid":[', '{"crit":{"a":'])
async def test_ghsa_8wjv_2p76_3863_a_deeply_nested_header_is_refused(access: Access, begun: str) -> None:
    """CVE-2026-102265: it raised what no caller expects."""
    depth = 5_500 // len(begun)
    await refused(access, f"{base64url((begun * depth).encode())}.e30.AAAA")
    await refused(access, f"{base64url(('[' * 2_700 + ']' * 2_700).encode())}.e30.AAAA")


# The segments


@pytest.mark.parametrize("begun", ["[", '{"a":'])
async def test_ghsa_42vr_xj54_vc7v_a_deeply_nested_payload_is_refused(access: Access, begun: str) -> None:
    """CVE-2026-101918: it raised what no caller expects."""
    payload = (begun * (5_000 // len(begun))).encode()
    await refused(access, sign(header(access), payload, private_key(access)))
    await refused(access, f"{signing_input(header(access), payload).decode()}.AAAA")


async def test_ghsa_hxm8_2xgr_2p9m_a_token_has_one_spelling(access: Access) -> None:
    """CVE-2026-102269: characters that base64url does not have were passed over."""
    token = await access.token()
    assert await access.verifier.verify(token)
    head, payload, signature = token.split(".")
    for junk in ("!!!!", "=", "==", "====", "\n", " ", "+", "/", "%3D", "AAAA"):
        await refused(access, token + junk)
        await refused(access, f"{head}.{payload}{junk}.{signature}")
        await refused(access, f"{head}{junk}.{payload}.{signature}")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    assert last % 16 == 0  # of 256 bytes the last two bits of one are left: four bits mean nothing
    for unused in range(1, 16):
        await refused(access, f"{head}.{payload}.{signature[:-1]}{alphabet[last + unused]}")


# The claims


@pytest.mark.parametrize("length", range(len(ISSUER)))
async def test_ghsa_75c5_xw7c_p5pm_a_part_of_the_issuer_is_another_issuer(access: Access, length: int) -> None:
    """CVE-2024-53861: an issuer that is part of the expected one was taken."""
    for part in {ISSUER[:length], ISSUER[length + 1 :]}:
        await refused(access, forged(access, payload={"iss": part}))
