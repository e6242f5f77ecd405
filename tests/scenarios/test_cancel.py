"""Cancelling: a waiting job at once, a running one through its handler, an ended one not at all."""

import asyncio
import contextlib
import threading

import pytest
from tests.scenarios.conftest import Until, UntilEvent

from gotaskq import Context, Job, Status, TaskQ
from gotaskq.errors import JobNotFoundError
from gotaskq.events import Event, JobCancelled, JobDone
from gotaskq.testing.clock import FakeClock


async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    ran: list[int] = []

    @app.handler("work")
    async def work(job: Job) -> None:
        ran.append(job.id)

    async with app:
        waiting = await app.enqueue("work")
        scheduled = await app.enqueue("work", delay=60)
        cancelled = [await app.cancel(job.id) for job in (waiting, scheduled)]
        async with app.workers(concurrency=1):
            await clock.advance(120)

    assert [job.status for job in cancelled] == [Status.CANCELLED, Status.CANCELLED]
    assert ran == []
    assert [event.job.id for event in events if isinstance(event, JobCancelled)] == [waiting.id, scheduled.id]


async def test_a_running_handler_is_cancelled_and_the_slot_goes_on(
    app: TaskQ, clock: FakeClock, until: Until, events: list[Event]
) -> None:
    was_cancelled = asyncio.Event()

    @app.handler("long")
    async def long(job: Job) -> None:
        if job.payload == "next":
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("long")
        await clock.settle()
        asked = await app.cancel(enqueued.id)
        await until(was_cancelled.is_set)
        following = await app.enqueue("long", "next")
        await clock.settle()
        cancelled, done = await app.get(enqueued.id), await app.get(following.id)

    assert (asked.status, asked.is_cancel_requested) == (Status.RUNNING, True)
    assert cancelled.status is Status.CANCELLED
    assert done.status is Status.DONE
    assert [event.job.id for event in events if isinstance(event, JobCancelled)] == [enqueued.id]


async def test_a_handler_that_finishes_all_the_same_is_done(app: TaskQ, clock: FakeClock, events: list[Event]) -> None:
    @app.handler("thorough")
    async def thorough(job: Job) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        jobs = [await app.enqueue("thorough") for _ in range(2)]
        for job in jobs:
            await clock.settle()
            await app.cancel(job.id)
        await clock.settle()
        statuses = [(await app.get(job.id)).status for job in jobs]

    assert statuses == [Status.DONE, Status.DONE]
    assert sum(isinstance(event, JobDone) for event in events) == 2


async def test_a_cancelled_job_that_fails_is_cancelled_and_not_retried(app: TaskQ, clock: FakeClock) -> None:
    attempts: list[int] = []

    @app.handler("clumsy")
    async def clumsy(job: Job) -> None:
        attempts.append(job.attempt)
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("the clean-up failed")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("clumsy", max_retries=5)
        await clock.settle()
        await app.cancel(enqueued.id)
        await clock.advance(60)
        cancelled = await app.get(enqueued.id)

    assert cancelled.status is Status.CANCELLED
    assert attempts == [1]


async def test_another_process_hears_of_it_with_its_next_heartbeat(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("long")
    async def long(job: Job) -> None:
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("long")
        await clock.settle()
        await app._parts.backend.cancel(enqueued.id)  # as another process does, past this one's worker
        await clock.advance(10)
        cancelled = await app.get(enqueued.id)

    assert cancelled.status is Status.CANCELLED


async def test_a_thread_sees_in_its_context_that_it_is_cancelled(
    app: TaskQ, events: list[Event], until_event: UntilEvent
) -> None:
    started = threading.Event()

    @app.handler("blocking")
    def blocking(ctx: Context) -> None:
        started.set()
        while not ctx.wait_for_cancel(10):
            pass

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("blocking")
        await asyncio.to_thread(started.wait, 10)
        asked = await app.cancel(enqueued.id)
        await until_event(JobCancelled)
        cancelled = await app.get(enqueued.id)

    assert (asked.status, asked.is_cancel_requested) == (Status.RUNNING, True)
    assert cancelled.status is Status.CANCELLED


async def test_a_thread_that_never_looks_is_done_when_it_has_finished(
    app: TaskQ, events: list[Event], until_event: UntilEvent
) -> None:
    started, let_go = threading.Event(), threading.Event()

    @app.handler("blind")
    def blind(job: Job) -> int:
        started.set()
        let_go.wait(10)
        return 7

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("blind")
        await asyncio.to_thread(started.wait, 10)
        await app.cancel(enqueued.id)
        running = await app.get(enqueued.id)
        let_go.set()
        await until_event(JobDone)
        done = await app.get(enqueued.id)

    assert running.status is Status.RUNNING
    assert (done.status, done.result) == (Status.DONE, 7)


async def test_an_ended_job_stays_as_it_is(app: TaskQ, clock: FakeClock, events: list[Event]) -> None:
    @app.handler("ok")
    async def succeed(job: Job) -> None:
        pass

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("ok")
        await clock.settle()
        after = await app.cancel(enqueued.id)

    assert after.status is Status.DONE
    assert not any(isinstance(event, JobCancelled) for event in events)


async def test_a_job_that_is_not_there_cannot_be_cancelled(app: TaskQ) -> None:
    async with app:
        with pytest.raises(JobNotFoundError):
            await app.cancel(1)


async def test_a_job_that_is_cancelled_again_is_told_of_once(app: TaskQ, events: list[Event]) -> None:
    async with app:
        enqueued = await app.enqueue("anything")
        await app.cancel(enqueued.id)
        again = await app.cancel(enqueued.id)

    assert again.status is Status.CANCELLED
    assert [type(event) for event in events].count(JobCancelled) == 1
