"""Fixtures that more than one folder of tests uses."""

pytest_plugins = (
    "tests.skips",
    "tests.servers.postgres",
    "tests.servers.valkey",
    "tests.contract.sql_stores",
)
