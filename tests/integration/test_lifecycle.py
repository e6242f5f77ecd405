"""How a server process starts, drains and ends, and what it leaves behind."""

import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import StartServer
from tests.integration.server_process import ServerProcess, eventually, run_command

DRAINING = "draining"

pytestmark = pytest.mark.slow  # a process each


def running_job(server: ServerProcess, folder: Path, job_type: str = "wait") -> Any:
    """Submit a job and return it once its handler runs."""
    job = server.submit(job_type, {"folder": str(folder)})
    eventually(lambda: job["id"] in read(folder / "started"))
    return job


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def begin_drain(server: ServerProcess, number: signal.Signals = signal.SIGTERM) -> None:
    server.signal(number)
    server.wait_for_line(DRAINING)


# ---- draining


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_jobs_finish_and_starts_no_other(
    start_server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    server = start_server("--workers", "1")
    running = running_job(server, tmp_path)
    waiting = server.submit("wait", {"folder": str(tmp_path)})

    begin_drain(server, number)
    (tmp_path / "go").touch()
    exit_code = server.wait()

    assert exit_code == 0, server.stderr
    assert "Traceback" not in server.stderr
    assert read(tmp_path / "ended").split() == [running["id"]]
    assert waiting["id"] not in read(tmp_path / "started")


def test_a_second_signal_ends_at_once(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--shutdown-timeout", "1h")
    running_job(server, tmp_path)

    begin_drain(server)
    server.signal()
    exit_code = server.wait()

    assert exit_code == 0, server.stderr
    assert "Traceback" not in server.stderr
    assert "second signal" in server.stderr
    assert not (tmp_path / "ended").exists()


def test_a_job_that_outlasts_the_shutdown_timeout_is_cancelled(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--shutdown-timeout", "50ms")
    running_job(server, tmp_path)

    exit_code = server.stop()

    assert exit_code == 0, server.stderr
    assert "Traceback" not in server.stderr
    assert not (tmp_path / "ended").exists()


def test_handlers_that_will_not_end_do_not_keep_the_process(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--shutdown-timeout", "0")
    jobs = [running_job(server, tmp_path, job_type) for job_type in ("stubborn", "stubborn-thread")]

    exit_code = server.stop()

    assert exit_code == 0, server.stderr
    assert "Traceback" not in server.stderr
    left = [line for line in server.stderr.splitlines() if "handler_would_not_end" in line]
    assert all(any(job["id"] in line for line in left) for job in jobs)


def test_an_idle_server_ends_at_a_signal(start_server: StartServer) -> None:
    server = start_server()

    exit_code = server.stop()

    assert exit_code == 0
    assert "Traceback" not in server.stderr


def test_idle_connections_do_not_keep_the_process(start_server: StartServer) -> None:
    server = start_server()
    with server.connect() as used, server.connect():
        used.ask("GET", "/healthz")

        exit_code = server.stop()

        assert exit_code == 0


@pytest.mark.parametrize("fast_lane", ["true", "false"])
def test_while_it_drains_it_is_not_ready_takes_no_jobs_and_answers_look_ups(
    start_server: StartServer, tmp_path: Path, fast_lane: str
) -> None:
    server = start_server(env={"FAST_LANE": fast_lane})
    running = running_job(server, tmp_path)
    with server.connect() as kept:
        before = kept.ask("GET", "/readyz"), kept.ask("POST", "/jobs", b'{"type":"ok"}')
        begin_drain(server)

        ready, refused = kept.ask("GET", "/readyz"), kept.ask("POST", "/jobs", b'{"type":"ok"}')
        refused_anew = server.post("/jobs", b'{"type":"ok"}')
        looked_up = server.job(running["id"])

    assert [answer.status for answer in before] == [200, 201]
    assert (ready.status, ready.json) == (503, {"status": "draining"})
    assert (refused.status, refused_anew.status) == (503, 503)
    assert int(refused.headers["retry-after"]) > 0
    assert looked_up["status"] == "RUNNING"
    (tmp_path / "go").touch()
    assert server.wait() == 0


# ---- starting


def test_the_greeting_names_the_url_the_backend_and_the_workers(start_server: StartServer) -> None:
    server = start_server("--workers", "3")

    assert server.greeting.startswith(f"GoTaskQ listens on http://127.0.0.1:{server.address[1]} ")
    assert "memory://" in server.greeting
    assert "3 workers" in server.greeting
    assert "curl" in server.wait_for_line("Try:")


def test_without_workers_jobs_stay_pending(start_server: StartServer) -> None:
    server = start_server("--no-workers")
    job = server.submit("ok")

    with_time = [server.job(job["id"])["status"] for _ in range(50)]

    assert set(with_time) == {"PENDING"}
    assert "no workers" in server.greeting


def test_a_port_that_is_taken_is_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = run_command("run", "--port", str(port))

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"PORT='127.0.0.1:{port}'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("app", "named"),
    [("no_such.module:app", "no_such.module"), ("apps:not_an_app", "apps has no TaskQ named not_an_app")],
)
def test_an_app_that_is_not_there_is_one_line_and_exit_code_2(app: str, named: str) -> None:
    ended = run_command("run", "--port", "0", app)

    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("gotaskq: APP=")
    assert named in ended.stderr


def test_an_app_whose_import_fails_says_where(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("import no_such_library\n")

    ended = run_command("run", "--port", "0", "broken_app:app", folder=tmp_path)

    assert ended.returncode == 1
    assert "broken_app.py" in ended.stderr
    assert "no_such_library" in ended.stderr
