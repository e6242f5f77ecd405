"""Settings do what they say in a real process, and a bad one stops the start with one line."""

from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.server_process import ServerProcess, eventually, run_command
from tests.integration.test_http_contract import milliseconds_between

pytestmark = pytest.mark.slow  # a process each


def failed_once(server: ServerProcess, job_id: str) -> bool:
    return bool(server.job(job_id)["retry_count"] >= 1)


def test_num_workers_bounds_how_many_jobs_run_at_once(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(env={"NUM_WORKERS": "3"})
    server.post("/queue/other")
    started = tmp_path / "started"

    jobs = [server.submit("wait", {"folder": str(tmp_path)}, queue=queue) for queue in ("default", "other") * 4]
    eventually(lambda: started.exists() and len(started.read_text().splitlines()) == 3)
    (tmp_path / "go").touch()
    for job in jobs:
        server.wait_for_status(job["id"], "DONE")

    at_once = [int(line.split()[1]) for line in started.read_text().splitlines()]
    assert len(at_once) == 8
    assert max(at_once) == 3


def test_max_retries_is_the_default_and_zero_is_zero(start_server: StartServer) -> None:
    server = start_server(env={"MAX_RETRIES": "0", "BASE_DELAY": "1"})

    defaulted = server.wait_for_status(server.submit("fail")["id"], "DEAD")
    named = server.wait_for_status(server.submit("fail", max_retries=1)["id"], "DEAD")

    assert (defaulted["max_retries"], defaulted["attempt"]) == (0, 1)
    assert (named["max_retries"], named["attempt"]) == (1, 2)


@pytest.mark.parametrize(
    ("env", "least_ms"),
    [
        ({"BASE_DELAY": "60000", "MAX_DELAY": "1h"}, 60_000),
        ({"BASE_DELAY": "2m", "MAX_DELAY": "2m"}, 120_000),
        ({"MAX_DELAY": "1m", "GOTASKQ_BASE_DELAY": "30s", "BASE_DELAY": "1s"}, 30_000),
    ],
)
def test_the_backoff_shows_in_when_a_failed_job_runs_again(
    start_server: StartServer, env: dict[str, str], least_ms: int
) -> None:
    server = start_server(env=env)
    job = server.submit("fail")

    eventually(lambda: failed_once(server, job["id"]))

    failed = server.job(job["id"])
    assert (failed["status"], failed["retry_count"], failed["error"]) == ("PENDING", 1, "ValueError: no luck")
    assert least_ms <= milliseconds_between(failed["updated_at"], failed["run_after"]) <= 1.4 * least_ms


def test_a_done_job_is_forgotten_after_its_time(start_server: StartServer) -> None:
    server = start_server(env={"COMPLETE_JOB_TTL": "1ms"})
    job = server.submit("ok")

    # The pruner comes by every few seconds; the retention is over before it does.
    eventually(lambda: server.get(f"/jobs/{job['id']}").status == 404)

    dead = server.submit("fail", max_retries=0)
    assert server.wait_for_status(dead["id"], "DEAD")["status"] == "DEAD"


def test_the_oldest_dead_job_goes_when_there_are_too_many(start_server: StartServer) -> None:
    server = start_server(env={"MAX_DEAD_JOBS": "2", "MAX_RETRIES": "0"})

    ids = [server.submit("fail")["id"] for _ in range(3)]
    eventually(lambda: server.get(f"/jobs/{ids[0]}").status == 404)
    eventually(lambda: len(server.get("/dlq").json) == 2)

    assert {job["id"] for job in server.get("/dlq").json} == {*ids[1:]}


def test_settings_come_from_a_file_below_the_environment(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "service.env").write_text("NUM_WORKERS=7\nMAX_RETRIES=3\n# a comment\n")

    server = start_server("--env-file", "service.env", env={"MAX_RETRIES": "2"})

    assert "7 workers" in server.greeting
    assert server.submit("ok")["max_retries"] == 2


def test_an_option_wins_over_the_environment_and_its_prefixed_name(start_server: StartServer) -> None:
    server = start_server("--workers", "4", env={"NUM_WORKERS": "5", "GOTASKQ_NUM_WORKERS": "6"})

    assert "4 workers" in server.greeting


def test_the_prefixed_name_wins(start_server: StartServer) -> None:
    server = start_server(env={"NUM_WORKERS": "5", "GOTASKQ_NUM_WORKERS": "6"})

    assert "6 workers" in server.greeting


@pytest.mark.parametrize(
    ("env", "options", "expected"),
    [
        ({"PORT": "eighty"}, [], "gotaskq: PORT='eighty': a whole number from 0 to 65535"),
        ({}, ["--workers", "-1"], "gotaskq: --workers='-1': a whole number from 1 to 10000"),
        ({"COMPLETE_JOB_TTL": "5"}, [], "gotaskq: COMPLETE_JOB_TTL='5': a duration with its unit"),
        ({"USE_REDIS": "true"}, [], "gotaskq: REDIS_URL='': needed when USE_REDIS is true"),
        ({"BACKEND_URL": "ftp://user:hunter2@host"}, [], "gotaskq: BACKEND_URL='ftp://…': no backend serves this"),
        ({}, ["--env-file", "missing.env"], "gotaskq: --env-file='missing.env': a file that can be read"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_code_2(env: dict[str, str], options: list[str], expected: str) -> None:
    ended = run_command("run", *options, env=env)

    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(expected)
    assert ended.stderr.count("\n") == 1
    assert "hunter2" not in ended.stderr
    assert ended.stdout == ""
