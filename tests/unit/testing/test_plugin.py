"""The pytest plugin, as a project uses it: in a run of its own."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

TASKS = """
    from gotaskq import Job, TaskQ

    app = TaskQ()

    @app.handler("email")
    async def send(job: Job) -> str:
        return job.payload["to"]
"""
TESTS = """
    import pytest
    from gotaskq.testing import assert_enqueued, drain
    {mark}

    async def test_manual(tq, tq_clock, flaky_store):
        await tq.enqueue("email", {{"to": "a@b.c"}}, delay=60)
        await assert_enqueued(tq, "email", to="a@b.c")
        tq_clock.tick(seconds=60)
        assert (await drain(tq))["done"] == 1
        assert "settle" in flaky_store.calls

    async def test_inline(tq_inline):
        assert (await tq_inline.enqueue("email", {{"to": "a@b.c"}})).result == "a@b.c"
"""
OWN_APP = """
    import pytest
    import tasks

    @pytest.fixture
    def gotaskq_app():
        return tasks.app
"""


def run(folder: Path, *, ini: str, conftest: str = "", mark: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "tasks.py").write_text(dedent(TASKS))
    (folder / "test_tasks.py").write_text(dedent(TESTS).format(mark=mark))
    (folder / "conftest.py").write_text('pytest_plugins = ["gotaskq.testing.plugin"]\n' + dedent(conftest))
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = .\n{ini}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_app_is_named_in_the_configuration(tmp_path: Path) -> None:
    ran = run(tmp_path, ini="asyncio_mode = auto\ngotaskq_app = tasks:app")

    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


def test_the_app_is_a_fixture_of_the_projects_own(tmp_path: Path) -> None:
    ran = run(tmp_path, ini="asyncio_mode = strict", conftest=OWN_APP, mark="pytestmark = pytest.mark.asyncio")

    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


@pytest.mark.parametrize(
    ("ini", "says"),
    [("", "does not know the app"), ("gotaskq_app = tasks:send", "it must name a TaskQ")],
    ids=["unnamed", "wrong"],
)
def test_an_app_that_cannot_be_found_is_asked_for(tmp_path: Path, ini: str, says: str) -> None:
    ran = run(tmp_path, ini=f"asyncio_mode = auto\n{ini}")

    assert ran.returncode == 1
    assert says in ran.stdout


def test_nobody_gets_the_fixtures_unasked() -> None:
    program = "import sys, gotaskq.testing; print('pytest' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"
