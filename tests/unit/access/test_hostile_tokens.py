"""Tokens made to deceive: every one of them is refused, and none is looked for anywhere."""

import json
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mfa_service.access.keysets import VerificationKey, new_signing_key
from mfa_service.access.verifier import MAX_TOKEN_CHARACTERS, JwtVerifier
from mfa_service.errors import AccessDenied
from mfa_service.model import KeyPurpose
from tests.unit.access.conftest import AUDIENCE, ISSUER, Access
from tests.unit.access.forging import base64url, claims, forged, header, hmac_signed, private_key, sign, signing_input
from tests.unit.access.test_verifier import refused

FOREIGN_KEY = RSAKey.generate_key(2048)


# The algorithm


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "RS384", "PS256", "rs256", "ES256", "HS256"])
async def test_a_token_of_another_algorithm_than_its_key_s_is_refused(access: Access, algorithm: str) -> None:
    protected = header(access, alg=algorithm)
    unsigned = signing_input(protected, claims(access)).decode()
    await refused(access, f"{unsigned}.")
    await refused(access, f"{unsigned}.AAAA")
    await refused(access, sign(protected, claims(access), private_key(access)))


@pytest.mark.parametrize("algorithm", [None, 256, ["RS256"], {"RS256": True}])
async def test_a_token_whose_algorithm_is_no_text_is_refused(access: Access, algorithm: object) -> None:
    await refused(access, forged(access, protected={"alg": algorithm}))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_a_good_signature_by_another_algorithm_of_the_key_is_refused(access: Access, algorithm: str) -> None:
    token = sign(header(access, alg=algorithm), claims(access), private_key(access), algorithm=algorithm)
    await refused(access, token)


def _as_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "octets",
    [
        _as_pem,
        lambda key: _as_pem(key).rstrip(),
        lambda key: key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        lambda key: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        lambda key: key.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        lambda key: key.public_numbers().n.to_bytes(256, "big"),
        lambda _: b"",
    ],
)
async def test_a_public_key_is_no_shared_secret(
    access: Access, octets: Callable[[rsa.RSAPublicKey], bytes], digest: str
) -> None:
    private = load_der_private_key(access.material.octets, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    key = octets(private.public_key())
    for algorithm in (f"HS{digest[3:]}", "RS256"):
        await refused(access, hmac_signed(header(access, alg=algorithm), claims(access), key, digest))


async def test_a_published_key_is_no_shared_secret(access: Access) -> None:
    for text in (access.material.public_jwk, json.dumps(access.signing.jwks())):
        await refused(access, hmac_signed(header(access, alg="HS256"), claims(access), text.encode(), "sha256"))


# The key


async def test_a_token_of_a_foreign_key_is_refused(access: Access) -> None:
    await refused(access, sign(header(access), claims(access), FOREIGN_KEY))
    await refused(access, sign(header(access, kid=FOREIGN_KEY.thumbprint()), claims(access), FOREIGN_KEY))


@pytest.mark.parametrize(
    "kid",
    [
        None,
        1,
        [],
        {},
        True,
        "",
        "../../etc/passwd",
        "' OR 1",
        "https://evil.example/jwks.json",
        "\0",
        "A" * 2000,
        "\ud800",
    ],
)
async def test_an_odd_key_id_is_refused_without_a_look_anywhere(access: Access, kid: object) -> None:
    reads = access.keys.reads
    await refused(access, forged(access, protected={"kid": kid}))
    assert access.keys.reads == reads


@pytest.mark.parametrize("near", [str.swapcase, lambda kid: kid + "=", lambda kid: f" {kid}", lambda kid: kid[:-1]])
async def test_a_key_id_counts_exactly(access: Access, near: Callable[[str], str]) -> None:
    await refused(access, forged(access, protected={"kid": near(access.material.id)}))


@pytest.mark.parametrize("kid", [None, "theirs"])
async def test_a_key_that_a_token_brings_along_is_not_used(access: Access, kid: str | None) -> None:
    brought = {
        "jku": "http://127.0.0.1:1/jwks.json",
        "x5u": "http://127.0.0.1:1/cert.pem",
        "jwk": FOREIGN_KEY.as_dict(private=False),
        "x5c": ["AAAA"],
    }
    for name, value in brought.items():
        await refused(access, sign(header(access, **{name: value}), claims(access), FOREIGN_KEY))
        await refused(access, sign(header(access, **{name: value}, kid=kid), claims(access), FOREIGN_KEY))


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64),
        bytes(32) + b"\1".rjust(32, b"\0"),
        bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551") * 2,
        b"\xff" * 64,
        b"\x30\x06\x02\x01\x01\x02\x01\x01",
        bytes(63),
        bytes(65),
    ],
)
async def test_no_special_pair_of_numbers_is_an_es256_signature(access: Access, signature: bytes) -> None:
    material = new_signing_key("ES256")
    await access.keyring.add(KeyPurpose.SIGNING, material, generation=2)
    await access.keyring.refresh()
    protected = header(access, alg="ES256", kid=material.id)
    key = ECKey.import_key(material.octets)
    assert await access.verifier.verify(sign(protected, claims(access), key, algorithm="ES256"))
    await refused(access, f"{signing_input(protected, claims(access)).decode()}.{base64url(signature)}")


