"""Several processes as one: started, kept, stopped, and counted together."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.server_process import ServerProcess, eventually, run_command

pytestmark = [
    pytest.mark.slow,  # three processes each
    pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system cannot share a port"),
]

COUNT = 3
DONE = "gotaskq_jobs_processed_total"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """The folder in which the processes make theirs."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def env(runtime: Path) -> Mapping[str, str]:
    return {"TMPDIR": str(runtime), "LOG_FORMAT": "json"}


@pytest.fixture
def server(start_server: StartServer, env: Mapping[str, str]) -> ServerProcess:
    return start_server("--processes", str(COUNT), app="apart:app", env=env)


def children(server: ServerProcess) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start_waiting(server: ServerProcess, folder: Path) -> set[int]:
    """Submit jobs that wait until each process runs one, and return the processes."""

    def running() -> set[int] | None:
        server.submit("wait", {"folder": str(folder)})
        pids = {int(file.name.partition("-")[2]) for file in folder.glob("started-*")}
        return pids if len(pids) == COUNT else None

    return eventually(running)


def counted(server: ServerProcess, count: int) -> bool:
    return sample(server, DONE, type="ok", status="done") == count


# ---- starting


def test_they_greet_as_one_and_share_the_connections(server: ServerProcess, tmp_path: Path) -> None:
    pids = start_waiting(server, tmp_path)

    assert sorted(pids) == sorted(children(server))
    assert f"{COUNT} processes of 10 workers" in server.greeting
    assert server.stderr.count("listens on") == 1
    (tmp_path / "go").touch()


def test_their_folder_is_private_and_goes_with_them(server: ServerProcess, runtime: Path) -> None:
    [folder] = runtime.iterdir()
    mode = folder.stat().st_mode & 0o777

    server.stop()

    assert mode == 0o700
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "app", "said"),
    [
        (["--processes", "2"], "apps:app", "gotaskq: BACKEND_URL='memory://': no other process sees jobs in memory; "),
        (["--processes", "2"], "no_such:app", "gotaskq: APP='no_such:app': there is no module 'no_such'"),
        (["--processes", "65"], "apart:app", "gotaskq: --processes='65': a whole number from 1 to 64"),
    ],
)
def test_what_cannot_be_started_is_said_once(options: list[str], app: str, said: str) -> None:
    ended = run_command("run", "--port", "0", *options, app)

    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1


def test_in_memory_it_says_what_to_do() -> None:
    ended = run_command("run", env={"PROCESSES": "4", "PORT": "0"})

    assert ended.returncode == 2
    assert ended.stderr.endswith("name a shared store, such as redis://localhost:6379/0, or set PROCESSES to 1\n")


def test_a_first_process_that_fails_fails_the_whole(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()

    ended = run_command("run", "--port", "0", "--processes", "2", "apart:app", folder=tmp_path)

    assert ended.returncode == 3


def test_a_second_server_on_their_port_is_refused(server: ServerProcess) -> None:
    for options in (["--processes", "2"], []):
        ended = run_command("run", "--port", str(server.address[1]), *options, "apart:app")

        assert ended.returncode == 2
        assert ended.stderr.startswith(f"gotaskq: PORT='127.0.0.1:{server.address[1]}': cannot listen there")


def test_a_long_path_for_sockets_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()

    ended = run_command("run", "--port", "0", "--processes", "2", "apart:app", env={"TMPDIR": str(folder)})

    assert ended.returncode == 2
    assert "too long to hold sockets" in ended.stderr


# ---- ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_them_all(server: ServerProcess, tmp_path: Path, number: signal.Signals) -> None:
    pids = start_waiting(server, tmp_path)

    server.signal(number)
    for pid in pids:
        os.kill(pid, number)  # as a terminal does and systemd: to all processes at once
        server.wait_for_line(f'"event": "draining", "pid": {pid}')
    alive = [is_alive(pid) for pid in pids]
    (tmp_path / "go").touch()

    assert alive == [True] * COUNT
    assert server.wait() == 0, server.stderr
    assert "second signal" not in server.stderr
    assert "Traceback" not in server.stderr
    assert not any(is_alive(pid) for pid in pids)


def test_a_second_signal_hurries_them_all(server: ServerProcess, tmp_path: Path) -> None:
    pids = start_waiting(server, tmp_path)

    server.signal()
    eventually(lambda: server.stderr.count('"event": "draining", "pid"') == COUNT)
    server.signal()

    assert server.wait() == 0, server.stderr
    assert server.stderr.count("second signal") == COUNT
    assert not any(is_alive(pid) for pid in pids)


def test_a_third_signal_kills_what_will_not_end(server: ServerProcess, tmp_path: Path) -> None:
    server.submit("block", {"folder": str(tmp_path)})
    [blocked] = eventually(lambda: [int(file.name[8:]) for file in tmp_path.glob("started-*")] or None)

    server.signal()
    eventually(lambda: children(server) == [blocked])
    eventually(lambda: killed(server))

    assert server.wait() == 1
    assert not is_alive(blocked)


def killed(server: ServerProcess) -> bool:
    """Send one more signal unless enough have come; equal ones that come at once count as one."""
    if "third signal" not in server.stderr:
        server.signal()
        return False
    return True


def test_without_the_supervisor_they_drain(server: ServerProcess, tmp_path: Path) -> None:
    pids = start_waiting(server, tmp_path)

    server.signal(signal.SIGKILL)
    server.wait()
    for pid in pids:
        server.wait_for_line(f'"event": "draining", "pid": {pid}')
    (tmp_path / "go").touch()

    eventually(lambda: not any(is_alive(pid) for pid in pids))
    assert "Traceback" not in server.stderr


# ---- restarts, and metrics that add up


def test_whichever_is_scraped_answers_for_all(server: ServerProcess, tmp_path: Path) -> None:
    for _ in range(20):
        server.submit("ok")
    eventually(lambda: counted(server, 20))
    pids = start_waiting(server, tmp_path)

    scrapes = [
        (sample(server, DONE, type="ok"), sample(server, "gotaskq_active_workers") >= COUNT) for _ in range(4 * COUNT)
    ]

    assert set(scrapes) == {(20, True)}
    assert len(pids) == COUNT
    (tmp_path / "go").touch()


def test_one_that_dies_is_replaced_and_its_counters_stay(server: ServerProcess) -> None:
    for _ in range(20):
        server.submit("ok")
    eventually(lambda: counted(server, 20))

    for pid in children(server):
        os.kill(pid, signal.SIGKILL)
        server.wait_for_line(f'"ended_pid": {pid}')
        eventually(lambda: len(children(server)) == COUNT)
        eventually(lambda: answers(server))
        assert counted(server, 20)

    for _ in range(20):
        server.submit("ok")
    eventually(lambda: counted(server, 40))
    assert server.stderr.count("process ended") == COUNT


def answers(server: ServerProcess) -> bool:
    """Say whether it answers again; what was waiting at a process that was killed is lost with it."""
    try:
        return server.get("/healthz").status == 200
    except ConnectionError:
        return False
