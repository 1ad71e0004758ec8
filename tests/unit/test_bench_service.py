"""What `make bench` sends, counts and says."""

import itertools
import json
import os
import subprocess
import sys
from array import array
from dataclasses import replace

import psutil
import pytest

from bench import calls, cores, fleet, plan, service_report
from bench.connections import Expected, Load, UnexpectedAnswer, body_of, described
from bench.generator import shares
from bench.processes import Tree
from bench.rounds import FLOOR, INITIATE, VALIDATE
from bench.service_report import Results, Storage
from bench.sweeps import Arrangement, Cell, Figures, Spent, Sweep, cell_of, figures_of, joined
from mfa_service.otp import totp

NOW_MS = 1_790_000_000_000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 15\r\n\r\n" + b'{"code":"10008"'
FIGURES = Figures(
    per_s=1000.0,
    p50_ms=2.0,
    p99_ms=3.0,
    p999_ms=4.0,
    cpu_us=100.0,
    redis_us=5.0,
    database_us=6.0,
    generator_us=7.0,
    rss_mib=90.0,
)
ARRANGEMENT = Arrangement("scaled-out", workers=1, connections=64, devices=20_000)


def sweep(*latencies_ms: float, service_s: float = 0.0, rss_bytes: int = 0) -> Sweep:
    latencies_ns = array("q", (int(one * 1e6) for one in latencies_ms))
    return Sweep(0.5, latencies_ns, Spent(service_s, 0.002, 0.004, 0.006), rss_bytes)


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", ANSWER[:-1]])
def test_an_answer_that_is_not_complete_has_no_body_yet(received: bytes) -> None:
    assert body_of(received) is None


def test_an_answer_is_complete_with_as_many_bytes_as_its_head_says() -> None:
    assert body_of(ANSWER) == b'{"code":"10008"'


def test_an_answer_of_unknown_length_ends_the_run() -> None:
    with pytest.raises(UnexpectedAnswer):
        body_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_of_an_unexpected_answer_status_and_code_are_told_and_nothing_else() -> None:
    assert described(ANSWER + b',"access_token":"xyz"}') == 'answered HTTP/1.1 200 OK, "code":"10008"'


@pytest.mark.parametrize(
    ("available", "workers", "service", "others"),
    [({4, 2}, 1, {2}, {4}), ({0, 1, 2, 3}, 2, {0, 1}, {2, 3}), ({0, 1}, 2, {0, 1}, {0, 1}), ({0}, 1, {0}, {0})],
)
def test_each_worker_has_a_core_of_its_own_where_one_is_left_for_the_rest(
    available: set[int], workers: int, service: set[int], others: set[int]
) -> None:
    assert cores.divide(available, workers) == cores.Cores(service, others)


@pytest.mark.parametrize(("processes", "connections", "count"), [(1, 64, 1), (3, 64, 3), (4, 2, 2)])
def test_the_processes_share_requests_and_connections_and_none_is_idle(
    processes: int, connections: int, count: int
) -> None:
    load = Load(1, [b"%d" % number for number in range(100)], Expected(200, b""), connections)
    found = shares(load, processes)
    assert len(found) == count
    assert sum(share.connections for share in found) == connections
    assert min(share.connections for share in found) > 0
    assert sorted(one for share in found for one in share.requests) == sorted(load.requests)


def test_blocks_take_every_device_once_before_they_begin_again() -> None:
    blocks = [[one.id for one in fleet.block(12, 4, number)] for number in range(3)]
    assert sorted(itertools.chain.from_iterable(blocks)) == sorted(fleet.device(number).id for number in range(12))
    assert sorted(one.id for one in fleet.block(12, 4, 3)) == sorted(blocks[0])


@pytest.mark.parametrize("moment_ms", [NOW_MS, NOW_MS + 60_000])
def test_a_right_code_counts_for_a_minute(moment_ms: int) -> None:
    device = fleet.device(7)
    otp = fleet.right_code(device, NOW_MS)
    assert totp.match(device.secret, fleet.PARAMETERS, otp, now_ms=moment_ms, window_steps=1) is not None


def test_a_wrong_code_never_counts_within_a_minute() -> None:
    for number in range(50):
        device = fleet.device(number)
        otp = fleet.wrong_code(device, NOW_MS)
        for moment_ms in range(NOW_MS, NOW_MS + 60_001, 5_000):
            assert totp.match(device.secret, fleet.PARAMETERS, otp, now_ms=moment_ms, window_steps=1) is None


def test_requests_are_whole_and_tell_the_length_of_their_bodies() -> None:
    head, _, body = calls.validate("an-id", "123456", "a-token").partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert line == "POST /ciam-mfa/v2/deviceAuthentications/an-id HTTP/1.1"
    assert dict(field.split(": ") for field in fields) == {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Authorization": "Bearer a-token",
    }
    assert json.loads(body) == {"deviceType": "TOTP", "otp": "123456"}


