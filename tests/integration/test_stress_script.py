"""The stress script against a real server: every job of every queue accepted, run and counted."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.server_process import ServerProcess, environment, running_server

SCRIPT = Path(__file__).parents[2] / "scripts" / "stress_multi_queue.sh"
REQUESTS, QUEUES = 2_000, 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="needs bash and curl"),
]
needs_hey = pytest.mark.skipif(shutil.which("hey") is None, reason="hey is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(app=None, env={"LOG_LEVEL": "warning"}) as server:
        yield server


def run_script(base_url: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {"BASE_URL": base_url, "REQUESTS": str(REQUESTS), "QUEUE_COUNT": str(QUEUES), "PYTHON": sys.executable}
    return subprocess.run(
        [str(SCRIPT)], env=environment(settings | env), capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize(
    ("generator", "force_loadgen"), [("benchmarks/loadgen.py", "1"), pytest.param("hey", "0", marks=needs_hey)]
)
def test_every_job_is_accepted_run_and_counted(server: ServerProcess, generator: str, force_loadgen: str) -> None:
    prefix = f"stress-{force_loadgen}"

    ran = run_script(f"http://127.0.0.1:{server.address[1]}", PREFIX=prefix, FORCE_LOADGEN=force_loadgen)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"with {generator}" in ran.stdout
    rows = {row[0]: [int(count) for count in row[1:6]] for row in table(ran.stdout)}
    expected = [REQUESTS, REQUESTS, REQUESTS, 0, 0]  # 201s, enqueued, done, failed, dead
    assert rows == {f"{prefix}-{number}": expected for number in range(1, QUEUES + 1)} | {
        "total": [QUEUES * count for count in expected]
    }
    assert ran.stdout.endswith("all counts are right\n")


def table(output: str) -> list[list[str]]:
    """Return the rows of the script's table: a name and six numbers."""
    return [line.split() for line in output.splitlines() if re.fullmatch(r"\S+( +\d+){6}", line)]


def test_a_wrong_count_is_an_error(server: ServerProcess) -> None:
    ran = run_script(
        f"http://127.0.0.1:{server.address[1]}", REQUESTS="20", PREFIX="nobody", TYPE="nobody", TIMEOUT_S="1"
    )

    assert ran.returncode == 1
    assert "WRONG" in ran.stderr


def test_without_a_server_the_script_says_so() -> None:
    ran = run_script("http://127.0.0.1:1")

    assert ran.returncode == 2
    assert "no answer from http://127.0.0.1:1/metrics" in ran.stderr
