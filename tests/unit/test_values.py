"""Values are what their fields are, and the type checker keeps them from being changed."""

from dataclasses import FrozenInstanceError, field, replace

import pytest

from mfa_service.model import Owner, SecretHash
from mfa_service.values import value


@value
class Point:
    x: int
    y: int = field(default=0, repr=False)


def test_values_of_equal_fields_are_equal_and_found_under_one_another() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert {Point(1): "here"}[Point(1, 0)] == "here"


def test_a_value_has_its_fields_and_no_others() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]


def test_a_field_that_is_not_to_be_told_is_not() -> None:
    assert repr(Point(1, 2)) == "Point(x=1)"


def test_a_value_is_replaced_and_not_changed() -> None:
    alice = Owner("shop", "alice")
    assert replace(alice, user_name="bob") == Owner("shop", "bob")
    # The checker refuses both lines: it would call an ignored error that is none an error itself.
    Point(1).x = 2  # type: ignore[misc]
    alice.user_name = "bob"  # type: ignore[misc]


def test_what_is_not_made_for_every_request_is_frozen_at_run_time_too() -> None:
    with pytest.raises(FrozenInstanceError):
        SecretHash(b"digest").digest = b"another"  # type: ignore[misc]
