"""Fixtures that more than one folder of tests uses."""

from hypothesis import settings

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
