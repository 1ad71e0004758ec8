import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.model import Algorithm
from mfa_service.otp.rfc2104 import Hmac

_DATA = Path(__file__).parents[2] / "data" / "otp"
_ALGORITHMS: tuple[Algorithm, ...] = ("SHA1", "SHA256", "SHA512")

algorithms = st.sampled_from(_ALGORITHMS)
# 64 and 128 bytes are the blocks of the hash functions: keys below, at and above both.
keys = st.one_of(
    st.binary(max_size=300), *(st.binary(min_size=size, max_size=size) for size in (63, 64, 65, 127, 128, 129))
)


def _cases(name: str) -> list[dict[str, str]]:
    text = "\n".join(line for line in (_DATA / name).read_text().splitlines() if not line.startswith("#"))
    return [dict(line.split(" = ") for line in block.splitlines()) for block in text.strip().split("\n\n")]


_VECTORS = [
    pytest.param(
        algorithm,
        *(bytes.fromhex(case[field]) for field in ("key", "data", algorithm)),
        id=f"{rfc}-{algorithm}-{case['case']}",
    )
    for rfc, cases in (("rfc2202", _cases("rfc2202_hmac_sha1.txt")), ("rfc4231", _cases("rfc4231_hmac_sha2.txt")))
    for case in cases
    for algorithm in _ALGORITHMS
    if algorithm in case
]


def test_the_vector_files_hold_every_case_of_the_rfcs() -> None:
    assert len(_VECTORS) == 7 + 2 * 7


@pytest.mark.parametrize(("algorithm", "key", "data", "expected"), _VECTORS)
def test_the_digest_is_that_of_the_rfc(algorithm: Algorithm, key: bytes, data: bytes, expected: bytes) -> None:
    assert Hmac(key, algorithm).digest(data)[: len(expected)] == expected


@given(key=keys, message=st.binary(max_size=300), algorithm=algorithms)
def test_the_digest_of_any_key_and_message_is_that_of_the_standard_library(
    key: bytes, message: bytes, algorithm: Algorithm
) -> None:
    assert Hmac(key, algorithm).digest(message) == hmac.digest(key, message, algorithm)


@given(key=keys, messages=st.lists(st.binary(max_size=40), max_size=5), algorithm=algorithms)
def test_one_key_serves_many_messages(key: bytes, messages: list[bytes], algorithm: Algorithm) -> None:
    mac = Hmac(key, algorithm)
    assert [mac.digest(message) for message in messages] == [hmac.digest(key, m, algorithm) for m in messages]


def test_the_repr_shows_no_key() -> None:
    mac = Hmac(b"a very secret key", "SHA256")
    assert "secret" not in repr(mac)
    assert b"a very secret key".hex() not in repr(mac)
    assert not hasattr(mac, "__dict__")
