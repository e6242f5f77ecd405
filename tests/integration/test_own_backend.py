"""The store of the example keeps what it answered for when its process is killed, and is one process's at a time."""

import asyncio
import importlib.util
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from gotaskq import Job, TaskQ
from gotaskq.backends.journalled import JournalledBackend
from gotaskq.clock import SystemClock

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "10_own_backend.py"
LINES_BEFORE_THE_KILL = 20

FILLING = f"""
import asyncio, importlib.util
from random import Random
from gotaskq import TaskQ
from gotaskq.backends.journalled import JournalledBackend
from gotaskq.clock import SystemClock
import sys
spec = importlib.util.spec_from_file_location("example", {str(EXAMPLE)!r})
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)

async def main():
    app = TaskQ(JournalledBackend(example.SqliteJournal(sys.argv[1]), clock=SystemClock(), rng=Random()))
    @app.handler("email")
    async def send(job):
        print("started", flush=True)
        await asyncio.Event().wait()
    async with app, app.workers(concurrency=1):
        while True:
            print((await app.enqueue("email")).id, flush=True)

asyncio.run(main())
"""


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_what_was_answered_for_outlives_a_kill(tmp_path: Path) -> None:
    file = str(tmp_path / "jobs.db")
    said = await asyncio.to_thread(kill_while_it_fills, file)
    backend = JournalledBackend(load_example().SqliteJournal(file), clock=SystemClock(), rng=Random())
    app = TaskQ(backend)
    ran: list[int] = []

    @app.handler("email")
    async def send(job: Job) -> None:
        ran.append(job.id)

    async with app:
        there = {job.id for job in (await app.list_jobs(limit=10_000)).jobs}
        [interrupted] = await backend.reap(limit=9, max_crashes=3)
        async with app.workers(concurrency=4):
            await asyncio.gather(*(app.wait(job_id) for job_id in there))

    assert {int(line) for line in said if line != "started"} <= there == set(ran)
    assert (interrupted.crashes, len(ran)) == (1, len(there))


def kill_while_it_fills(file: str) -> list[str]:
    """Return what a process said of jobs it stored, until it was killed."""
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", FILLING, file], stdout=subprocess.PIPE, text=True) as filling:
        assert filling.stdout is not None
        try:
            while len(said) < LINES_BEFORE_THE_KILL or "started" not in said:
                said.append(filling.stdout.readline().strip())
        finally:
            filling.kill()
    return said


async def test_another_process_is_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "jobs.db")
    backend = JournalledBackend(load_example().SqliteJournal(file), clock=SystemClock(), rng=Random())
    await backend.open()

    with closing(sqlite3.connect(file, timeout=0)) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT key FROM records")

    await backend.close()
    with closing(sqlite3.connect(file, timeout=0)) as other:
        assert other.execute("SELECT key FROM records").fetchall() == []
