"""Logs: every event one record, whoever writes it and whatever stands in it, and nothing secret."""

import asyncio
import contextvars
import gc
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog

from mfa_service.errors import StoreUnavailable
from mfa_service.ops.logs import _Forward, bind_trace_id, configure
from mfa_service.ops.redaction import HIDDEN, describe, presentable
from mfa_service.ops.request_log import RequestLog

NOW_MS = 1_795_465_500_007
NOW = "2026-11-23T20:25:00.007Z"
HOSTILE = 'a\r\nb\x1b[31m"}\u2028\u0085\x9b2J\x00\x7f\u202e\udcff'


pytestmark = pytest.mark.usefixtures("logging_as_before")


def start(format: str = "json", level: str = "info") -> tuple[io.StringIO, RequestLog]:  # noqa: A002  # as in configure
    stream = io.StringIO()
    return stream, configure(level=level, format=format, stream=stream, now_ms=lambda: NOW_MS)


def only_record(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()  # splits at U+2028 and U+0085 too
    record: dict[str, Any] = json.loads(line)
    return record


def write_request(log: RequestLog, *, method: str = "GET", route: str = "/users/{userName}/mfadevices") -> None:
    log.request(trace_id="0" * 32, application="app", method=method, route=route, status=200, duration_ms=1.23456)


def fail(fault: Exception, *, cause: Exception | None = None) -> None:
    raise fault from cause


class TestRecords:
    def test_an_event_is_one_json_object_with_time_level_and_event_first(self) -> None:
        stream, _ = start()
        structlog.get_logger().info("started", port=8080)
        assert stream.getvalue() == f'{{"timestamp":"{NOW}","level":"info","event":"started","port":8080}}\n'

    def test_less_than_the_level_is_not_logged(self) -> None:
        stream, requests = start(level="warning")
        structlog.get_logger().info("started")
        write_request(requests)
        structlog.get_logger().warning("odd")
        assert only_record(stream)["event"] == "odd"

    def test_what_is_bound_to_the_context_stands_in_the_lines_of_libraries_too(self) -> None:
        stream, _ = start()
        structlog.contextvars.bind_contextvars(trace_id="ab" * 16)
        structlog.get_logger().info("own")
        logging.getLogger("aiohttp.server").error("theirs")
        assert [json.loads(line)["trace_id"] for line in stream.getvalue().splitlines()] == ["ab" * 16] * 2

    def test_a_bound_trace_id_stands_in_the_lines_of_its_context_alone(self) -> None:
        stream, _ = start()

        def in_a_context() -> None:
            bind_trace_id("ab" * 16)
            structlog.get_logger().info("own")
            logging.getLogger("aiohttp.server").error("theirs")

        contextvars.copy_context().run(in_a_context)
        structlog.get_logger().info("nobody's")
        own, theirs, nobodys = map(json.loads, stream.getvalue().splitlines())
        assert (own["trace_id"], theirs["trace_id"], nobodys.get("trace_id")) == ("ab" * 16, "ab" * 16, None)

    def test_a_second_configuration_replaces_the_first(self) -> None:
        first, _ = start()
        second, _ = start()
        logging.getLogger("library").warning("heard once")
        assert first.getvalue() == ""
        assert only_record(second)["event"] == "heard once"

    def test_a_stream_that_is_closed_loses_the_line_and_disturbs_nobody(self) -> None:
        stream, requests = start()
        stream.close()
        structlog.get_logger().info("lost")
        write_request(requests)
        assert stream.closed

    def test_an_unknown_format_is_refused(self) -> None:
        with pytest.raises(KeyError, match="xml"):
            start(format="xml")


class TestRequests:
    def test_a_request_is_one_line(self) -> None:
        stream, requests = start()
        write_request(requests)
        assert only_record(stream) == {
            "timestamp": NOW,
            "level": "info",
            "event": "request",
            "trace_id": "0" * 32,
            "application": "app",
            "method": "GET",
            "route": "/users/{userName}/mfadevices",
            "status": 200,
            "duration_ms": 1.235,
        }

    def test_every_request_of_a_kind_has_its_own_time_trace_id_and_duration(self) -> None:
        stream, times = io.StringIO(), iter([NOW_MS - 8, NOW_MS + 993])
        log = configure(level="info", format="json", stream=stream, now_ms=lambda: next(times))
        for trace_id, duration_ms in (("a" * 32, 0.0), ("b" * 32, 12345.6789)):
            log.request(
                trace_id=trace_id, application="app", method="GET", route="/", status=200, duration_ms=duration_ms
            )
        first, second = map(json.loads, stream.getvalue().splitlines())
        assert (first.pop("timestamp"), second.pop("timestamp")) == (
            "2026-11-23T20:24:59.999Z",
            "2026-11-23T20:25:01.000Z",
        )
        assert (first.pop("trace_id"), second.pop("trace_id")) == ("a" * 32, "b" * 32)
        assert (first.pop("duration_ms"), second.pop("duration_ms")) == (0.0, 12345.679)
        assert first == second

    def test_a_request_of_nobody_has_no_application(self) -> None:
        stream, requests = start()
        requests.request(trace_id="0" * 32, application=None, method="-", route="-", status=400, duration_ms=0)
        assert only_record(stream)["application"] is None

    def test_a_hostile_method_stays_within_its_line(self) -> None:
        stream, requests = start()
        write_request(requests, method=HOSTILE)
        assert only_record(stream)["method"] == HOSTILE.replace("\udcff", "\\udcff")

    def test_people_read_it_on_one_line(self) -> None:
        stream, requests = start(format="console")
        write_request(requests)
        assert stream.getvalue() == (
            f"20:25:00.007 info     request trace_id={'0' * 32} application=app method=GET"
            " route=/users/{userName}/mfadevices status=200 duration_ms=1.235\n"
        )


class TestHostileValues:
    def test_no_value_breaks_a_record(self) -> None:
        stream, _ = start()
        structlog.get_logger().info(HOSTILE, user=HOSTILE, nested={HOSTILE: [HOSTILE]})
        record = only_record(stream)
        seen = HOSTILE.replace("\udcff", "\\udcff")
        assert (record["event"], record["user"], record["nested"]) == (seen, seen, {seen: [seen]})
        assert "\x7f" not in stream.getvalue()

    @pytest.mark.parametrize("part", ["event", "name", "value"])
    def test_no_value_moves_a_terminals_cursor(self, part: str) -> None:
        stream, _ = start(format="console")
        name = HOSTILE if part == "name" else "user"
        structlog.get_logger().info(
            HOSTILE if part == "event" else "seen", **{name: HOSTILE if part == "value" else "alice"}
        )
        (line,) = stream.getvalue().splitlines()
        assert line.isascii()
        assert line.isprintable()

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, b"bytes", object(), {1: {2: {3}}}])
    def test_what_json_cannot_say_is_still_one_record(self, value: object) -> None:
        stream, _ = start()
        structlog.get_logger().info("é", value=value)
        assert "NaN" not in stream.getvalue()
        assert only_record(stream)["value"] is not None

    def test_a_long_value_is_cut(self) -> None:
        stream, _ = start()
        structlog.get_logger().info("seen", body="x" * 15_360)
        assert only_record(stream)["body"] == "x" * 997 + "..."

    def test_a_collection_within_itself_ends(self) -> None:
        endless: list[object] = []
        endless.append(endless)
        assert presentable("endless", endless) == [[[[[["(list)"]]]]]]


