"""`gotaskq worker`: a process that runs jobs and serves no API."""

import signal
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.server_process import WORKER, ServerProcess, eventually, run_command

pytestmark = pytest.mark.slow  # a process each


def jobs_run(folder: Path) -> int:
    return len(list(folder.glob("ran-*")))


def test_in_memory_it_is_refused_with_one_line() -> None:
    ended = run_command("worker")

    assert ended.returncode == 2
    assert ended.stderr == (
        "gotaskq: BACKEND_URL='memory://': no other process sees jobs in memory; "
        "name a shared store, such as redis://localhost:6379/0, or use `gotaskq run`\n"
    )


def test_it_says_what_it_does_and_ends_at_a_signal(start_server: StartServer) -> None:
    worker = start_server("--concurrency", "3", "--queues", "mail:5,default", app="apart:app", command=WORKER)

    assert worker.greeting == "GoTaskQ runs the jobs of mail, default · backend Apart · 3 workers\n"
    assert worker.stop() == 0
    assert "Traceback" not in worker.stderr


def test_a_burst_runs_what_there_is_and_ends(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("who\n" * 10)

    ended = run_command("worker", "--burst", "apart:app", folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert jobs_run(tmp_path) == 10
    assert "Traceback" not in ended.stderr


def test_it_ends_after_so_many_jobs(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("who\n" * 10)

    ended = run_command("worker", "--max-jobs", "4", "--concurrency", "2", "apart:app", folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert jobs_run(tmp_path) == 4


def test_a_negative_number_of_jobs_is_refused() -> None:
    ended = run_command("worker", "--max-jobs", "-1")

    assert (ended.returncode, ended.stderr[:27]) == (2, "gotaskq: --max-jobs='-1': a")


def test_several_in_a_burst_end_together(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("who\n" * 10)

    ended = run_command("worker", "--burst", "--processes", "2", "apart:app", folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert jobs_run(tmp_path) == 20  # each has ten of its own in this app
    assert "process ended" not in ended.stderr


@pytest.mark.parametrize("options", [["--health-port", "70000"], ["--port", "1"]], ids=" ".join)
def test_an_option_that_cannot_be_is_a_mistake(options: list[str]) -> None:
    ended = run_command("worker", *options)

    assert (ended.returncode, "Error: " in ended.stderr) == (2, True)


# ---- health


@pytest.fixture(params=["1", "2"], ids=["one process", "two processes"])
def healthy(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> ServerProcess:
    (tmp_path / "jobs").write_text("who\n" * 10)
    return start_server("--health-port", "0", "--processes", request.param, app="apart:app", command=WORKER)


def test_with_a_health_port_it_answers_probes_and_scrapes_and_nothing_else(healthy: ServerProcess) -> None:
    assert [healthy.get(path).status for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert [healthy.get(path).status for path in ("/jobs/1", "/queue", "/dlq")] == [404, 404, 404]
    assert healthy.post("/jobs", b'{"type":"ok"}').status == 404
    processes = 2 if "2 processes" in healthy.greeting else 1
    eventually(lambda: sample(healthy, "gotaskq_jobs_processed_total", status="done") == 10 * processes)


def test_while_it_drains_it_is_not_ready_and_its_handlers_may_enqueue(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "jobs").write_text("follow")
    worker = start_server("--health-port", "0", app="apart:app", command=WORKER)
    eventually(lambda: list(tmp_path.glob("started-*")) or None)

    worker.signal(signal.SIGTERM)
    worker.wait_for_line("draining")
    ready = worker.get("/readyz")
    (tmp_path / "go").touch()

    assert (ready.status, ready.json) == (503, {"status": "draining"})
    assert worker.wait() == 0
    assert (tmp_path / "followed").exists()
