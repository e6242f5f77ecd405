"""`POST /jobs/{id}/cancel` and `DELETE /jobs/{id}`: jobs that wait, run in each way, have ended, or are not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.server_process import ServerProcess, eventually, running_server
from tests.integration.wire import assert_is_error

NOT_THERE = ["1", "9" * 19, "abc", "-1", "9" * 21]
IN_CHILDREN = [pytest.param(job_type, marks=pytest.mark.slow) for job_type in ("in-child", "async-in-child")]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server("--workers", "4", app="long_jobs:app", env={"BASE_DELAY": "1", "MAX_DELAY": "1"}) as server:
        yield server


def start(server: ServerProcess, job_type: str, folder: Path, **members: Any) -> str:
    """Submit a job and return its id once its handler runs."""
    job_id: str = server.submit(job_type, {"folder": str(folder)}, **members)["id"]
    eventually((folder / "started").exists)
    return job_id


def ended(server: ServerProcess, job_type: str, status: str) -> str:
    job_id: str = server.submit(job_type, max_retries=0)["id"]
    server.wait_for_status(job_id, status)
    return job_id


def is_gone(server: ServerProcess, job_id: str) -> bool:
    return server.get(f"/jobs/{job_id}").status == 404


# ---- cancelling


@pytest.mark.parametrize("delay", [0, 3_600])
def test_a_waiting_job_is_cancelled_at_once(server: ServerProcess, delay: int) -> None:
    queue = "cancel-me" if delay == 0 else "default"
    server.post("/queue/cancel-me")
    job = server.submit("no-handler", delay=delay, queue=None if delay else queue)

    answer = server.post(f"/jobs/{job['id']}/cancel")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["status"] == "CANCELLED"
    assert answer.json["finished_at"] == answer.json["updated_at"]
    assert "cancel_requested" not in answer.json
    assert server.job(job["id"]) == answer.json


@pytest.mark.parametrize("job_type", ["wait", "heed", *IN_CHILDREN])
def test_a_running_job_is_asked_to_end_and_is_cancelled(server: ServerProcess, job_type: str, tmp_path: Path) -> None:
    job_id = start(server, job_type, tmp_path)

    answer = server.post(f"/jobs/{job_id}/cancel")

    assert (answer.status, answer.json["status"], answer.json["cancel_requested"]) == (200, "RUNNING", True)
    cancelled = server.wait_for_status(job_id, "CANCELLED")
    assert (cancelled["attempt"], cancelled["retry_count"]) == (1, 0)
    assert {"error", "reason", "result"}.isdisjoint(cancelled)
    assert (tmp_path / "stopped").exists() == (job_type != "wait")  # the others say so


def test_a_thread_that_never_looks_finishes_its_job(server: ServerProcess, tmp_path: Path) -> None:
    job_id = start(server, "blind", tmp_path)

    asked = server.post(f"/jobs/{job_id}/cancel")
    (tmp_path / "go").touch()
    done = server.wait_for_status(job_id, "DONE")

    assert asked.json["status"] == "RUNNING"
    assert (done["result"], done["cancel_requested"]) == ("done all the same", True)


def test_asking_twice_is_asking_once(server: ServerProcess, tmp_path: Path) -> None:
    job_id = start(server, "blind", tmp_path)

    first, second = (server.post(f"/jobs/{job_id}/cancel") for _ in range(2))

    assert (first.status, first.json) == (second.status, second.json)
    (tmp_path / "go").touch()
    server.wait_for_status(job_id, "DONE")


def test_a_cancelled_job_may_be_cancelled_again(server: ServerProcess) -> None:
    job = server.submit("ok", delay=3_600)

    first, second = (server.post(f"/jobs/{job['id']}/cancel") for _ in range(2))

    assert (second.status, second.body) == (200, first.body)


@pytest.mark.parametrize(("job_type", "status"), [("ok", "DONE"), ("fail", "DEAD")])
def test_a_job_that_has_ended_otherwise_cannot_be_cancelled(server: ServerProcess, job_type: str, status: str) -> None:
    job_id = ended(server, job_type, status)
    before = server.job(job_id)

    answer = server.post(f"/jobs/{job_id}/cancel")

    assert_is_error(answer, 409, f"job {job_id} is {status}; only a job that waits or runs can be cancelled")
    assert server.job(job_id) == before


@pytest.mark.parametrize("text", NOT_THERE)
def test_a_job_that_is_not_there_cannot_be_cancelled(server: ServerProcess, text: str) -> None:
    assert_is_error(server.post(f"/jobs/{text}/cancel"), 404, "can't get job with this id")


@pytest.mark.parametrize("source", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_form_on_another_sites_page_cancels_nothing(
    server: ServerProcess, content_type: str, source: dict[str, str]
) -> None:
    job = server.submit("ok", delay=3_600)

    answer = server.ask("POST", f"/jobs/{job['id']}/cancel", b"", headers={"content-type": content_type, **source})

    assert_is_error(answer, 415, "content-type must be application/json")
    assert server.job(job["id"]) == job


# ---- deleting


def test_a_waiting_job_is_deleted_and_never_runs(server: ServerProcess) -> None:
    job = server.submit("ok", delay=3_600)

    answer = server.ask("DELETE", f"/jobs/{job['id']}")

    assert (answer.status, answer.body) == (200, b'{"message":"job deleted successfully"}')
    assert answer.headers["content-type"] == "application/json"
    assert is_gone(server, job["id"])


def test_a_running_job_is_asked_to_end_and_can_be_deleted_then(server: ServerProcess, tmp_path: Path) -> None:
    job_id = start(server, "wait", tmp_path)

    asked = server.ask("DELETE", f"/jobs/{job_id}")
    server.wait_for_status(job_id, "CANCELLED")
    deleted = server.ask("DELETE", f"/jobs/{job_id}")

    assert (asked.status, asked.json["status"], asked.json["cancel_requested"]) == (202, "RUNNING", True)
    assert deleted.status == 200
    assert is_gone(server, job_id)


@pytest.mark.parametrize(("job_type", "status"), [("ok", "DONE"), ("fail", "DEAD")])
def test_a_job_that_has_ended_is_deleted(server: ServerProcess, job_type: str, status: str) -> None:
    job_id = ended(server, job_type, status)

    answer = server.ask("DELETE", f"/jobs/{job_id}")

    assert answer.status == 200
    assert is_gone(server, job_id)
    assert job_id not in [job["id"] for job in server.get("/dlq").json]


@pytest.mark.parametrize("text", NOT_THERE)
def test_a_job_that_is_not_there_cannot_be_deleted(server: ServerProcess, text: str) -> None:
    assert_is_error(server.ask("DELETE", f"/jobs/{text}"), 404, "can't get job with this id")


def test_a_deleted_job_is_gone_for_good(server: ServerProcess) -> None:
    job = server.submit("ok", delay=3_600)
    server.ask("DELETE", f"/jobs/{job['id']}")

    again = server.ask("DELETE", f"/jobs/{job['id']}")

    assert again.status == 404