class TestSecrets:
    @pytest.mark.parametrize(
        "name",
        [
            "otp",
            "OTP",
            "secret",
            "client_secret",
            "access_token",
            "token",
            "Authorization",
            "password",
            "registrationUri",
        ],
    )
    @pytest.mark.parametrize("format_", ["json", "console"])
    def test_a_value_of_a_secret_name_is_hidden(self, name: str, format_: str) -> None:
        stream, _ = start(format=format_)
        structlog.get_logger().info("seen", **{name: "hunter2"}, nested={"of": [{name: "hunter2"}]})
        assert "hunter2" not in stream.getvalue()
        assert stream.getvalue().count(HIDDEN) == 2

    def test_an_object_shows_its_class_alone(self) -> None:
        class Holder:
            def __repr__(self) -> str:
                return "hunter2"

        assert presentable("holder", Holder()).__str__().endswith("Holder)")

    def test_a_path_is_shown(self) -> None:
        assert presentable("file", Path("var/root")) == "var/root"


class TestExceptions:
    def test_an_own_error_has_its_text_and_its_cause_has_none(self) -> None:
        stream, _ = start()
        try:
            fail(StoreUnavailable("Redis is out of reach"), cause=ValueError("hunter2"))
        except StoreUnavailable:
            structlog.get_logger().exception("failed")
        own, cause_seen = only_record(stream)["exception"]
        assert (own["type"], own["text"]) == ("mfa_service.errors.StoreUnavailable", "Redis is out of reach")
        assert (cause_seen["type"], cause_seen["text"]) == ("builtins.ValueError", "")
        assert [frame.rpartition(" ")[2] for frame in own["frames"]] == [
            "test_an_own_error_has_its_text_and_its_cause_has_none",
            "fail",
        ]
        assert "hunter2" not in stream.getvalue()

    def test_no_local_variable_is_shown(self) -> None:
        stream, _ = start()
        otp = "523471"
        try:
            int(otp + "x")
        except ValueError:
            structlog.get_logger().exception("failed")
        assert otp not in stream.getvalue()

    def test_the_operating_systems_text_is_shown_without_the_file(self) -> None:
        (seen,) = describe(OSError(28, "No space left on device", "hunter2"))
        assert seen["text"] == "No space left on device"

    def test_the_members_of_a_group_are_shown(self) -> None:
        group = ExceptionGroup("both", [ValueError("a"), StoreUnavailable("down")])
        assert [seen["text"] for seen in describe(group)] == ["", "", "down"]

    def test_an_exception_that_causes_itself_ends(self) -> None:
        first, second = ValueError(), KeyError()
        first.__cause__, second.__cause__ = second, first
        assert len(describe(first)) == 2

    def test_people_read_the_frames_below_the_event(self) -> None:
        stream, _ = start(format="console")
        try:
            fail(StoreUnavailable("down"))
        except StoreUnavailable:
            structlog.get_logger().exception("failed")
        head, kind, *frames = stream.getvalue().splitlines()
        assert head.endswith("failed")
        assert kind == '    mfa_service.errors.StoreUnavailable: "down"'
        assert [frame[:8].isspace() for frame in frames] == [True, True]


