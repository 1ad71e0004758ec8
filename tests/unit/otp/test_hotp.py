from pathlib import Path

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.otp import hotp, keyuri
from mfa_service.otp.rfc2104 import Hmac

_LINES = (Path(__file__).parents[2] / "data" / "otp" / "rfc4226_appendix_d.txt").read_text().splitlines()
_SECRET = next(line.split()[1].encode() for line in _LINES if line.startswith("secret "))
_TABLE = [line.split() for line in _LINES if line[0].isdigit()]


def test_the_vector_file_holds_every_count_of_appendix_d() -> None:
    assert [int(row[0]) for row in _TABLE] == list(range(10))


@pytest.mark.parametrize(("count", "digest"), [(int(row[0]), row[1]) for row in _TABLE])
def test_the_hmac_of_a_counter_is_that_of_appendix_d(count: int, digest: str) -> None:
    assert Hmac(_SECRET, "SHA1").digest(count.to_bytes(8, "big")).hex() == digest


@pytest.mark.parametrize(("digest", "in_hex", "in_decimal"), [row[1:4] for row in _TABLE])
def test_the_truncated_value_is_that_of_appendix_d(digest: str, in_hex: str, in_decimal: str) -> None:
    assert hotp.truncate(bytes.fromhex(digest)) == int(in_hex, 16) == int(in_decimal)


@pytest.mark.parametrize(("count", "six_digits"), [(int(row[0]), row[4]) for row in _TABLE])
def test_the_code_is_that_of_appendix_d(count: int, six_digits: str) -> None:
    assert hotp.code(Hmac(_SECRET, "SHA1"), count, 6) == six_digits


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize(("count", "truncated"), [(int(row[0]), row[3]) for row in _TABLE])
def test_a_code_of_any_length_is_the_last_digits_of_the_truncated_value(
    count: int, truncated: str, digits: int
) -> None:
    assert hotp.code(Hmac(_SECRET, "SHA1"), count, digits) == truncated[-digits:]


def test_truncation_takes_the_example_of_section_5_4() -> None:
    assert hotp.truncate(bytes.fromhex("1f8698690e02ca16618550ef7f19da8e945b555a")) == 0x50EF7F19


def test_truncation_clears_the_sign_bit() -> None:
    assert hotp.truncate(b"\xff\xff\xff\xff" + bytes(16)) == 0x7FFFFFFF


def test_truncation_reads_to_the_last_byte_but_one_of_the_highest_offset() -> None:
    assert hotp.truncate(bytes(15) + b"\x01\x02\x03\x04\x0f") == 0x01020304


@given(
    secret=st.binary(min_size=14, max_size=80),  # pyotp takes 112 bits or more
    counter=st.integers(min_value=0, max_value=2**64 - 1),
    digits=st.sampled_from([6, 7, 8]),
)
def test_the_code_of_any_secret_and_counter_is_that_of_pyotp(secret: bytes, counter: int, digits: int) -> None:
    code = hotp.code(Hmac(secret, "SHA1"), counter, digits)
    assert code == pyotp.HOTP(keyuri.base32_unpadded(secret), digits=digits).at(counter)
    assert len(code) == digits


@pytest.mark.parametrize("digits", [-6, 0, 5, 9, 10])
def test_another_number_of_digits_is_refused(digits: int) -> None:
    with pytest.raises(ValueError, match="6, 7 or 8"):
        hotp.code(Hmac(_SECRET, "SHA1"), 0, digits)


@pytest.mark.parametrize("counter", [-1, 2**64])
def test_a_counter_beyond_eight_bytes_is_refused(counter: int) -> None:
    with pytest.raises(OverflowError):
        hotp.code(Hmac(_SECRET, "SHA1"), counter, 6)
