"""Random identifiers in their wire forms."""

import os
import re
import uuid

import pytest

from mfa_service import identifiers


def test_a_challenge_id_is_a_version_4_uuid_in_canonical_form() -> None:
    for _ in range(1_000):
        text = identifiers.auth_id(os.urandom)
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


@pytest.mark.parametrize(
    ("octet", "expected"),
    [(0x00, "00000000-0000-4000-8000-000000000000"), (0xFF, "ffffffff-ffff-4fff-bfff-ffffffffffff")],
)
def test_version_and_variant_are_all_that_is_fixed_in_a_challenge_id(octet: int, expected: str) -> None:
    assert identifiers.auth_id(lambda size: bytes([octet]) * size) == expected


def test_each_random_bit_beside_version_and_variant_reaches_a_challenge_id() -> None:
    def with_bit(bit: int) -> str:
        return identifiers.auth_id(lambda size: (1 << bit).to_bytes(size, "big"))

    assert len({with_bit(bit) for bit in range(128)}) == 122 + 1  # RFC 9562 §5.4: six bits are fixed, and give one id


def test_ids_are_unique() -> None:
    for make in (identifiers.auth_id, identifiers.device_id):
        assert len({make(os.urandom) for _ in range(10_000)}) == 10_000


def test_a_device_id_is_128_random_bits_in_hexadecimal() -> None:
    assert identifiers.device_id(lambda size: bytes(range(size))) == "000102030405060708090a0b0c0d0e0f"
    assert re.fullmatch("[0-9a-f]{32}", identifiers.device_id(os.urandom))


NOT_CANONICAL = [
    "",
    "-" * 36,
    "b8f935762e884b1d98ae450c6c11bc97",
    "B8F93576-2E88-4B1D-98AE-450C6C11BC97",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc9",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc9-",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc97 ",
    " b8f93576-2e88-4b1d-98ae-450c6c11bc97",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc9700",
    "b8f9357-62e88-4b1d-98ae-450c6c11bc97",
    "b8f93576-2e88-4b1d-98ae-450c6c11 bc9",
    "b8f93576-2e88-4b1d-98ae-450c6c11bcg7",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc9\u0667",
    "b8f93576-2e88-4b1d-98ae-450c6c11bc9\udcff",
]


def test_the_octets_of_a_challenge_id_are_those_of_the_uuid() -> None:
    for _ in range(1_000):
        text = identifiers.auth_id(os.urandom)
        assert identifiers.octets_of_auth_id(text) == uuid.UUID(text).bytes


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_what_is_no_challenge_id_has_no_octets(text: str) -> None:
    with pytest.raises(ValueError, match=r"no id|non-hexadecimal"):
        identifiers.octets_of_auth_id(text)


def test_bytes_drawn_in_blocks_are_the_sources_in_order_and_none_is_given_twice() -> None:
    drawn: list[bytes] = []

    def source(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    random_bytes = identifiers.BlockwiseRandomBytes(source).take
    given = [random_bytes(16) for _ in range(1_000)]
    assert b"".join(given) == b"".join(drawn)[: 16 * 1_000]
    assert len(drawn) == 4


@pytest.mark.parametrize("size", [0, 1, 15, 4_095, 4_096, 4_097, 10_000])
def test_as_many_bytes_are_given_as_are_asked_for(size: int) -> None:
    random_bytes = identifiers.BlockwiseRandomBytes(os.urandom).take
    given = [random_bytes(size) for _ in range(3)]
    assert [len(one) for one in given] == [size] * 3
    assert size == 0 or len(set(given)) > 1