def test_figures_are_per_request() -> None:
    found = figures_of(sweep(*range(1, 1001), service_s=0.1, rss_bytes=3 << 20))
    assert (found.per_s, found.cpu_us, found.redis_us, found.database_us, found.generator_us) == (2000, 100, 2, 4, 6)
    assert (found.p50_ms, found.p99_ms, found.p999_ms) == pytest.approx((500, 990, 999), rel=1e-3)
    assert found.rss_mib == 3


def test_a_process_that_ends_just_before_it_is_asked_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        gone = psutil.Process(child.pid)
        child.communicate(b"\n")
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [gone])
    own = Tree(os.getpid())
    assert own.cpu_s() > 0
    assert own.rss_bytes() > 0


def test_sweeps_one_after_the_other_count_as_one() -> None:
    found = joined([sweep(1.0, service_s=0.2, rss_bytes=5), sweep(2.0, 3.0, service_s=0.1, rss_bytes=4)])
    assert found.elapsed_s == 1.0
    assert list(found.latencies_ns) == [1_000_000, 2_000_000, 3_000_000]
    assert found.spent.service_s == pytest.approx(0.3)
    assert found.rss_bytes == 5


def test_a_cell_is_the_median_of_each_figure() -> None:
    runs = [sweep(1.0, service_s=0.3), sweep(3.0, service_s=0.1), sweep(2.0, service_s=0.2)]
    figures = cell_of(ARRANGEMENT, VALIDATE, runs).figures
    assert figures.cpu_us == pytest.approx(200_000)
    assert figures.p50_ms == pytest.approx(2.0, rel=1e-3)


def results(*, initiate_us: float, arrangement: Arrangement = ARRANGEMENT) -> Results:
    floor = Cell(arrangement, FLOOR, replace(FIGURES, cpu_us=40.0, rss_mib=500.0))
    return Results([floor, Cell(arrangement, INITIATE, replace(FIGURES, cpu_us=initiate_us))])


@pytest.mark.parametrize(("cpu_us", "said"), [(60.0, "1.50 times, at most 1.5: met"), (60.8, "at most 1.5: NOT MET")])
def test_a_call_is_held_against_the_floor_of_its_own_arrangement(cpu_us: float, said: str) -> None:
    [line] = [line for line in service_report.verdicts(results(initiate_us=cpu_us)) if line.startswith("initiate")]
    assert line.endswith(said)


def test_the_largest_registry_is_held_against_the_smallest() -> None:
    found = results(initiate_us=50.0)
    found.add(results(initiate_us=50.0, arrangement=replace(ARRANGEMENT, devices=1_000)))
    found.add(results(initiate_us=60.0, arrangement=replace(ARRANGEMENT, devices=1_000_000)))
    assert "initiate, scaled-out: CPU of 1,000,000 devices to 1,000 1.20 times, at most 1.1: NOT MET" in [
        *service_report.verdicts(found)
    ]


def test_the_memory_goal_is_the_services_not_the_floors() -> None:
    assert "memory of a worker 90.00 MiB, at most 120: met" in [*service_report.verdicts(results(initiate_us=50.0))]


def test_the_table_has_a_row_for_each_call_and_tells_what_failed() -> None:
    found = results(initiate_us=50.0)
    found.storage.append(Storage("scaled-out", 20_000, 1234.5, 200.0))
    found.failures.append("a call")
    _, title, _, floor, initiate, storage, failure = service_report.table(found)
    assert title == "scaled-out, 1 worker, 64 connections, 20,000 devices"
    assert floor.split()[:3] == ["floor", "40.0", "1.00"]
    assert initiate.split()[:6] == ["initiate", "50.0", "1.25", "5.0", "6.0", "1,000"]
    assert "1,234 bytes" in storage
    assert "200 in Redis" in storage
    assert failure == "FAILED a call"


def test_the_results_are_kept_with_their_ratio_to_the_floor() -> None:
    kept = json.loads(service_report.as_json(results(initiate_us=50.0), FIGURES))
    [_, cell] = kept["cells"]
    assert (cell["call"], cell["workers"], cell["cpu_us"], cell["to_floor"]) == ("initiate", 1, 50.0, 1.25)
    assert kept["ceiling_per_s"] == 1000.0


def test_the_full_benchmark_begins_with_what_the_short_one_measures() -> None:
    full, short = (
        [
            (scene.setup.name, scene.workers, scene.devices, scene.turns, connections, size)
            for scene in scenes
            for connections, size in scene.sizes
        ]
        for scenes in (plan.full(), plan.short())
    )
    assert set(short) <= set(full)
    assert all(size.block * size.blocks * turns >= 20_000 for *_, turns, _, size in short)
