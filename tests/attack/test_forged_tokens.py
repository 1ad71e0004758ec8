"""Attacks by tokens that the service's key has not signed, or not as they are."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import ECKey

from tests.api.service import Caller
from tests.attack.cases import attack
from tests.attack.forging import (
    INVALID_TOKEN,
    Good,
    Members,
    asked,
    decoded,
    good,
    imported,
    insider,
    published,
)
from tests.attack.outcomes import NO_DEVICE, NO_TOKEN
from tests.attack.watching import listening, watched
from tests.attack.wires import HOST, LISTING, connected, head, raw
from tests.unit.access.forging import base64url, hmac_signed, sign, signing_input

ATTACKERS_KEY = ECKey.generate_key("P-256")


async def refuse(caller: Caller, *tokens: str) -> None:
    """Fail where one of these tokens is not refused, or more is said than that."""
    for token in tokens:
        answer = await asked(caller, token)
        assert (answer.outcome, answer.headers["WWW-Authenticate"]) == (NO_TOKEN, INVALID_TOKEN)


async def is_taken(caller: Caller, token: str) -> bool:
    return (await asked(caller, token)).outcome == NO_DEVICE


@attack("J-07")
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", " none", "none\0", "", None, "null", "HS256"])
async def test_a_token_without_a_signature_is_refused(caller: Caller, algorithm: str | None) -> None:
    own = await good(caller)
    assert await is_taken(caller, own.token)
    signature = own.token.rpartition(".")[2]
    for header in (
        {**own.header, "alg": algorithm},
        {"alg": algorithm},
        {"alg": algorithm, "typ": "at+jwt"},
        {**own.header, "alg": [algorithm]},
    ):
        unsigned = signing_input(header, own.claims).decode()
        await refuse(caller, unsigned, f"{unsigned}.", f"{unsigned}.AA", f"{unsigned}.{signature}", f"{unsigned}..")
    untouched = own.token.rpartition(".")[0]
    await refuse(caller, f"{untouched}.", f"{untouched}.AA", f"{untouched}.{base64url(b'none')}")


def public_forms(jwk: Mapping[str, str]) -> Iterator[bytes]:
    """The octets that a public key is known by, each of which a careless verifier may take for a secret."""
    native = imported(jwk).public_key
    for form in (PublicFormat.SubjectPublicKeyInfo, *([PublicFormat.PKCS1] if jwk["kty"] == "RSA" else [])):
        pem = native.public_bytes(Encoding.PEM, form)
        yield from (
            pem,
            pem.rstrip(),
            pem.replace(b"\n", b"\r\n"),
            b"".join(pem.splitlines()[1:-1]),
            b"\xef\xbb\xbf" + pem,
        )
        yield native.public_bytes(Encoding.DER, form)
    yield native.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    bare = {name: jwk[name] for name in jwk if name not in ("kid", "use", "alg")}
    for document in (dict(jwk), bare, {"keys": [dict(jwk)]}, [dict(jwk)]):
        yield from (
            orjson.dumps(document),
            json.dumps(document).encode(),
            json.dumps(document, sort_keys=True).encode(),
        )
    for name in sorted({"n", "e", "x", "y", "kid"} & jwk.keys()):
        yield from (jwk[name].encode(), decoded(jwk[name]))
    if jwk["kty"] == "EC":
        point = decoded(jwk["x"]) + decoded(jwk["y"])
        yield from (point, b"\4" + point)
    yield b""


@attack("J-08")
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
async def test_the_public_key_is_no_secret(caller: Caller, digest: str) -> None:
    own, jwk = await good(caller), await published(caller)
    for secret in public_forms(jwk):
        for algorithm in (f"HS{digest[3:]}", jwk["alg"]):
            await refuse(caller, hmac_signed({**own.header, "alg": algorithm}, own.claims, secret, digest))
    assert await is_taken(caller, own.token)


ODD_KEY_IDS: tuple[object, ...] = (
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", "C:\\key.pem", "key.pem\0.jwk", "|id", "$(id)", "{0}", "%s%n"),
    *("' OR 1=1 --", '"; DROP TABLE keys; --', "1 UNION SELECT 1", "https://evil.example/jwks.json", "//evil.example"),
    *("ldap://evil.example/k", "file:///etc/passwd", "\0", "\ud800", "a" * 5_000, "", " ", "*", "default"),
    *(None, True, 0, 1, -1, 1.5, [], ["a"], {}, {"$ne": None}),
)


@attack("J-09")
async def test_an_odd_key_id_is_refused(caller: Caller) -> None:
    own = await good(caller)
    for kid in (*ODD_KEY_IDS, own.header["kid"] + "=", own.header["kid"].swapcase(), [own.header["kid"]]):
        await refuse(
            caller, sign({**own.header, "kid": kid, "alg": "ES256"}, own.claims, ATTACKERS_KEY, algorithm="ES256")
        )


@attack("J-09")
async def test_an_odd_key_id_is_looked_for_nowhere(shop: Caller) -> None:
    mole = await insider(shop)
    lines = [
        head("GET", LISTING, HOST, f"Authorization: Bearer {mole.forged(header={'kid': kid})}\r\n".encode()) + b"\r\n"
        for kid in ODD_KEY_IDS
    ]
    async with connected(shop.service) as wire:
        with watched() as seen:
            for line in lines:
                await wire.send(line)
                assert (await wire.response()).status == 401
        assert seen == []
        with watched() as seen:
            await shop.token()
            await asyncio.to_thread(Path(__file__).read_bytes)
        assert {one.split()[0] for one in seen} == {"statement", "open"}


def certificate() -> str:
    """A certificate of the attacker's key, made out by itself, as `x5c` has it."""
    key = ATTACKERS_KEY.private_key
    assert isinstance(key, EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mfa-service")])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=36_500))
        .sign(key, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM).decode()
    return "".join(pem.splitlines()[1:-1])


@attack("J-10")
async def test_no_key_is_used_that_a_token_brings_along_or_points_to(caller: Caller) -> None:
    own = await good(caller)
    theirs = ATTACKERS_KEY.as_dict(private=False)
    async with listening() as listener:
        brought = {
            "jku": f"{listener.url}/jwks.json",
            "x5u": f"{listener.url}/certificate.pem",
            "iss": listener.url,
            "jwks_uri": f"{listener.url}/jwks.json",
            "jwk": theirs,
            "jwks": {"keys": [theirs]},
            "x5c": [certificate()],
            "x5t#S256": base64url(bytes(32)),
        }
        for kid in (own.header["kid"], ATTACKERS_KEY.thumbprint(), f"{listener.url}/key", None):
            for members in (*({name: value} for name, value in brought.items()), brought):
                header = {"typ": "at+jwt", "alg": "ES256", **members, **({} if kid is None else {"kid": kid})}
                await refuse(caller, sign(header, own.claims, ATTACKERS_KEY, algorithm="ES256"))
                claims = {**own.claims, "iss": listener.url}
                await refuse(caller, sign(header, claims, ATTACKERS_KEY, algorithm="ES256"))
        assert listener.connections == 0
        reader, writer = await asyncio.open_connection(*listener.url.removeprefix("http://").split(":"))
        assert await reader.read() == b""
        writer.close()
        assert listener.connections == 1


EXTENSIONS: tuple[Members, ...] = (
    *({"crit": ["exp"]}, {"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": None}, {"crit": "b64"}, {"crit": {}}),
    *({"crit": ["kid"]}, {"crit": ["alg", "typ"]}, {"crit": [1]}, {"crit": ["urn:example:x"], "urn:example:x": True}),
    *({"crit": ["b64"], "b64": False}, {"crit": ["b64"], "b64": True}, {"b64": False}, {"b64": True}, {"b64": None}),
)


@attack("J-11")
async def test_no_extension_is_taken_that_must_be_understood(shop: Caller) -> None:
    mole = await insider(shop)
    assert await is_taken(shop, mole.forged(header={"cty": "at+jwt", "x-note": "a"}))  # what need not be is ignored
    for members in EXTENSIONS:
        header = {**mole.good.header, **members}
        signed = sign(header, mole.good.claims, mole.key, algorithm="ES256")
        plain = f"{base64url(json.dumps(header).encode())}.{json.dumps(mole.good.claims)}"
        await refuse(shop, signed, ".".join((signed.split(".")[0], "", signed.split(".")[2])))
        answer, _ = await raw(shop.service, requesting(f"{plain}.{signed.rpartition('.')[2]}"))
        assert answer.status == 401


@attack("J-11")
@pytest.mark.parametrize(("characters", "status"), [(7_000, 401), (2**20, 431)])
async def test_a_large_payload_that_need_not_be_decoded_costs_nothing(
    shop: Caller, characters: int, status: int
) -> None:
    own = await good(shop)
    begun = base64url(json.dumps({**own.header, "crit": ["b64"], "b64": False}).encode())
    taken_s = []
    for number in range(10):
        request = requesting(f"{begun}.{'A' * characters}.{number:04d}")
        async with connected(shop.service) as wire:
            began_s = time.perf_counter()
            wire.writer.write(request)
            assert (await wire.response()).status == status
            taken_s.append(time.perf_counter() - began_s)
    assert min(taken_s) < 0.005


def requesting(token: str) -> bytes:
    """A listing with a token as it is."""
    return head("GET", LISTING, HOST, f"Authorization: Bearer {token}\r\n".encode()) + b"\r\n"


@attack("J-12")
@pytest.mark.parametrize("number", [0, 1, 2], ids=["header", "payload", "signature"])
async def test_a_token_with_one_bit_changed_is_refused(caller: Caller, number: int) -> None:
    own = await good(caller)
    segments = own.token.split(".")
    octets = decoded(segments[number])
    for position in range(0, len(octets) * 8, 5):
        changed = bytearray(octets)
        changed[position // 8] ^= 1 << position % 8
        await refuse(caller, ".".join((*segments[:number], base64url(bytes(changed)), *segments[number + 1 :])))
    assert await is_taken(caller, own.token)


@attack("J-12")
async def test_a_token_of_more_or_fewer_segments_is_refused(caller: Caller) -> None:
    own = await good(caller)
    header, payload, signature = own.token.split(".")
    await refuse(
        caller,
        *(header, f"{header}.{payload}", f"{payload}.{signature}", f"{header}..{signature}", f".{payload}.{signature}"),
        *(
            f"{own.token}.",
            f".{own.token}",
            f"{own.token}.{signature}",
            f"{own.token}.{payload}.{signature}",
            "...",
            ".",
        ),
        *(f"{header}.{payload}.{signature}={end}" for end in ("", "=")),
        *(f"{header}=.{payload}.{signature}", f"{header}.{payload}=.{signature}", f"{header}.{payload}.{signature}A"),
        f"{header}.{payload}.{signature[:-1]}",
    )


SERIALISED: Mapping[str, Callable[[Good], object]] = {
    "general": lambda own: {
        "payload": own.token.split(".")[1],
        "signatures": [{"protected": own.token.split(".")[0], "signature": own.token.split(".")[2]}],
    },
    "flattened": lambda own: dict(zip(("protected", "payload", "signature"), own.token.split("."), strict=True)),
}


@attack("J-12")
async def test_a_token_of_another_form_is_refused(caller: Caller) -> None:
    own, jwk = await good(caller), await published(caller)
    recipient = imported(jwk)
    wrapping = "RSA-OAEP" if jwk["kty"] == "RSA" else "ECDH-ES"
    for extra in ({}, {"cty": "JWT"}, {"typ": "at+jwt", "kid": jwk["kid"]}):
        for content in (own.token.encode(), orjson.dumps(own.claims)):
            await refuse(caller, jwe.encrypt_compact({"alg": wrapping, "enc": "A256GCM", **extra}, content, recipient))
    for form in SERIALISED.values():
        text = orjson.dumps(form(own)).decode()
        await refuse(caller, text, base64url(text.encode()))
    nested = sign({**own.header, "alg": "ES256", "cty": "JWT"}, own.token.encode(), ATTACKERS_KEY, algorithm="ES256")
    await refuse(caller, nested, base64url(own.token.encode()), own.token[::-1], own.token.upper())
