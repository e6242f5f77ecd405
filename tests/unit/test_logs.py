"""Logs: one record is one line, whatever is in it; and which events are worth one."""

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.jobs import running

from gotaskq.events import (
    Event,
    JobAmended,
    JobCancelled,
    JobDied,
    JobDone,
    JobEnqueued,
    JobProgressed,
    JobReleased,
    JobReplayed,
    JobRetryScheduled,
    JobsLost,
    JobSnoozed,
    JobStarted,
    LeaseLapsed,
    LeaseLost,
    LoopStalled,
    QueueCreated,
)
from gotaskq.job import DeathReason
from gotaskq.logs import JsonFormatter, TextFormatter, configure_logging, log_events

JOB = running()
ABOUT_JOB = {"job_id": "7", "queue": "default", "type": "email", "attempt": 1}
HOSTILE = 'a\r\n{"level":"fake"}\x1b[31m\x00\x85\u2028\u2029\ud800"\\'


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the root logger writes during a test; its own handlers and levels come back afterwards."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    handlers, level, uvicorn_level = root.handlers[:], root.level, uvicorn.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(uvicorn_level)


def record(
    message: str, *, level: int = logging.INFO, raised: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gotaskq.test", "levelno": level, "levelname": logging.getLevelName(level)})
    made.msg = message
    made.created = 1_795_428_000.25
    made.exc_info = (type(raised), raised, raised.__traceback__) if raised is not None else None
    vars(made).update(extra)
    return made


def raised(message: str) -> ValueError:
    error = ValueError(message)
    with contextlib.suppress(ValueError):
        raise error
    return error


# ---- JSON


def test_a_record_is_one_json_object_with_its_fields() -> None:
    line = JsonFormatter().format(record("job_done", job_id="7", attempt=2, error=None))

    assert json.loads(line) == {
        "at": "2026-11-23T10:00:00.250+00:00",
        "level": "info",
        "logger": "gotaskq.test",
        "event": "job_done",
        "job_id": "7",
        "attempt": 2,
        "error": None,
    }


def test_a_traceback_is_a_member_of_the_object() -> None:
    line = JsonFormatter().format(record("failed", raised=raised("no\nluck")))

    assert "\n" not in line
    assert json.loads(line)["traceback"].endswith("ValueError: no\nluck")


def test_a_value_json_does_not_know_is_shown() -> None:
    line = JsonFormatter().format(record("odd", value=object, numbers={1}))

    assert json.loads(line)["value"] == "<class 'object'>"
    assert json.loads(line)["numbers"] == "{1}"


@given(st.text(st.characters()) | st.just(HOSTILE))
def test_nothing_can_leave_its_place_in_a_json_line(text: str) -> None:
    line = JsonFormatter().format(record("%s", args=(text,), field=text))

    assert line.isascii()
    assert line.isprintable()
    parsed = json.loads(line)
    assert (parsed["event"], parsed["field"]) == (text, text)


# ---- text


def test_a_record_is_a_line_for_people() -> None:
    line = TextFormatter().format(
        record("job_died", level=logging.WARNING, job_id="7", error="ValueError: no luck", delay_ms=5)
    )

    assert line.split(" ", 1)[1] == 'warning job_died job_id=7 error="ValueError: no luck" delay_ms=5'


@given(st.text(st.characters()) | st.just(HOSTILE))
def test_nothing_can_begin_a_line_of_text(text: str) -> None:
    line = TextFormatter().format(record("%s", args=(text,), field=text, fields=[text]))

    assert line.isprintable()
    assert line.encode("utf-8", "strict")


def test_a_traceback_stands_below_its_line_and_cannot_pass_for_one() -> None:
    line = TextFormatter().format(record("failed", raised=raised(f"no\n12:00:00 error forged\x1b[31m{HOSTILE}")))

    first, *below = line.split("\n")
    assert first.endswith("failed")
    assert below[0] == "    Traceback (most recent call last):"
    assert all(text.startswith("    ") and text.isprintable() for text in below)


# ---- configuring


@pytest.mark.parametrize(("style", "is_json"), [("json", True), ("text", False), ("auto", True)])
def test_the_style_is_as_asked_and_auto_is_json_off_a_terminal(stream: io.StringIO, style: str, is_json: bool) -> None:
    configure_logging(level="info", style=style, stream=stream)

    logging.getLogger("gotaskq.test").info("hello")

    assert stream.getvalue().startswith("{") is is_json
    assert stream.getvalue().count("\n") == 1


def test_auto_is_text_on_a_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging(level="info", style="auto", stream=stream)

    logging.getLogger("gotaskq.test").info("hello")

    assert "info    hello" in stream.getvalue()


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    configure_logging(level="warning", style="json", stream=stream)

    logging.getLogger("gotaskq.test").info("quiet")
    logging.getLogger("gotaskq.test").warning("loud")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_where_several_processes_write_each_line_names_its_own(stream: io.StringIO) -> None:
    configure_logging(level="info", style="json", stream=stream, show_pid=True)

    logging.getLogger("gotaskq.test").info("draining", extra={"running": 2})

    line = json.loads(stream.getvalue())
    assert (line["event"], line["running"], line["pid"]) == ("draining", 2, os.getpid())


def test_lines_go_to_stderr_once_however_often_it_is_configured(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(level="info", style="json")
    configure_logging(level="info", style="json")

    logging.getLogger("gotaskq.test").info("once")

    assert stream.getvalue().count("once") == 1


# ---- events


EVENTS: list[tuple[Event, str, str, dict[str, object]]] = [
    (JobEnqueued(JOB), "debug", "job_enqueued", ABOUT_JOB),
    (JobStarted(JOB), "debug", "job_started", ABOUT_JOB),
    (JobDone(JOB, 0.5), "debug", "job_done", ABOUT_JOB),
    (
        JobRetryScheduled(JOB, "E: e", 70, 0.5),
        "debug",
        "job_retry_scheduled",
        ABOUT_JOB | {"error": "E: e", "delay_ms": 70},
    ),
    (
        JobDied(JOB, DeathReason.NO_RETRY, "E: e", 0.5),
        "warning",
        "job_died",
        ABOUT_JOB | {"error": "E: e", "reason": "no_retry"},
    ),
    (JobSnoozed(JOB, 70), "debug", "job_snoozed", ABOUT_JOB | {"delay_ms": 70}),
    (JobProgressed(JOB, 0.5, "half"), "debug", "job_progressed", ABOUT_JOB | {"progress": 0.5}),
    (JobReleased(JOB, is_unhandled=True), "info", "job_released", ABOUT_JOB | {"is_unhandled": True}),
    (JobCancelled(JOB), "debug", "job_cancelled", ABOUT_JOB),
    (JobAmended(JOB), "debug", "job_amended", ABOUT_JOB),
    (JobReplayed(JOB), "debug", "job_replayed", ABOUT_JOB),
    (LeaseLapsed(JOB), "warning", "lease_lapsed", ABOUT_JOB),
    (LeaseLost(JOB), "warning", "lease_lost", ABOUT_JOB),
    (LoopStalled(1.23456), "warning", "loop_stalled", {"stalled_s": 1.235}),
    (JobsLost(3), "debug", "jobs_lost", {"partition": 3}),  # the store has said so as an error
    (QueueCreated("mail"), "info", "queue_created", {"queue": "mail"}),
]


def test_every_event_is_in_the_table() -> None:
    assert {type(event) for event, *_ in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize(("event", "level", "name", "fields"), EVENTS, ids=lambda value: type(value).__name__)
def test_an_event_is_a_line_with_its_name_level_and_fields(
    stream: io.StringIO, event: Event, level: str, name: str, fields: dict[str, object]
) -> None:
    configure_logging(level="debug", style="json", stream=stream)
    log_events(lambda observer, events: observer(event) if type(event) in events else None)

    line = json.loads(stream.getvalue())

    assert (line["event"], line["level"], line["logger"]) == (name, level, "gotaskq.logs")
    assert {key: value for key, value in line.items() if key not in ("at", "level", "logger", "event")} == fields


@pytest.mark.parametrize(
    ("level", "observed"),
    [
        ("error", set()),
        ("warning", {JobDied, LeaseLost, LeaseLapsed, LoopStalled}),
        ("info", {JobDied, LeaseLost, LeaseLapsed, LoopStalled, JobReleased, QueueCreated}),
        ("debug", set(get_args(Event))),
    ],
)
def test_an_event_whose_level_is_off_is_not_even_observed(
    stream: io.StringIO, level: str, observed: set[type[Event]]
) -> None:
    asked: list[type[Event]] = []
    configure_logging(level=level, style="json", stream=stream)

    log_events(lambda observer, events: asked.extend(events))

    assert set(asked) == observed


def test_a_payload_is_never_logged(stream: io.StringIO) -> None:
    configure_logging(level="debug", style="json", stream=stream)
    job = running(payload_json=b'"hunter2"')

    log_events(lambda observer, events: observer(JobStarted(job)))

    assert "hunter2" not in stream.getvalue()
