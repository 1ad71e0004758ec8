"""What a running service has loaded: whatever it need not have costs each of its processes memory."""

import shutil
import sys
from pathlib import Path

from mfa_service.settings import Settings
from tests.servers.service_process import running

OF_OTHER_NODES = ("redis", "hiredis", "gunicorn", "segno", "asyncpg", "sqlalchemy.dialects.postgresql")
SERVE = """\
import atexit, sys
from mfa_service.cli import main

atexit.register(lambda: print(*sys.modules))
main()
"""


def test_an_embedded_node_of_one_worker_loads_nothing_that_others_alone_need(
    tmp_path: Path, sqlite_template: Path
) -> None:
    registry = tmp_path / Settings().data_dir / "registry.sqlite3"
    registry.parent.mkdir(mode=0o700)
    shutil.copy(sqlite_template, registry)  # a first start needs more, to make one
    with running([sys.executable, "-c", SERVE, "serve", "--port", "0"], folder=tmp_path) as service:
        pass
    loaded = set(service.stdout.split())
    assert service.exit_code == 0
    assert {"mfa_service.opening", "mfa_service.node", "uvloop"} <= loaded
    assert loaded.intersection(OF_OTHER_NODES) == set()
