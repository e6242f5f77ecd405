"""What the HTTP contract shows of jobs that take long: results, progress, failed attempts, timeouts, odd endings."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.server_process import ServerProcess, eventually, running_server
from tests.integration.wire import ORIGINAL_MEMBERS

numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    env = {"BASE_DELAY": "1", "MAX_DELAY": "1", "LOG_FORMAT": "json"}
    with running_server("--workers", "2", app="long_jobs:app", env=env) as server:
        yield server


def run(server: ServerProcess, job_type: str, payload: object = None, *, until: str, **members: Any) -> Any:
    job = server.submit(job_type, payload, **members)
    return server.wait_for_status(job["id"], until)


def in_dlq(server: ServerProcess, job_id: str) -> Any:
    [dead] = [job for job in server.get("/dlq").json if job["id"] == job_id]
    return dead


# ---- results


@pytest.mark.parametrize(
    "payload", [0, False, "", [], {}, {"b": [1, 2.5, "é"], "a": None}, "x" * 65_534], ids=lambda value: repr(value)[:20]
)
def test_what_a_handler_returns_is_the_jobs_result(server: ServerProcess, payload: object) -> None:
    done = run(server, "echo", payload, until="DONE")

    assert done["result"] == payload
    assert list(done) == [*ORIGINAL_MEMBERS, "result", "attempt", "started_at", "finished_at"]


@pytest.mark.parametrize(("job_type", "payload"), [("echo", None), ("echo", "x" * 65_535), ("unkept", None)])
def test_a_job_without_a_result_that_can_be_kept_is_done(server: ServerProcess, job_type: str, payload: object) -> None:
    done = run(server, job_type, payload, until="DONE")

    assert list(done) == [*ORIGINAL_MEMBERS, "attempt", "started_at", "finished_at"]


def test_a_result_that_is_not_kept_is_a_line_in_the_log(server: ServerProcess) -> None:
    done = run(server, "echo", "x" * 65_535, until="DONE")

    line = json.loads(server.wait_for_line(f'"job_id": "{done["id"]}"'))
    assert (line["event"], line["level"], line["type"]) == ("result_not_kept", "warning", "echo")
    assert line["reason"] == "65537 bytes as JSON; at most 65536 are kept"


# ---- progress and attempts


def test_progress_is_shown_while_a_job_runs_and_when_it_is_done(server: ServerProcess, tmp_path: Path) -> None:
    job = server.submit("report", {"folder": str(tmp_path)})

    running = eventually(lambda: shown if "progress" in (shown := server.job(job["id"])) else None)
    (tmp_path / "go").touch()
    done = server.wait_for_status(job["id"], "DONE")

    assert running["status"] == "RUNNING"
    assert running["progress"] == {"fraction": 0.25, "note": "page 1 of 4"}
    assert done["progress"] == {"fraction": 1.0}


def test_a_job_goes_on_from_its_checkpoint_and_shows_the_attempts_that_failed(server: ServerProcess) -> None:
    done = run(server, "resume", until="DONE")

    assert (done["result"], done["attempt"]) == ({"steps": 3}, 3)
    assert list(done)[-1] == "attempts"
    first, second = done["attempts"]
    assert list(first) == ["attempt", "status", "started_at", "finished_at", "worker", "error", "traceback"]
    assert (first["attempt"], first["status"]) == (1, "FAILED")
    assert [first["error"], second["error"]] == [f"ConnectionError: lost at step {step}" for step in (1, 2)]
    assert first["started_at"] <= first["finished_at"] <= second["started_at"]
    assert first["traceback"].startswith("Traceback (most recent call last):\n")
    assert first["traceback"].endswith("\nConnectionError: lost at step 1\n")
    assert "count_to_three" in first["traceback"]
    assert first["traceback"].count("  File ") == 1  # the handler's own frame, none of ours


def test_only_the_last_five_attempts_are_kept(server: ServerProcess) -> None:
    dead = run(server, "fail", until="DEAD", max_retries=6)

    assert [attempt["attempt"] for attempt in dead["attempts"]] == [3, 4, 5, 6, 7]


def test_lists_leave_the_attempts_out(server: ServerProcess) -> None:
    dead = run(server, "fail", until="DEAD", max_retries=0)

    assert len(dead.pop("attempts")) == 1
    assert in_dlq(server, dead["id"]) == dead


# ---- timeouts


@pytest.mark.parametrize("member", ["timeout", "schedule_timeout"])
@pytest.mark.parametrize(("sent", "shown"), [("0.001", 0.001), ("30", 30), ("1.5", 1.5), ("31536000", 31_536_000)])
def test_a_timeout_is_shown_in_seconds(server: ServerProcess, member: str, sent: str, shown: float) -> None:
    answer = server.post("/jobs", f'{{"type":"ok","delay":3600,"{member}":{sent}}}'.encode())

    assert answer.status == 201
    assert list(answer.json) == [*ORIGINAL_MEMBERS, member]
    assert answer.json[member] == shown
    assert server.job(answer.json["id"]) == answer.json


def test_no_timeout_is_no_member(server: ServerProcess) -> None:
    job = server.submit("ok", delay=3_600, timeout=None, schedule_timeout=None)

    assert list(job) == ORIGINAL_MEMBERS


def test_a_batch_takes_timeouts_too(server: ServerProcess) -> None:
    good = {"type": "ok", "delay": 3_600, "timeout": 5, "schedule_timeout": 60}
    body = {"jobs": [good, {"type": "ok", "timeout": 0}, {"type": "ok", "schedule_timeout": "1m"}]}

    answer = server.post("/jobs/batch", json.dumps(body).encode())

    [job] = answer.json["jobs"]
    assert (job["timeout"], job["schedule_timeout"]) == (5, 60)
    assert [error["field"] for error in answer.json["errors"]] == ["timeout", "schedule_timeout"]


@pytest.mark.parametrize(
    ("job_type", "members", "allowed"), [("slow", {}, "0.01"), ("slow", {"timeout": 0.02}, "0.02")], ids=["type", "job"]
)
def test_an_attempt_that_takes_too_long_has_failed(
    server: ServerProcess, job_type: str, members: dict[str, float], allowed: str
) -> None:
    dead = run(server, job_type, until="DEAD", **members)

    assert dead["error"] == f"JobTimeoutError: ran longer than {allowed} s"
    assert dead["reason"] == "no_retry"
    assert "in be_slow" in dead["attempts"][0]["traceback"]  # where it was


def test_a_thread_that_heeds_its_timeout_has_failed_and_is_retried(server: ServerProcess, tmp_path: Path) -> None:
    dead = run(server, "heed", {"folder": str(tmp_path)}, until="DEAD", timeout=0.01, max_retries=1)

    assert (dead["error"], dead["reason"]) == ("JobTimeoutError: ran longer than 0.01 s", "retries_exhausted")
    assert (tmp_path / "stopped").read_text().split() == [dead["id"]] * 2


def test_a_job_that_waits_for_too_long_is_dead_as_expired(server: ServerProcess, tmp_path: Path) -> None:
    queue = f"busy-{next(numbers)}"
    server.post(f"/queue/{queue}")
    holders = [server.submit("report", {"folder": str(tmp_path)}) for _ in range(2)]
    for holder in holders:
        server.wait_for_status(holder["id"], "RUNNING")

    dead = run(server, "ok", until="DEAD", queue=queue, schedule_timeout=0.01)
    (tmp_path / "go").touch()

    assert (dead["reason"], dead["error"]) == ("expired", "not started within 10 ms of being due")
    assert {"attempt", "attempts"}.isdisjoint(dead)  # a worker may have taken it, and found that it is too late
    assert in_dlq(server, dead["id"]) == dead
    for holder in holders:
        server.wait_for_status(holder["id"], "DONE")


# ---- what handlers say


def test_a_job_that_snoozes_waits_and_has_spent_nothing(server: ServerProcess) -> None:
    job = server.submit("snooze", max_retries=0)

    waiting = eventually(lambda: shown if "started_at" in (shown := server.job(job["id"])) else None)
    waiting = server.wait_for_status(job["id"], "PENDING") if waiting["status"] == "RUNNING" else waiting

    assert waiting["run_after"] > job["run_after"]
    assert waiting["retry_count"] == 0
    assert {"attempt", "error", "attempts"}.isdisjoint(waiting)


def test_a_job_that_asks_for_a_retry_has_failed_and_waits_as_long_as_it_said(server: ServerProcess) -> None:
    job = server.submit("retry")

    waiting = eventually(lambda: shown if (shown := server.job(job["id"]))["retry_count"] else None)

    assert (waiting["status"], waiting["error"]) == ("PENDING", "Retry: busy")
    assert waiting["run_after"] > waiting["updated_at"]
    assert [attempt["attempt"] for attempt in waiting["attempts"]] == [1]


def test_a_job_that_asks_for_a_retry_and_has_none_left_is_dead(server: ServerProcess) -> None:
    dead = run(server, "retry", until="DEAD", max_retries=0)

    assert (dead["reason"], dead["error"]) == ("retries_exhausted", "Retry: busy")


@pytest.mark.parametrize(
    ("job_type", "reason", "error"),
    [
        ("cancel", "cancelled", "Cancel: the order was withdrawn"),
        ("discard", "discarded", "Discard: no such address"),
    ],
)
def test_a_job_its_handler_gives_up_is_dead_at_once(
    server: ServerProcess, job_type: str, reason: str, error: str
) -> None:
    dead = run(server, job_type, until="DEAD", max_retries=5)

    assert (dead["reason"], dead["error"], dead["attempt"], dead["retry_count"]) == (reason, error, 1, 0)
    assert in_dlq(server, dead["id"])["reason"] == reason
