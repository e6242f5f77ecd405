"""Timeouts of `def` handlers: a thread is told, waited for, and abandoned when it does not end."""

import asyncio
import threading

from tests.scenarios.conftest import MakeApp, UntilEvent
from tests.scenarios.stubborn import Blind

from gotaskq import Context, NoRetry, Settings, Status, TaskQ
from gotaskq.engine.deadlines import STOP_GRACE_S
from gotaskq.engine.worker import CANCEL_GRACE_S, WEAR_S
from gotaskq.events import JobDied, JobDone
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.desk import PATIENCE_S

TOO_LONG = "JobTimeoutError: ran longer than 30 s"


async def test_a_thread_is_told_at_its_timeout_and_may_end(
    app: TaskQ, clock: FakeClock, until_event: UntilEvent
) -> None:
    started = threading.Event()

    @app.handler("heeding", timeout=30, retry=NoRetry())
    def heeding(ctx: Context) -> None:
        started.set()
        ctx.wait_for_cancel(PATIENCE_S)

    async with app, app.workers(concurrency=1) as worker:
        enqueued = await app.enqueue("heeding")
        await asyncio.to_thread(started.wait, PATIENCE_S)
        await clock.advance(30)
        await until_event(JobDied)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)
    assert worker.abandoned == 0


async def test_a_thread_that_has_finished_in_its_grace_is_done(
    app: TaskQ, clock: FakeClock, until_event: UntilEvent
) -> None:
    blind = app.handler("blind", timeout=30)(Blind())

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("blind")
        await asyncio.to_thread(blind.running.acquire, timeout=PATIENCE_S)
        await clock.advance(30 + STOP_GRACE_S - 0.1)
        blind.let_go.set()
        await until_event(JobDone)
        done = await app.get(enqueued.id)

    assert (done.status, done.result) == (Status.DONE, "done at last")


async def test_a_thread_that_does_not_end_is_abandoned_and_counted(
    app: TaskQ, clock: FakeClock, until_event: UntilEvent
) -> None:
    blind = app.handler("blind", timeout=30, retry=NoRetry())(Blind())

    async with app, app.workers(concurrency=2) as worker:
        enqueued = await app.enqueue("blind")
        await asyncio.to_thread(blind.running.acquire, timeout=PATIENCE_S)
        await clock.advance(30 + STOP_GRACE_S)
        dead = await app.get(enqueued.id)
        abandoned, busy, is_left = worker.abandoned, worker.busy, worker.abandoned_on_loop
        following = await app.enqueue("blind", "quick")
        await until_event(JobDone)
        done = await app.get(following.id)
        blind.let_go.set()
        await asyncio.to_thread(blind.ended.acquire, timeout=PATIENCE_S)
        after = await app.get(enqueued.id)

    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)
    assert (abandoned, busy, is_left) == (1, 0, False)
    assert done.status is Status.DONE
    assert after == dead


async def test_a_worker_with_too_many_such_threads_ends_itself(app: TaskQ, clock: FakeClock) -> None:
    blind = app.handler("blind", timeout=30, retry=NoRetry())(Blind())

    async with app:
        async with app.workers(concurrency=2) as worker:
            jobs = [await app.enqueue("blind") for _ in range(2)]
            for _ in jobs:
                await asyncio.to_thread(blind.running.acquire, timeout=PATIENCE_S)
            await clock.advance(30 + STOP_GRACE_S + WEAR_S)
            await asyncio.wait_for(worker.ended.wait(), PATIENCE_S)
        statuses = [(await app.get(job.id)).status for job in jobs]
        blind.let_go.set()

    assert worker.is_worn_out
    assert statuses == [Status.DEAD, Status.DEAD]


async def test_a_thread_that_was_cancelled_a_moment_before_its_timeout_has_its_grace(
    app: TaskQ, clock: FakeClock, until_event: UntilEvent
) -> None:
    blind = app.handler("blind", timeout=30)(Blind())

    async with app, app.workers(concurrency=1) as worker:
        enqueued = await app.enqueue("blind")
        await asyncio.to_thread(blind.running.acquire, timeout=PATIENCE_S)
        await clock.advance(29.5)
        await app.cancel(enqueued.id)
        await clock.advance(1)
        abandoned = worker.abandoned
        blind.let_go.set()
        await until_event(JobDone)
        done = await app.get(enqueued.id)

    assert abandoned == 0
    assert done.status is Status.DONE


async def test_what_a_drain_abandons_in_a_thread_is_given_back(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=1_000))
    blind = app.handler("blind", timeout=300)(Blind())

    async with app:
        enqueued = await app.enqueue("blind")
        async with app.workers(concurrency=1) as worker:
            await asyncio.to_thread(blind.running.acquire, timeout=PATIENCE_S)
            worker.stop()
            await clock.advance(1 + CANCEL_GRACE_S)
            abandoned = worker.abandoned
        given_back = await app.get(enqueued.id)
        blind.let_go.set()

    assert abandoned == 1
    assert (given_back.status, given_back.attempt) == (Status.PENDING, 0)