class TestLibraries:
    def test_a_librarys_warning_goes_the_same_way(self) -> None:
        stream, _ = start()
        logging.getLogger("aiohttp.server").warning("%s of %d", "one", 2)
        assert only_record(stream) == {
            "timestamp": NOW,
            "level": "warning",
            "event": "one of 2",
            "logger": "aiohttp.server",
        }

    def test_a_librarys_level_between_two_is_the_lower_one(self) -> None:
        stream, _ = start()
        logging.getLogger("library").log(35, "between")
        assert only_record(stream)["level"] == "warning"

    def test_arguments_that_do_not_fit_leave_the_template(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream, _ = start()
        root = logging.getLogger()  # pytest's own handlers raise on such a record
        monkeypatch.setattr(root, "handlers", [handler for handler in root.handlers if isinstance(handler, _Forward)])
        logging.getLogger("library").warning("%d things", "many")
        assert only_record(stream)["event"] == "%d things"

    @pytest.mark.parametrize("name", ["sqlalchemy.engine.Engine", "aiohttp.access", "asyncio"])
    def test_a_library_is_not_heard_below_warnings_even_at_debug(self, name: str) -> None:
        stream, _ = start(level="debug")
        logging.getLogger(name).info("[parameters: hunter2]")
        assert stream.getvalue() == ""

    def test_a_librarys_exception_leaves_its_text_out_of_the_event(self) -> None:
        stream, _ = start()
        fault = ValueError("hunter2")
        logging.getLogger("aiohttp.server").error("Error handling %r", fault, exc_info=fault)
        assert "hunter2" not in stream.getvalue()
        assert only_record(stream)["exception"][0]["type"] == "builtins.ValueError"

    def test_a_task_whose_exception_nobody_took_leaves_its_text_out(self) -> None:
        stream, _ = start()

        async def fail_later() -> None:
            raise ValueError("hunter2")

        async def lose_a_task() -> None:
            task = asyncio.ensure_future(fail_later())
            await asyncio.wait([task])
            del task
            gc.collect()

        asyncio.run(lose_a_task())
        assert only_record(stream)["event"] == "Task exception was never retrieved"
        assert "hunter2" not in stream.getvalue()

    def test_a_python_warning_is_a_record(self) -> None:
        stream, _ = start()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=False)
            logging.captureWarnings(capture=True)  # within pytest's own catch
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            logging.captureWarnings(capture=False)
        assert "DeprecationWarning: old" in only_record(stream)["event"]
