"""Two nodes that nothing happens to but what is asked of them."""

from collections.abc import Iterator

import pytest

from tests.fault.nodes import Site, site
from tests.servers import postgres


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, redis_url: str) -> Iterator[Site]:
    """Two nodes on the servers that other tests use as well."""
    with (
        postgres.database(postgres_url) as database_url,
        site(tmp_path_factory.mktemp("two-nodes"), database_url=database_url, redis_url=redis_url) as running,
    ):
        yield running
