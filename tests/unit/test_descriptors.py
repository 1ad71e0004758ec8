"""How many open files a process asks for."""

import resource
from collections.abc import Iterator

import pytest

from mfa_service.ops import descriptors


@pytest.fixture(autouse=True)
def _limits_as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_limit_is_raised_as_far_as_it_may_be() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    descriptors.raise_limit()
    raised, still_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raised == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
    assert still_hard == hard
