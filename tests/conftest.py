"""What more than one folder of tests uses, and in how many processes they run."""

import os

import pytest
from hypothesis import settings

_MOST_PROCESSES = 4  # each has a PostgreSQL and a Valkey of its own

settings.register_profile("shared-cores", deadline=None)  # where others run, one example may well take a second
settings.load_profile("shared-cores")

pytest_plugins = (
    "tests.attack.report",
    "tests.logging_as_before",
    "tests.skips",
    "tests.servers.postgres",
    "tests.servers.valkey",
    "tests.servers.oidc_provider",
    "tests.contract.sql_stores",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run tests at once: one for each core that this one may use, which psutil overlooks."""
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