async def test_an_all_zero_eddsa_signature_is_refused(access: Access) -> None:
    material = new_signing_key("EdDSA")
    await access.keyring.add(KeyPurpose.SIGNING, material, generation=2)
    await access.keyring.refresh()
    protected = header(access, alg="EdDSA", kid=material.id)
    key = OKPKey.import_key(material.octets)
    assert await access.verifier.verify(sign(protected, claims(access), key, algorithm="EdDSA"))
    await refused(access, f"{signing_input(protected, claims(access)).decode()}.{base64url(bytes(64))}")


async def test_a_short_rsa_key_verifies_nothing(access: Access) -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  weak on purpose
    key = VerificationKey("short", "RS256", short.public_key())

    class ShortKeys:
        def get(self, kid: str) -> VerificationKey | None:
            return key if kid == "short" else None

        async def find(self, kid: str) -> VerificationKey | None:
            return self.get(kid)

    verifier = JwtVerifier(
        keys=ShortKeys(), applications=access.table, clock=access.clock, issuer=ISSUER, audience=AUDIENCE, leeway_s=10
    )
    octets = signing_input(header(access, kid="short"), claims(access))
    token = f"{octets.decode()}.{base64url(short.sign(octets, PKCS1v15(), SHA256()))}"
    with pytest.raises(AccessDenied):
        await verifier.verify(token)


# The header


@pytest.mark.parametrize("token_type", [None, "JWT", "jwt", "", "at+jwt ", "at-jwt", "application/jwt", 1, ["at+jwt"]])
async def test_another_type_of_token_is_refused(access: Access, token_type: object) -> None:
    await refused(access, forged(access, protected={"typ": token_type}))


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": "b64"},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"crit": ["urn:example:extension"], "urn:example:extension": 1},
    ],
)
async def test_an_extension_is_refused(access: Access, members: dict[str, object]) -> None:
    await refused(access, forged(access, protected=members))


async def test_a_large_unencoded_payload_is_refused_at_once(access: Access) -> None:
    head = base64url(json.dumps(header(access, b64=False, crit=["b64"])).encode())
    token = f"{head}.{'A' * 2**20}.AAAA"
    began_s = time.perf_counter()
    await refused(access, token)
    assert time.perf_counter() - began_s < 0.05


@pytest.mark.parametrize(
    "head", [b"", b"null", b"[]", b'"RS256"', b"{", b"{}", b"\xff\xfe", b"[" * 3000, b'{"kid":' + b"1" * 5000 + b"}"]
)
async def test_a_header_that_is_no_object_is_refused(access: Access, head: bytes) -> None:
    _, payload, signature = (await access.token()).split(".")
    await refused(access, f"{base64url(head)}.{payload}.{signature}")


