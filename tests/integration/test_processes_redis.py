"""Processes that share a Redis: who serves HTTP and who runs jobs, together and apart."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import DEPTH, sample
from tests.integration.server_process import WORKER, ServerProcess, eventually, run_command
from tests.integration.test_processes import children
from tests.redis_servers import RedisServer, running

pytestmark = pytest.mark.slow  # processes each

JOBS = 60


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def env(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    """A store of its own for each test."""
    return {"BACKEND_URL": redis.url, "KEY_PREFIX": tmp_path.name[-32:], "LOG_FORMAT": "json"}


def submit_many(server: ServerProcess, job_type: str, payload: object = None, *, queue: str = "default") -> list[str]:
    body = {"jobs": [{"type": job_type, "payload": payload, "queue": queue} for _ in range(JOBS)], "atomic": True}
    answer = server.post("/jobs/batch", json.dumps(body).encode())
    assert answer.status == 201, answer
    return [job["id"] for job in answer.json["jobs"]]


def all_done(server: ServerProcess, ids: list[str]) -> bool:
    return all(server.job(job_id)["status"] == "DONE" for job_id in ids)


def test_what_one_process_accepts_another_runs(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--no-workers", env=env)
    worker = start_server("--health-port", "0", env=env, command=WORKER)

    ids = submit_many(server, "ok")
    eventually(lambda: all_done(server, ids))

    assert sample(server, "gotaskq_jobs_enqueued_total", type="ok") == JOBS
    assert sample(worker, "gotaskq_jobs_processed_total", type="ok", status="done") == JOBS
    assert sample(server, "gotaskq_jobs_processed_total") == 0
    assert {sample(one, DEPTH) for one in (server, worker)} == {0}


def test_a_worker_makes_the_queues_it_serves_and_leaves_the_others(
    start_server: StartServer, env: dict[str, str]
) -> None:
    server = start_server("--no-workers", env=env)
    start_server("--queues", "mail:5,Reports", env=env, command=WORKER)
    assert server.get("/queue").json == ["default", "mail", "reports"]

    left = server.submit("ok")
    ids = submit_many(server, "ok", queue="mail") + submit_many(server, "ok", queue="reports")
    eventually(lambda: all_done(server, ids))

    assert server.job(left["id"])["status"] == "PENDING"


def test_a_burst_and_a_number_of_jobs_end_a_worker(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--no-workers", env=env)
    ids = submit_many(server, "ok")

    some = run_command("worker", "--max-jobs", "7", "apps:app", env=env)
    done = sum(server.job(job_id)["status"] == "DONE" for job_id in ids)
    rest = run_command("worker", "--burst", "--processes", "2", "apps:app", env=env)

    assert (some.returncode, rest.returncode) == (0, 0), some.stderr + rest.stderr
    assert done == 7
    assert all_done(server, ids)


def test_several_processes_run_each_job_and_count_together(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--processes", "3", "--workers", "4", env=env)

    ids = submit_many(server, "ok") + submit_many(server, "flaky")
    eventually(lambda: all_done(server, ids))

    scrapes = [
        (
            sample(server, "gotaskq_jobs_enqueued_total"),
            sample(server, "gotaskq_jobs_processed_total", status="done"),
            sample(server, "gotaskq_jobs_retried_total", type="flaky"),
            sample(server, "gotaskq_job_duration_seconds_count"),
            sample(server, DEPTH),
        )
        for _ in range(6)
    ]
    assert set(scrapes) == {(2 * JOBS, 2 * JOBS, 2 * JOBS, 4 * JOBS, 0)}


def test_the_jobs_of_a_process_that_is_killed_run_in_another(
    start_server: StartServer, env: dict[str, str], tmp_path: Path
) -> None:
    server = start_server("--processes", "2", "--workers", "2", env=env | {"LEASE": "1s"})
    jobs = [server.submit("wait", {"folder": str(tmp_path)})["id"] for _ in range(3)]
    started = tmp_path / "started"
    eventually(lambda: started.exists() and len(started.read_text().splitlines()) == 3)

    killed = children(server)[0]
    os.kill(killed, signal.SIGKILL)
    server.wait_for_line(f'"ended_pid": {killed}')
    (tmp_path / "go").touch()

    def are_done() -> bool:
        try:
            return all_done(server, jobs)
        except ConnectionError:  # it was hashed to the one that was killed
            return False

    eventually(are_done)
    assert set((tmp_path / "ended").read_text().split()) == set(jobs)


def test_readiness_follows_the_store(start_server: StartServer, env: dict[str, str]) -> None:
    with running(appendonly="yes", appendfsync="always") as redis:
        server = start_server(env=env | {"BACKEND_URL": redis.url})
        job = server.submit("ok")
        redis.kill()
        eventually(lambda: server.get("/readyz").status == 503)
        alive, refused = server.get("/healthz"), server.post("/jobs", b'{"type":"ok"}')
        redis.start()
        eventually(lambda: server.get("/readyz").status == 200)

        assert (alive.status, refused.status) == (200, 503)
        assert refused.json["error"] == "the job store is unavailable; try again later"
        assert int(refused.headers["retry-after"]) > 0
        server.wait_for_status(job["id"], "DONE")


def test_a_start_without_the_store_fails_and_says_where_to_look(env: dict[str, str]) -> None:
    with running() as redis:
        url = redis.url
    for options in ([], ["--processes", "2"]):
        ended = run_command("run", "--port", "0", *options, env=env | {"BACKEND_URL": url})

        assert ended.returncode == 1, ended.stderr
        [said] = [line for line in ended.stderr.splitlines() if line.startswith("gotaskq: ")]
        assert said.endswith("; `gotaskq config --check` says more")
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("job_type", ["wait", "heed", "in-child"])
def test_who_serves_http_ends_a_handler_that_runs_elsewhere(
    start_server: StartServer, env: dict[str, str], tmp_path: Path, job_type: str
) -> None:
    # No lease is extended within the test, so it is by the message that the worker hears of it.
    env = env | {"LEASE": "1h"}
    server = start_server("--no-workers", env=env, app="long_jobs:app")
    start_server(env=env, app="long_jobs:app", command=WORKER)
    job = server.submit(job_type, {"folder": str(tmp_path)})
    eventually((tmp_path / "started").exists)

    asked = server.post(f"/jobs/{job['id']}/cancel")
    cancelled = server.wait_for_status(job["id"], "CANCELLED")

    assert (asked.status, asked.json["cancel_requested"]) == (200, True)
    assert (cancelled["attempt"], cancelled["cancel_requested"]) == (1, True)
    assert (tmp_path / "stopped").exists() == (job_type != "wait")  # the others say so


def test_who_serves_http_shows_what_handlers_elsewhere_say(
    start_server: StartServer, env: dict[str, str], tmp_path: Path
) -> None:
    server = start_server("--no-workers", env=env, app="long_jobs:app")
    start_server(env=env | {"BASE_DELAY": "1"}, app="long_jobs:app", command=WORKER)

    reporting = server.submit("report", {"folder": str(tmp_path)})
    running = eventually(lambda: shown if "progress" in (shown := server.job(reporting["id"])) else None)
    (tmp_path / "go").touch()
    reported = server.wait_for_status(reporting["id"], "DONE")
    resumed = server.wait_for_status(server.submit("resume")["id"], "DONE")

    assert running["progress"] == {"fraction": 0.25, "note": "page 1 of 4"}
    assert reported["progress"] == {"fraction": 1.0}
    assert resumed["result"] == {"steps": 3}
    assert [attempt["error"] for attempt in resumed["attempts"]] == [
        f"ConnectionError: lost at step {step}" for step in (1, 2)
    ]


def test_a_job_that_waits_for_too_long_is_dead_everywhere(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--no-workers", env=env, app="long_jobs:app")
    server.post("/queue/unserved")
    start_server("--queues", "default", env=env, app="long_jobs:app", command=WORKER)

    job = server.submit("ok", queue="unserved", schedule_timeout=0.01)
    dead = server.wait_for_status(job["id"], "DEAD")

    assert (dead["reason"], dead["error"]) == ("expired", "not started within 10 ms of being due")
    assert [shown["id"] for shown in server.get("/dlq").json] == [job["id"]]
