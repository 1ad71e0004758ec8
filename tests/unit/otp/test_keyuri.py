import base64
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.model import TotpParameters
from mfa_service.otp import keyuri, totp

_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
_LOOKS_LIKE_A_COLON = "\ua789"

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)
hostile = pytest.mark.parametrize(
    "name",
    [
        "a:b",
        "a%3Ab",
        "::",
        "a/b",
        "../../hotp/x",
        "..",
        "?secret=AAAA",
        "&secret=AAAA",
        "&issuer=Evil",
        "x?secret=AAAA&issuer=Evil#",
        "#fragment",
        "100 %",
        "a+b c",
        "\"double\" and 'single'",
        "<script>",
        "back\\slash",
        "user@example.com",
        "[::1]",
        ";=,",
        "日本語",
        "\U0001f511\U0001f469\u200d\U0001f4bb",
        "é" * 255,
    ],
)


def _uri(*, issuer: str = "Example", user_name: str = "alice", parameters: TotpParameters | None = None) -> str:
    return keyuri.registration_uri(
        issuer=issuer, user_name=user_name, secret_base32=_SECRET, parameters=parameters or TotpParameters()
    )


def _shown(name: str) -> str:
    return name.replace(":", _LOOKS_LIKE_A_COLON)


def _assert_reads_as(uri: str, *, issuer: str, user_name: str) -> None:
    """Read the URI by the generic syntax, with the label decoded before it is split as most authenticators do."""
    assert re.fullmatch(r"[A-Za-z0-9\-._~%:/?&=]+", uri)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert uri.count("/") == len("///")  # those of otpauth://totp/, none from a name
    assert unquote(parts.path).removeprefix("/").split(":") == [issuer, user_name]
    assert parse_qs(parts.query, strict_parsing=True) == {
        "secret": [_SECRET],
        "issuer": [issuer],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }


def test_a_plain_uri_is_written_out() -> None:
    assert _uri(issuer="ACME Co", user_name="alice@example.com") == (
        "otpauth://totp/ACME%20Co:alice%40example.com"
        f"?secret={_SECRET}&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30"
    )


@hostile
def test_a_user_name_stays_within_the_label(name: str) -> None:
    _assert_reads_as(_uri(user_name=name), issuer="Example", user_name=_shown(name))


@hostile
def test_an_issuer_stays_within_its_two_places(name: str) -> None:
    _assert_reads_as(_uri(issuer=name), issuer=_shown(name), user_name="alice")


@given(issuer=names, user_name=names)
def test_any_two_names_are_read_back(issuer: str, user_name: str) -> None:
    _assert_reads_as(_uri(issuer=issuer, user_name=user_name), issuer=_shown(issuer), user_name=_shown(user_name))


@hostile
def test_pyotp_reads_the_names_and_the_one_secret(name: str) -> None:
    read = pyotp.parse_uri(_uri(issuer=name, user_name=name))
    assert (read.secret, read.issuer, read.name) == (_SECRET, _shown(name), _shown(name))


@given(
    secret=st.sampled_from([20, 32, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    parameters=st.builds(
        TotpParameters,
        algorithm=st.sampled_from(["SHA1", "SHA256", "SHA512"]),
        digits=st.sampled_from([6, 8]),
        period_s=st.sampled_from([30, 60]),
    ),
    now_ms=st.integers(min_value=0, max_value=10**13),
)
def test_pyotp_makes_the_codes_of_a_device_from_its_uri(secret: bytes, parameters: TotpParameters, now_ms: int) -> None:
    uri = keyuri.registration_uri(
        issuer="Example",
        user_name="alice",
        secret_base32=keyuri.base32_unpadded(secret),
        parameters=parameters,
    )
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    step = totp.step_at(now_ms, parameters.period_s)
    assert read.at(now_ms // 1000) == totp.code_at(secret, parameters, step)


@pytest.mark.parametrize(("size", "length"), [(20, 32), (32, 52), (64, 103)])
def test_base32_of_every_secret_size_has_no_padding(size: int, length: int) -> None:
    text = keyuri.base32_unpadded(bytes(range(size)))
    assert re.fullmatch(f"[A-Z2-7]{{{length}}}", text)


@given(secret=st.binary(max_size=80))
def test_base32_is_decoded_to_the_same_bytes(secret: bytes) -> None:
    text = keyuri.base32_unpadded(secret)
    assert base64.b32decode(text + "=" * (-len(text) % 8)) == secret
