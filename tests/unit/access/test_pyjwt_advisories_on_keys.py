"""What PyJWT's security advisories since November 2024 say of key sets; each test is named after its own.

They are of PyJWT's own client of key sets, which this service does not use: they are tried on what it has in its place.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mfa_service.access.outside import HttpFetch, IssuerKeys, open_session
from mfa_service.access.outside.documents import Document, Unusable
from mfa_service.access.verifier import JwtVerifier
from mfa_service.errors import AccessDenied, StoreUnavailable
from mfa_service.model import KeyPurpose
from mfa_service.sealing import KeyMaterial
from tests.unit.access.conftest import AUDIENCE, LEEWAY_S, Access
from tests.unit.access.forging import base64url, claims, forged, header, hmac_signed, sign
from tests.unit.access.test_verifier import refused

OUTSIDE = "https://issuer.example"
METADATA = f"{OUTSIDE}/.well-known/oauth-authorization-server"
KEYS = f"{OUTSIDE}/keys"
Jwk = Mapping[str, Any]


class Documents:
    """What another issuer publishes, got without a network.

    Attributes:
        by_url: what is where.
        asked: the URLs that were asked for.
    """

    def __init__(self, *keys: Jwk, keys_url: str = KEYS) -> None:
        self.by_url: dict[str, Any] = {
            METADATA: {"issuer": OUTSIDE, "jwks_uri": keys_url},
            KEYS: {"keys": list(keys)},
        }
        self.asked: list[str] = []

    async def __call__(self, url: str) -> Document:
        self.asked.append(url)
        if url not in self.by_url:
            raise Unusable("is out of reach")
        return Document(json.dumps(self.by_url[url]).encode())


async def trusting(access: Access, documents: Documents) -> tuple[JwtVerifier, IssuerKeys]:
    """A verifier of another issuer's tokens, and that issuer's keys, read once."""
    keys = IssuerKeys(OUTSIDE, fetch=documents, clock=access.clock)
    await keys.start()
    verifier = JwtVerifier(
        keys=keys,
        applications=access.table,
        clock=access.clock,
        issuer=OUTSIDE,
        audience=AUDIENCE,
        leeway_s=LEEWAY_S,
    )
    return verifier, keys


def of_outside(access: Access, key: RSAKey | ECKey | OKPKey, *, kid: str, algorithm: str) -> str:
    """A token of the other issuer."""
    return sign(header(access, alg=algorithm, kid=kid), claims(access, iss=OUTSIDE), key, algorithm=algorithm)


def public(key: RSAKey | ECKey | OKPKey, **members: object) -> Jwk:
    """A key as a key set has it."""
    return {**key.as_dict(private=False), **members}


@pytest.mark.parametrize("secret", ["", "c2hvcnQ", base64url(bytes(64))])
async def test_ghsa_9j54_fg26_wv3r_pxh4_856f_4h89_no_secret_of_a_key_set_verifies_anything(
    access: Access, secret: str
) -> None:
    """CVE-2026-102266, and an advisory without a CVE: empty HMAC keys were taken where they came as a JWK."""
    good = public(ECKey.generate_key("P-256"), kid="good")
    documents = Documents({"kty": "oct", "k": secret, "kid": "secret", "alg": "HS256"}, good)
    verifier, _ = await trusting(access, documents)
    octets = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    token = hmac_signed(header(access, alg="HS256", kid="secret"), claims(access, iss=OUTSIDE), octets, "sha256")
    with pytest.raises(AccessDenied):
        await verifier.verify(token)


async def test_ghsa_xpf8_484v_j9w6_a_short_key_of_a_key_set_verifies_nothing(access: Access) -> None:
    """CVE-2025-45768, disputed: keys of any length were taken."""
    with pytest.warns(SecurityWarning):
        short = RSAKey.generate_key(1024)
    long = RSAKey.generate_key(2048)
    documents = Documents(public(short, kid="short", alg="RS256"), public(long, kid="long", alg="RS256"))
    verifier, _ = await trusting(access, documents)
    assert await verifier.verify(of_outside(access, long, kid="long", algorithm="RS256"))
    with pytest.raises(AccessDenied):
        await verifier.verify(of_outside(access, short, kid="short", algorithm="RS256"))


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://issuer.example/keys", "data:application/json,{}", "FILE:///etc/passwd"),
        *("http://issuer.example/keys", "//issuer.example/keys", "/keys", "unix:///run/x", "gopher://issuer.example/"),
    ],
)
async def test_ghsa_993g_76c3_p5m4_keys_come_by_https_alone(access: Access, url: str) -> None:
    """CVE-2026-48522: files and other schemes were read where a URL of keys named them."""
    key = ECKey.generate_key("P-256")
    documents = Documents(public(key, kid="k"), keys_url=url)
    documents.by_url[url] = documents.by_url[KEYS]
    verifier, keys = await trusting(access, documents)
    assert keys.obstacle is not None
    with pytest.raises(StoreUnavailable):
        await verifier.verify(of_outside(access, key, kid="k", algorithm="ES256"))
    async with open_session(OUTSIDE) as session:
        with pytest.raises(Unusable):
            await HttpFetch(session)(url)
    assert url not in documents.asked


@pytest.mark.parametrize("member", ["jku", "x5u"])
@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:application/json,{}", KEYS])
async def test_ghsa_993g_76c3_p5m4_a_token_names_no_place_of_keys(access: Access, member: str, url: str) -> None:
    """CVE-2026-48522, as an application would have had to go wrong for it."""
    reads = access.keys.reads
    await refused(access, sign(header(access, **{member: url}), claims(access), RSAKey.generate_key(2048)))
    assert access.keys.reads == reads


async def test_ghsa_9v7f_9g4p_ffgj_no_redirect_leads_to_another_host() -> None:
    """CVE-2026-102267: keys were taken from wherever a redirect led."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": f"http://localhost:{request.url.port}/keys"})
        return web.json_response({"keys": []})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_session(root) as session:
            assert json.loads((await HttpFetch(session)(f"{root}/keys")).content) == {"keys": []}
            with pytest.raises(Unusable, match="another host"):
                await HttpFetch(session)(f"{root}/moved")
    finally:
        await runner.cleanup()
    assert asked == ["/keys", "/moved"]


