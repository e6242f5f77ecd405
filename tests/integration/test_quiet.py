"""SIGUSR1: a process that fetches no more jobs and is otherwise as it was, alone or one of several."""

import os
import signal
import socket
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.server_process import WORKER, ServerProcess, eventually
from tests.integration.test_lifecycle import read, running_job
from tests.integration.test_processes import children

QUIET = "gotaskq_quiet_processes"

pytestmark = pytest.mark.slow  # a process each


def fall_quiet(server: ServerProcess, *, processes: int = 1) -> None:
    server.signal(signal.SIGUSR1)
    eventually(lambda: sample(server, QUIET) == processes)


def test_running_jobs_finish_new_ones_wait_and_http_goes_on(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--workers", "2")
    running = running_job(server, tmp_path)

    fall_quiet(server)
    waiting = server.submit("wait", {"folder": str(tmp_path)})
    (tmp_path / "go").touch()
    server.wait_for_status(running["id"], "DONE")

    assert server.get("/readyz").status == 200
    assert server.job(waiting["id"])["status"] == "PENDING"
    assert waiting["id"] not in read(tmp_path / "started")
    assert "quiet: no more jobs are fetched" in server.stderr


def test_a_quiet_process_drains_at_sigterm(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    running = running_job(server, tmp_path)
    fall_quiet(server)

    server.signal()
    server.wait_for_line("draining")
    (tmp_path / "go").touch()

    assert server.wait() == 0, server.stderr
    assert read(tmp_path / "ended").split() == [running["id"]]


def test_a_server_without_workers_takes_no_notice(start_server: StartServer) -> None:
    server = start_server("--no-workers")

    server.signal(signal.SIGUSR1)

    assert [server.get("/readyz").status for _ in range(5)] == [200] * 5
    assert server.submit("ok")["status"] == "PENDING"


def test_a_worker_process_falls_quiet_too(start_server: StartServer) -> None:
    worker = start_server("--health-port", "0", app="apart:app", command=WORKER)

    fall_quiet(worker)

    assert worker.get("/readyz").status == 200


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system cannot share a port")
def test_all_fall_quiet_and_so_does_one_that_is_started_later(start_server: StartServer) -> None:
    server = start_server("--processes", "2", app="apart:app", env={"LOG_FORMAT": "json"})

    fall_quiet(server, processes=2)
    killed = children(server)[0]
    os.kill(killed, signal.SIGKILL)
    server.wait_for_line(f'"ended_pid": {killed}')
    eventually(lambda: len(children(server)) == 2)
    eventually(lambda: sample(server, QUIET) == 2)

    assert server.stop() == 0, server.stderr
