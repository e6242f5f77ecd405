"""Processes that end after having served long enough, and those that take their place."""

import os
import signal
import socket
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.server_process import ServerProcess, eventually, run_command
from tests.integration.test_processes import DONE, children

pytestmark = pytest.mark.slow  # a process each

together = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system cannot share a port")


@pytest.mark.parametrize("command", [("worker",), ("run", "--port", "0")], ids=["worker", "run"])
def test_a_process_ends_well_at_its_age(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = run_command(*command, "--max-age", "1s", "apart:app", folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "recycling" in ended.stderr
    assert "MAX_AGE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_in_memory_it_is_refused() -> None:
    ended = run_command("run", env={"MAX_AGE": "1h", "PORT": "0"})

    assert ended.returncode == 2
    assert ended.stderr.endswith("or set no MAX_JOBS, MAX_RSS and MAX_AGE: the jobs would go with the process\n")
    assert ended.stderr.count("\n") == 1


def test_a_limit_that_no_process_can_keep_is_refused() -> None:
    ended = run_command("worker", "--max-rss", "16MiB", "apart:app")

    assert ended.returncode == 2
    assert ended.stderr.startswith("gotaskq: MAX_RSS='16MiB': more than ")
    assert ended.stderr.count("\n") == 1


def test_a_process_without_workers_has_no_limits(start_server: StartServer) -> None:
    server = start_server("--no-workers", env={"MAX_AGE": "1s", "MAX_RSS": "16MiB", "MAX_JOBS": "1"})

    assert server.submit("ok")["status"] == "PENDING"


@together
def test_one_of_several_is_replaced_at_once_and_without_a_warning(start_server: StartServer, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.write_text("who\n" * 3)  # for each process that is started
    env = {"LOG_FORMAT": "json", "MAX_JOBS": "3"}

    server = start_server("--processes", "2", app="apart:app", env=env)
    eventually(lambda: server.stderr.count("process replaced") >= 6)

    jobs.unlink()  # the next ones have nothing to run, and stay

    eventually(lambda: counts_all(server, tmp_path))
    assert len(list(tmp_path.glob("ran-*"))) >= 3 * 6
    assert "process ended" not in server.stderr
    assert '"level": "warning"' not in server.stderr
    assert server.stop() == 0, server.stderr


def counts_all(server: ServerProcess, folder: Path) -> bool:
    """Say whether the page counts every job that ran; a process that is about to end may not answer."""
    try:
        return sample(server, DONE, status="done") == len(list(folder.glob("ran-*")))
    except ConnectionError:
        return False


@together
def test_one_that_is_told_to_end_is_replaced_at_once(start_server: StartServer) -> None:
    server = start_server("--processes", "2", app="apart:app", env={"LOG_FORMAT": "json"})
    told = children(server)[0]

    os.kill(told, signal.SIGTERM)
    server.wait_for_line(f'"ended_pid": {told}')

    eventually(lambda: len(children(server)) == 2 and told not in children(server))
    assert '"level": "warning"' not in server.stderr