async def test_ghsa_2gx3_rcp4_g85q_unknown_key_ids_cost_one_look_at_the_issuer(access: Access) -> None:
    """CVE-2026-101917: every token of an unknown key id fetched the keys anew."""
    key = ECKey.generate_key("P-256")
    documents = Documents(public(key, kid="k"))
    verifier, _ = await trusting(access, documents)
    access.clock.advance(60)
    await access.table.refresh()
    before = len(documents.asked)
    for number in range(100):
        with pytest.raises(AccessDenied):
            await verifier.verify(of_outside(access, key, kid=f"unknown-{number}", algorithm="ES256"))
    assert len(documents.asked) - before == 1
    assert await verifier.verify(of_outside(access, key, kid="k", algorithm="ES256"))


async def test_ghsa_2gx3_rcp4_g85q_unknown_key_ids_cost_one_look_at_the_registry(access: Access) -> None:
    """The same of this service's own keys."""
    access.clock.advance(1)
    before = access.keys.reads
    for number in range(100):
        await refused(access, forged(access, protected={"kid": f"{number:043d}"}))
    assert access.keys.reads - before == 1


async def test_ghsa_fhv5_28vv_h8m8_keys_once_read_outlast_an_issuer_that_fails(access: Access) -> None:
    """CVE-2026-48524: one failed fetch emptied what was known, and every token was refused."""
    key = ECKey.generate_key("P-256")
    documents = Documents(public(key, kid="k"))
    verifier, keys = await trusting(access, documents)
    documents.by_url.clear()
    for _ in range(5):
        access.clock.advance(400)
        await access.table.refresh()
        await keys.refresh()
        assert await verifier.verify(of_outside(access, key, kid="k", algorithm="ES256"))
        with pytest.raises(AccessDenied):
            await verifier.verify(of_outside(access, key, kid="unknown", algorithm="ES256"))


async def test_ghsa_w6j9_cwv2_h6wq_a_malformed_key_spoils_no_other_one(access: Access) -> None:
    """CVE-2026-102274: one RSA key of impossible numbers made the whole set unreadable."""
    key = ECKey.generate_key("P-256")
    malformed: Sequence[Mapping[str, object]] = (
        *(
            {"kty": "RSA", "n": n, "e": e}
            for n, e in (("", ""), ("AA", "AQAB"), ("AQAB", "AA"), ("!!", "AQAB"), (1, 2))
        ),
        *({"kty": "RSA", "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": ["RSA"]}, {}),
        *({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": "oct", "k": ""}, {"kty": "RSA", "n": None, "e": []}),
    )
    listed = [{**one, "kid": f"malformed-{number}"} for number, one in enumerate(malformed)]
    documents = Documents(*listed, public(key, kid="k"))
    documents.by_url[KEYS]["keys"] += [None, 1, "key", [], [[]]]
    verifier, _ = await trusting(access, documents)
    assert await verifier.verify(of_outside(access, key, kid="k", algorithm="ES256"))


async def test_ghsa_x33g_cr3x_6449_a_key_that_brings_another_one_s_private_half_is_not_taken(access: Access) -> None:
    """CVE-2026-102275: a private JWK was one key by its `x` and another by its `d`."""
    theirs, ours = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
    mixed = {**ours.as_dict(private=False), "d": theirs.as_dict(private=True)["d"], "kid": "mixed"}
    verifier, _ = await trusting(access, Documents(mixed, public(ECKey.generate_key("P-256"), kid="good")))
    for key in (theirs, ours):
        with pytest.raises(AccessDenied):
            await verifier.verify(of_outside(access, key, kid="mixed", algorithm="EdDSA"))


async def test_ghsa_x33g_cr3x_6449_an_own_key_is_published_as_what_was_sealed(access: Access) -> None:
    """The same of this service's own keys: what an open column says of one counts for nothing."""
    theirs, ours = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
    told = {**theirs.as_dict(private=False), "kid": "m" * 43, "alg": "EdDSA"}
    material = KeyMaterial("m" * 43, "EdDSA", ours.as_der(private=True), json.dumps(told))
    await access.keyring.add(KeyPurpose.SIGNING, material, generation=2)
    await access.keyring.refresh()
    [x] = [jwk["x"] for jwk in access.signing.jwks()["keys"] if jwk["kty"] == "OKP"]  # type: ignore[attr-defined]
    assert x == ours.as_dict(private=False)["x"]
    for key, is_good in ((ours, True), (theirs, False)):
        token = sign(header(access, alg="EdDSA", kid="m" * 43), claims(access), key, algorithm="EdDSA")
        if is_good:
            assert await access.verifier.verify(token)
        else:
            await refused(access, token)
