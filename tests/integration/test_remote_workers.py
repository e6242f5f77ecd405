"""The example workers of `examples/`, run as they are against a real server."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.metrics_page import sample
from tests.integration.server_process import environment

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = ["node", str(EXAMPLES / "remote_worker.mjs")]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node: its example worker is NOT tried here")
WORKERS = [
    pytest.param([sys.executable, str(EXAMPLES / "remote_worker.py")], id="python"),
    # Needs curl; a machine without it fails here, and loudly.
    pytest.param(["sh", str(EXAMPLES / "remote_worker.sh")], id="shell"),
    pytest.param(NODE, id="node", marks=needs_node),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", WORKERS)
def test_a_worker_that_is_not_ours_runs_jobs_and_fails_others(
    start_server: StartServer, command: Sequence[str]
) -> None:
    server = start_server("--no-workers")
    good = [server.submit("shout", {"text": text}) for text in ("hello", "to you")]
    bad = server.submit("shout", {"words": 1}, max_retries=0)
    other = server.submit("ok")

    url = f"http://127.0.0.1:{server.address[1]}"
    env = environment({"WAIT": "0", "BURST": "1"})
    ran = subprocess.run([*command, url], env=env, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    assert [server.job(job["id"])["result"] for job in good] == ["HELLO", "TO YOU"]
    dead = server.job(bad["id"])
    assert (dead["status"], dead["reason"]) == ("DEAD", "retries_exhausted")
    assert "Error: " in dead["error"]
    assert server.job(other["id"])["status"] == "PENDING"
    assert sample(server, "gotaskq_jobs_processed_total", type="shout", status="done") == 2
    assert sample(server, "gotaskq_jobs_dead_total", type="shout") == 1


def test_the_python_worker_knows_nothing_of_us() -> None:
    text = (EXAMPLES / "remote_worker.py").read_text()

    assert "import gotaskq" not in text
    assert "from gotaskq" not in text
    assert len(text.splitlines()) <= 60
