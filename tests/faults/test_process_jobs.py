"""A whole queue whose handlers run in child processes: what becomes of the jobs."""

import asyncio

import pytest
from tests.faults import crashing

from gotaskq import Job, NoRetry, Settings, Status, TaskQ
from gotaskq.events import Event, JobCancelled, JobDied, JobDone
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.testing.desk import PATIENCE_S, Desk
from gotaskq.testing.handlers import echo, meet

ENDS = (JobDone, JobDied, JobCancelled)


def make_app(*, num_workers: int = 2) -> tuple[TaskQ, "asyncio.Queue[Event]"]:
    app = TaskQ("memory://", settings=Settings(num_workers=num_workers), retry=NoRetry(), children=ProcessOptions())
    for handler in (echo, meet, crashing.segfault, crashing.exit_3, crashing.kill_self):
        app.handler(handler.__name__, executor="process")(handler)
    ended: asyncio.Queue[Event] = asyncio.Queue()
    app.observe(ended.put_nowait, ENDS)
    return app, ended


async def until_ended(ended: "asyncio.Queue[Event]", count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(count):
            await ended.get()


async def look(app: TaskQ, jobs: list[Job]) -> list[Job]:
    return [await app.get(job.id) for job in jobs]


async def test_only_the_jobs_that_crash_pay_for_it() -> None:
    app, ended = make_app()
    async with app, app.workers():
        innocent = [await app.enqueue("echo", number) for number in range(50)]
        poison = [await app.enqueue(name, priority=9) for name in ("segfault", "exit_3", "kill_self")]
        await until_ended(ended, 53)

        assert {job.status for job in await look(app, innocent)} == {Status.DONE}
        assert [(job.status, job.error) for job in await look(app, poison)] == [
            (Status.DEAD, "ChildEndedError: child ended by signal 11 (SIGSEGV)"),
            (Status.DEAD, "ChildEndedError: child exited with code 3"),
            (Status.DEAD, "ChildEndedError: child ended by signal 9 (SIGKILL)"),
        ]


async def test_a_cancelled_job_is_cancelled_when_its_child_has_ended() -> None:
    app, ended = make_app(num_workers=1)
    async with Desk() as desk, app, app.workers():
        job = await app.enqueue("meet", desk.port)
        visitor = await desk.visitor()

        await app.cancel(job.id)
        await visitor.last_words()
        await until_ended(ended, 1)

        assert (await app.get(job.id)).status is Status.CANCELLED


async def test_a_hurry_kills_the_child_and_waits_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = make_app(num_workers=1)
    async with Desk() as desk, app:
        job = await app.enqueue("meet", desk.port)
        async with app.workers() as worker:
            await desk.visitor()
            worker.hurry()
        given_back = await app.get(job.id)

    assert (given_back.status, given_back.attempt) == (Status.PENDING, 0)
    assert (worker.abandoned, worker.abandoned_on_loop) == (0, False)
    assert "handler_would_not_end" not in caplog.messages