# The claims


@pytest.mark.parametrize("claim", ["exp", "aud", "iss", "sub", "client_id", "jti", "iat"])
async def test_a_token_without_one_of_the_claims_is_refused(access: Access, claim: str) -> None:
    await refused(access, forged(access, payload={claim: None}))
    payload = {**claims(access), claim: None}
    await refused(access, sign(header(access), payload, private_key(access)))


@pytest.mark.parametrize(
    "iss", ["", "urn:mfa-service:registr", ISSUER + "/", ISSUER.upper(), f" {ISSUER}", [ISSUER], {ISSUER: 1}, 1]
)
async def test_another_issuer_is_refused(access: Access, iss: object) -> None:
    await refused(access, forged(access, payload={"iss": iss}))


@pytest.mark.parametrize(
    "aud",
    [
        "",
        "urn:other",
        AUDIENCE.upper(),
        AUDIENCE[:-1],
        f"{AUDIENCE} urn:other",
        [],
        ["urn:other"],
        [[AUDIENCE]],
        [AUDIENCE, 1],
        {AUDIENCE: 1},
        1,
    ],
)
async def test_another_audience_is_refused(access: Access, aud: object) -> None:
    await refused(access, forged(access, payload={"aud": aud}))


@pytest.mark.parametrize("claim", ["sub", "client_id", "jti", "scope"])
@pytest.mark.parametrize("value", [1, True, [], {}, ["mfa:enroll"]])
async def test_a_claim_that_is_no_text_is_refused(access: Access, claim: str, value: object) -> None:
    await refused(access, forged(access, payload={claim: value}))


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{", b"\xff", b'"claims"', b"[" * 2000])
async def test_a_well_signed_payload_that_is_no_object_is_refused(access: Access, payload: bytes) -> None:
    await refused(access, sign(header(access), payload, private_key(access)))


# The text


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "\ud800.a.b", "\0"])
async def test_a_text_that_is_no_token_is_refused(access: Access, text: str) -> None:
    await refused(access, text)


async def test_a_token_with_more_or_fewer_segments_is_refused(access: Access) -> None:
    token = await access.token()
    head, payload, signature = token.split(".")
    for other in (
        head,
        f"{head}.{payload}",
        f"{head}.{payload}.",
        f"{head}..{signature}",
        f".{payload}.{signature}",
        f"{token}.",
        f"{token}.{signature}",
        f"{token}.{payload}.{signature}",
        f"{token}=",
        f"{token}==",
        f" {token}",
        f"{token}\n",
    ):
        await refused(access, other)


async def test_a_token_with_any_one_bit_changed_is_refused(access: Access) -> None:
    token = await access.token()
    for position, character in enumerate(token):
        changed = chr(ord(character) ^ (1 << position % 7))
        await refused(access, token[:position] + changed + token[position + 1 :])


async def test_a_token_over_the_limit_is_refused_before_anything_of_it_is_read(access: Access) -> None:
    room = MAX_TOKEN_CHARACTERS - len(forged(access))
    long = forged(access, payload={"pad": "A" * (room * 3 // 4 - 20)})
    assert len(long) <= MAX_TOKEN_CHARACTERS
    assert await access.verifier.verify(long)
    await refused(access, forged(access, payload={"pad": "A" * room}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku"]),
        st.sampled_from(["RS256", "at+jwt", "none"]) | st.integers() | st.none() | st.lists(st.text(), max_size=2),
    ),
    payload=st.binary(max_size=50),
    signature=st.binary(min_size=1, max_size=300),
)
async def test_whatever_else_comes_is_refused_and_breaks_nothing(
    access: Access, head: dict[str, object], payload: bytes, signature: bytes
) -> None:
    protected = {**header(access), **head}
    await refused(access, f"{signing_input(protected, payload).decode()}.{base64url(signature)}")
