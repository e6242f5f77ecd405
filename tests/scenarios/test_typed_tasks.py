"""Tasks of each kind run where their handlers run: on the loop, in a thread, in a child process."""

import asyncio
import os
import threading
from datetime import UTC, date, datetime
from random import Random

import pytest
from tests.scenarios import typed_tasks

from gotaskq import TaskQ
from gotaskq.errors import JobFailedError, RegistrationError
from gotaskq.executor import importable_name

PATIENCE_S = 60


@pytest.mark.slow
async def test_a_task_runs_in_a_child_process() -> None:
    async with typed_tasks.app as app, app.workers(concurrency=1):
        checked = await typed_tasks.check_day.enqueue(date(2026, 11, 23), parent=os.getpid())
        failed = await typed_tasks.fail.enqueue("no luck")

        waited = await typed_tasks.wait_there.enqueue(date(2026, 11, 23))

        await checked.result(timeout=PATIENCE_S)
        assert await waited.result(timeout=PATIENCE_S) == date(2026, 11, 24)
        with pytest.raises(JobFailedError, match="ValueError: no luck"):
            await failed.result(timeout=PATIENCE_S)


def test_a_child_finds_a_task_by_the_name_of_its_function() -> None:
    assert importable_name(typed_tasks.fail.handler) == "tests.scenarios.typed_tasks:fail.run"


def test_what_no_child_could_find_is_refused() -> None:
    app = TaskQ()

    with pytest.raises(RegistrationError, match="Define it with `def` at the top level of a module"):

        @app.task(executor="process")
        def nested() -> None: ...

    assert app.tasks == {}


async def test_a_def_runs_in_a_thread_with_its_own_types(rng: Random) -> None:
    app = TaskQ(rng=rng)
    seen: list[object] = []

    @app.task()
    def note(at: datetime) -> datetime:
        seen.extend([at, threading.current_thread() is threading.main_thread()])
        return at

    at = datetime(2026, 11, 23, tzinfo=UTC)
    async with app, app.workers(concurrency=1):
        job = await note.enqueue(at)
        returned = await job.result(timeout=PATIENCE_S)

    assert returned == at
    assert seen == [at, False]


async def test_an_async_task_can_be_cancelled_by_its_handle(rng: Random) -> None:
    app = TaskQ(rng=rng)
    started = asyncio.Event()
    ended: list[str] = []

    @app.task()
    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with app, app.workers(concurrency=1):
        job = await wait.enqueue()
        await started.wait()
        await job.cancel()
        await app.wait(job.id, timeout=PATIENCE_S)

    assert ended == ["cancelled"]
