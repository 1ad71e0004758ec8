"""Connections that batches travel on: kept from one to the next, but from nobody else."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no annotations
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from mfa_service.stores.sql import postgresql, sqlite, urls
from mfa_service.stores.sql.database import Database
from mfa_service.stores.sql.expressions import batch_rows
from mfa_service.stores.sql.prepared import Prepared, prepare
from mfa_service.stores.sql.shuttle import Shuttle
from tests.clocks import ManualClock

BATCH = [("a",), ("b",)]
WHICH_SESSION = Prepared(("SELECT pg_backend_pid() WHERE $1::text <> ''",))


def shuttle_on(engine: AsyncEngine) -> Shuttle:
    return Shuttle(engine, sqlite.DRIVER if engine.dialect.name == "sqlite" else postgresql.DRIVER)


@asynccontextmanager
async def engine_on(url: str, **settings: str) -> AsyncIterator[AsyncEngine]:
    parsed = sa.make_url(url)
    is_file = parsed.drivername == urls.SQLITE
    engine = sqlite.engine(parsed) if is_file else postgresql.engine(parsed, settings=settings, command_timeout_s=None)
    yield engine
    await engine.dispose()


@pytest.fixture
async def engine(empty_registry_url: str) -> AsyncIterator[AsyncEngine]:
    async with engine_on(empty_registry_url) as made:
        yield made


@pytest.fixture
async def shuttle(engine: AsyncEngine) -> AsyncIterator[Shuttle]:
    made = shuttle_on(engine)
    yield made
    await made.close()


def statement_for(engine: AsyncEngine) -> Prepared:
    """Return a statement that gives a batch back as it is."""
    return prepare(sa.select(batch_rows(engine.dialect.name, {"word": sa.Text()})), engine.dialect)


async def run_until(enough: asyncio.Event, shuttle: Shuttle, engine: AsyncEngine) -> None:
    while not enough.is_set():
        await shuttle.run(statement_for(engine), BATCH)


def out_of(engine: AsyncEngine) -> int:
    """Return how many connections are out of the pool."""
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


async def test_batches_that_follow_one_another_travel_on_one_connection(engine: AsyncEngine, shuttle: Shuttle) -> None:
    taken_out: list[object] = []
    sa.event.listen(engine.sync_engine, "checkout", lambda connection, *_: taken_out.append(connection))
    for _ in range(3):
        assert [tuple(row) for row in await shuttle.run(statement_for(engine), BATCH)] == [("a",), ("b",)]
    assert len(taken_out) == 1


async def test_a_connection_goes_back_when_nothing_follows(engine: AsyncEngine, shuttle: Shuttle) -> None:
    await shuttle.run(statement_for(engine), BATCH)
    assert out_of(engine) == 1
    async with asyncio.timeout(5):
        while out_of(engine):  # noqa: ASYNC110  a pool sets no event
            await asyncio.sleep(0.01)


async def test_batches_without_end_keep_nobody_else_from_a_pool_of_one_connection(tmp_path: Path) -> None:
    async with engine_on(f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3") as engine:
        shuttle = shuttle_on(engine)
        enough = asyncio.Event()
        running = asyncio.create_task(run_until(enough, shuttle, engine))
        for _ in range(5):
            async with asyncio.timeout(0.5), engine.connect() as connection:
                assert await connection.scalar(sa.select(1)) == 1
        enough.set()
        await running
        await shuttle.close()


@pytest.fixture
def never_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection goes back to the pool because of its time."""
    monkeypatch.setattr("mfa_service.stores.sql.shuttle._OUT_S", 3_600)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A file, with one connection that writes."""
    made = sqlite.connect(sa.make_url(f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3"), clock=ManualClock())
    yield made
    await made.close()


@pytest.mark.usefixtures("never_in_time")
async def test_a_kept_connection_gives_way_to_whoever_needs_one(database: Database) -> None:
    batch = database.prepare(sa.select(batch_rows("sqlite", {"word": sa.Text()})))
    for _ in range(3):
        await database.write_batch(batch, BATCH)
        async with asyncio.timeout(5), database.transaction() as connection:
            assert await connection.scalar(sa.select(1)) == 1
        await database.write_batch(batch, BATCH)
        async with asyncio.timeout(5):
            assert len(await database.write(sa.select(1))) == 1


@pytest.mark.usefixtures("never_in_time")
async def test_batches_of_two_kinds_give_way_to_each_other(tmp_path: Path) -> None:
    async with engine_on(f"sqlite+aiosqlite:///{tmp_path}/one.sqlite3") as engine:
        shuttle = shuttle_on(engine)
        async with asyncio.timeout(0.5):
            await asyncio.gather(*(shuttle.run(statement_for(engine), BATCH) for _ in range(3)))
        await shuttle.close()


@asynccontextmanager
async def one_connection(folder: Path) -> AsyncIterator[tuple[AsyncEngine, Shuttle, list[object]]]:
    """Give a pool of one connection, and what lists each time that it is taken out."""
    async with engine_on(f"sqlite+aiosqlite:///{folder}/one.sqlite3") as engine:
        taken: list[object] = []
        sa.event.listen(engine.sync_engine, "checkout", lambda _connection, entry, _proxy: taken.append(entry))
        shuttle = shuttle_on(engine)
        async with asyncio.timeout(5):
            yield engine, shuttle, taken
        await shuttle.close()
        assert out_of(engine) == 0


@pytest.mark.usefixtures("never_in_time")
async def test_batches_hand_the_one_connection_on_by_turns_and_take_it_out_once(tmp_path: Path) -> None:
    async with one_connection(tmp_path) as (engine, shuttle, taken):
        done: list[int] = []

        async def run(number: int) -> None:
            assert len(await shuttle.run(statement_for(engine), BATCH)) == 2
            done.append(number)

        await run(0)
        await asyncio.gather(*map(run, range(1, 9)))
        assert done == [*range(9)]
        assert len(taken) == 1


@pytest.mark.usefixtures("never_in_time")
async def test_a_batch_that_is_cancelled_while_it_waits_costs_nobody_anything(
    tmp_path: Path,
) -> None:
    async with one_connection(tmp_path) as (engine, shuttle, _):
        await shuttle.run(statement_for(engine), BATCH)
        first, second, third = (asyncio.create_task(shuttle.run(statement_for(engine), BATCH)) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        assert len(await first) == len(await third) == 2
        assert second.cancelled()
        assert out_of(engine) == 1


@pytest.mark.usefixtures("never_in_time")
async def test_a_batch_that_is_cancelled_just_as_it_gets_the_connection_passes_it_on(tmp_path: Path) -> None:
    async with one_connection(tmp_path) as (engine, shuttle, _):

        async def run_and_cancel() -> None:
            await shuttle.run(statement_for(engine), BATCH)
            second.cancel()

        await shuttle.run(statement_for(engine), BATCH)
        first = asyncio.create_task(run_and_cancel())
        second, third = (asyncio.create_task(shuttle.run(statement_for(engine), BATCH)) for _ in range(2))
        await first
        assert len(await third) == 2
        assert second.cancelled()
        assert out_of(engine) == 1
        assert len(await shuttle.run(statement_for(engine), BATCH)) == 2


@pytest.mark.usefixtures("never_in_time")
async def test_batches_that_wait_for_a_connection_that_is_lost_look_for_one_themselves(tmp_path: Path) -> None:
    async with one_connection(tmp_path) as (engine, shuttle, taken):
        failing = asyncio.create_task(shuttle.run(Prepared(("SELECT * FROM no_such_table",)), BATCH))
        others = [asyncio.create_task(shuttle.run(statement_for(engine), BATCH)) for _ in range(3)]
        with pytest.raises(sqlite3.OperationalError):
            await failing
        assert [len(await other) for other in others] == [2, 2, 2]
        assert len(taken) == 2  # by the first of them, which hands it on


@pytest.mark.usefixtures("never_in_time")
async def test_a_connection_that_comes_to_a_cancelled_batch_goes_to_whoever_wants_one(tmp_path: Path) -> None:
    async with one_connection(tmp_path) as (engine, shuttle, _):

        async def run_and_want_it() -> None:
            await shuttle.run(statement_for(engine), BATCH)
            with shuttle.wanted():
                second.cancel()
                await asyncio.wait({second})
                await asyncio.sleep(0.1)
                assert out_of(engine) == 0

        await shuttle.run(statement_for(engine), BATCH)
        first = asyncio.create_task(run_and_want_it())
        second = asyncio.create_task(shuttle.run(statement_for(engine), BATCH))
        await first
        assert second.cancelled()


IS_FOR_READING = Prepared(("SELECT query_only FROM pragma_query_only WHERE ? <> ''",))


async def test_what_is_read_to_be_written_travels_by_the_connection_that_writes(database: Database) -> None:
    assert [row[0] for row in await database.read_batch_to_write(IS_FOR_READING, BATCH)] == [0]
    assert [row[0] for row in await database.read_batch(IS_FOR_READING, BATCH)] == [1]


async def test_what_is_read_to_be_written_waits_for_no_transaction(database: Database) -> None:
    async with asyncio.timeout(5), database.transaction():
        assert [row[0] for row in await database.read_batch_to_write(IS_FOR_READING, BATCH)] == [1]
        waiting = asyncio.create_task(database.write(sa.select(1)))
        await asyncio.sleep(0)
        assert [row[0] for row in await database.read_batch_to_write(IS_FOR_READING, BATCH)] == [1]
    await waiting


async def test_what_is_read_to_be_written_does_not_wait_for_another_processs_lock(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text("CREATE TABLE words (word TEXT)"))
    write = Prepared(("INSERT INTO words SELECT ?",))
    await database.write_batch(write, BATCH)
    other = sqlite3.connect(database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write_batch(write, BATCH))
    await asyncio.sleep(0.01)
    assert [row[0] for row in await database.read_batch_to_write(IS_FOR_READING, BATCH)] == [1]
    assert not writing.done()
    other.close()
    await writing


async def test_a_batch_that_cannot_be_sent_costs_no_connection(engine: AsyncEngine, shuttle: Shuttle) -> None:
    await shuttle.run(statement_for(engine), BATCH)
    with pytest.raises(TypeError):
        await shuttle.run(statement_for(engine), [("\ud800",)])
    assert out_of(engine) == 1


@pytest.mark.usefixtures("never_in_time")
async def test_a_connection_in_use_gives_way_when_its_batch_is_done(database: Database) -> None:
    batch = database.prepare(sa.select(batch_rows("sqlite", {"word": sa.Text()})))
    enough = asyncio.Event()

    async def run_without_end() -> None:
        while not enough.is_set():
            await database.write_batch(batch, BATCH)

    async def transact() -> None:
        async with asyncio.timeout(5), database.transaction() as connection:
            assert await connection.scalar(sa.select(1)) == 1

    running = asyncio.create_task(run_without_end())
    await asyncio.gather(*(transact() for _ in range(5)))
    enough.set()
    await running


@pytest.mark.usefixtures("never_in_time")
async def test_a_connection_of_a_pool_that_was_given_up_meanwhile_is_not_kept(postgres_registry_url: str) -> None:
    async with engine_on(postgres_registry_url) as engine:
        shuttle = shuttle_on(engine)
        [[pid]] = await shuttle.run(WHICH_SESSION, BATCH)
        slow = Prepared(("SELECT pg_backend_pid() FROM pg_sleep(0.1) WHERE $1::text <> ''",))
        running = asyncio.create_task(shuttle.run(slow, BATCH))
        await asyncio.sleep(0.02)
        await engine.dispose()
        assert [list(row) for row in await running] == [[pid]]
        [[another]] = await shuttle.run(WHICH_SESSION, BATCH)
        assert another != pid
        await shuttle.close()


async def test_a_connection_that_a_statement_failed_on_goes_back_and_is_good(
    engine: AsyncEngine, shuttle: Shuttle
) -> None:
    with pytest.raises(Exception, match="no_such_table"):
        await shuttle.run(Prepared(("SELECT * FROM no_such_table",)), BATCH)
    assert out_of(engine) == 0
    assert len(await shuttle.run(statement_for(engine), BATCH)) == 2


async def test_a_connection_whose_caller_was_cancelled_is_not_used_again(postgres_registry_url: str) -> None:
    async with engine_on(postgres_registry_url) as engine:
        shuttle = shuttle_on(engine)
        [[pid]] = await shuttle.run(WHICH_SESSION, BATCH)
        running = asyncio.create_task(shuttle.run(WHICH_SESSION, BATCH))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert out_of(engine) == 0
        [[another]] = await shuttle.run(WHICH_SESSION, BATCH)
        assert another != pid
        await shuttle.close()


async def test_closing_puts_back_what_is_kept_and_keeps_none_from_then_on(
    engine: AsyncEngine, shuttle: Shuttle
) -> None:
    await shuttle.run(statement_for(engine), BATCH)
    await shuttle.close()
    assert out_of(engine) == 0
    await shuttle.run(statement_for(engine), BATCH)
    assert out_of(engine) == 0


async def test_a_kept_connection_that_the_server_has_closed_is_not_used(postgres_registry_url: str) -> None:
    async with engine_on(postgres_registry_url) as engine:
        shuttle = shuttle_on(engine)
        [[pid]] = await shuttle.run(WHICH_SESSION, BATCH)
        [kept] = [out.pooled.driver_connection for out in shuttle._kept]
        assert kept is not None
        await kept.close()
        [[another]] = await shuttle.run(WHICH_SESSION, BATCH)
        assert another != pid
        await shuttle.close()


async def test_every_connection_to_a_server_that_takes_no_writes_any_more_is_dropped(
    postgres_registry_url: str,
) -> None:
    async with engine_on(postgres_registry_url) as engine:
        shuttle = shuttle_on(engine)
        no_writes = Prepared(("SELECT set_config('default_transaction_read_only', 'on', false) WHERE $1::text <> ''",))
        async with asyncio.timeout(10):
            while out_of(engine) < 2:  # a batch that waits for its connection has the other one put back its own
                await asyncio.gather(*(shuttle.run(no_writes, BATCH) for _ in range(2)))
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await shuttle.run(Prepared(("DELETE FROM keys WHERE id = $1::text",)), BATCH)
        assert out_of(engine) == 0
        await shuttle.run(Prepared(("DELETE FROM keys WHERE id = $1::text",)), BATCH)  # on a new one
        await shuttle.close()
