"""Timeouts: a handler that takes too long is stopped, given up if need be, and its slot goes on."""

import asyncio
import contextlib

import pytest
from msgspec.structs import replace
from tests.scenarios.away import AwayBackend
from tests.scenarios.conftest import MakeApp, Until
from tests.scenarios.stubborn import Stubborn

from gotaskq import Context, FixedDelay, Job, NoRetry, Status, TaskQ, current_context
from gotaskq.engine.deadlines import LAST_GRACE_S, STOP_GRACE_S
from gotaskq.engine.worker import WEAR_S
from gotaskq.events import Event, JobCancelled, JobDied, JobRetryScheduled
from gotaskq.job import JobId, Timeouts
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.desk import PATIENCE_S

TOO_LONG = "JobTimeoutError: ran longer than 30 s"


async def enqueue_with(app: TaskQ, job_type: str, timeouts: Timeouts) -> Job:
    """Store a job that has timeouts of its own."""
    like = await app.enqueue(job_type, delay=3_600)
    job = replace(
        like,
        id=JobId(like.id + 1),
        timeouts=timeouts,
        delay_ms=0,
        run_after_ms=like.created_at_ms,
        enqueue_nonce="its own",
    )
    await app._parts.backend.enqueue([job])
    return job


# ---- stopped


async def test_a_handler_is_cancelled_at_its_timeout_and_its_job_retried(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    @app.handler("slow", timeout=30, retry=FixedDelay(1_000))
    async def slow(job: Job) -> str:
        if job.attempt == 1:
            await asyncio.Event().wait()
        return "quick"

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("slow")
        await clock.advance(29.9)
        running = await app.get(enqueued.id)
        await clock.advance(0.1)
        waiting = await app.get(enqueued.id)
        await clock.advance(1)
        done = await app.get(enqueued.id)

    assert running.status is Status.RUNNING
    assert (waiting.status, waiting.retry_count, waiting.error) == (Status.PENDING, 1, TOO_LONG)
    [attempt] = waiting.trail.attempts
    assert (attempt.number, attempt.error, attempt.ended_at_ms - attempt.started_at_ms) == (1, TOO_LONG, 30_000)
    assert "in slow\n    await asyncio.Event().wait()" in attempt.traceback
    assert (done.status, done.attempt, done.result) == (Status.DONE, 2, "quick")
    [retried] = [event for event in events if isinstance(event, JobRetryScheduled)]
    assert (retried.error, retried.delay_ms, retried.duration_s) == (TOO_LONG, 1_000, 30.0)


async def test_without_a_timeout_a_handler_may_run_for_ever(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("slow")
    async def slow(job: Job) -> None:
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1) as worker:
        enqueued = await app.enqueue("slow")
        await clock.advance(600)
        running = await app.get(enqueued.id)
        worker.hurry()

    assert (running.status, running.attempt) == (Status.RUNNING, 1)


@pytest.mark.parametrize(("of_its_own_s", "of_its_type_s"), [(10, 30), (10, None), (60, 30)])
async def test_the_timeout_of_a_job_counts_before_that_of_its_type(
    app: TaskQ, clock: FakeClock, of_its_own_s: int, of_its_type_s: float | None
) -> None:
    @app.handler("slow", timeout=of_its_type_s, retry=NoRetry())
    async def slow(job: Job) -> None:
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        job = await enqueue_with(app, "slow", Timeouts(execution_ms=of_its_own_s * 1_000))
        await clock.advance(of_its_own_s - 0.1)
        running = await app.get(job.id)
        await clock.advance(0.1)
        dead = await app.get(job.id)

    assert running.status is Status.RUNNING
    assert (dead.status, dead.error) == (Status.DEAD, f"JobTimeoutError: ran longer than {of_its_own_s} s")


async def test_a_schedule_timeout_leaves_the_timeout_of_the_type(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("slow", timeout=30, retry=NoRetry())
    async def slow(job: Job) -> None:
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        job = await enqueue_with(app, "slow", Timeouts(schedule_ms=60_000))
        await clock.advance(30)
        dead = await app.get(job.id)

    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)


async def test_a_handler_may_take_more_time(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("long", timeout=30, retry=NoRetry())
    async def long(ctx: Context) -> None:
        await clock.sleep(20)
        ctx.extend(60)
        if ctx.job.payload == "longer":
            await clock.sleep(59)
            current_context().extend(60)
        await clock.sleep(59)

    async with app, app.workers(concurrency=2):
        jobs = [await app.enqueue("long", payload) for payload in ("long", "longer")]
        await clock.advance(20 + 59 + 59)
        ended = [await app.get(job.id) for job in jobs]

    assert [job.status for job in ended] == [Status.DONE, Status.DONE]


async def test_more_time_ends_too(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("long", timeout=30, retry=NoRetry())
    async def long(ctx: Context) -> None:
        ctx.extend(60)
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("long")
        await clock.advance(60)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.error) == (Status.DEAD, "JobTimeoutError: ran longer than 60 s")


@pytest.mark.parametrize("result", [None, "late"])
async def test_a_handler_that_finishes_after_it_was_told_to_stop_is_done(
    app: TaskQ, clock: FakeClock, result: str | None
) -> None:
    @app.handler("thorough", timeout=30)
    async def thorough(job: Job) -> str | None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await clock.sleep(STOP_GRACE_S - 0.1)
        return result

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("thorough")
        await clock.advance(30 + STOP_GRACE_S)
        done = await app.get(enqueued.id)

    assert (done.status, done.result) == (Status.DONE, result)


async def test_a_slow_clean_up_is_cut_short_and_the_slot_goes_on(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("untidy", timeout=30, retry=NoRetry())
    async def untidy(job: Job) -> None:
        if job.payload == "next":
            return
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async with app, app.workers(concurrency=1) as worker:
        enqueued, following = await app.enqueue("untidy"), await app.enqueue("untidy", "next")
        await clock.advance(30 + STOP_GRACE_S)
        dead, done = await app.get(enqueued.id), await app.get(following.id)
        abandoned = worker.abandoned

    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)
    assert done.status is Status.DONE
    assert abandoned == 0


async def test_a_deadline_does_not_hit_the_slots_next_job(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("slow", timeout=30, retry=NoRetry())
    async def slow(job: Job) -> None:
        await clock.sleep(20)

    async with app, app.workers(concurrency=1):
        jobs = [await app.enqueue("slow") for _ in range(4)]
        await clock.advance(80)
        statuses = [(await app.get(job.id)).status for job in jobs]

    assert statuses == [Status.DONE] * 4


async def test_a_job_that_is_cancelled_and_takes_its_time_is_cancelled(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    @app.handler("untidy", timeout=30)
    async def untidy(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("untidy")
        await clock.advance(29)
        await app.cancel(enqueued.id)
        await clock.advance(1 + STOP_GRACE_S)
        cancelled = await app.get(enqueued.id)

    assert cancelled.status is Status.CANCELLED
    assert [type(event) for event in events[2:]] == [JobCancelled]


# ---- given up


async def test_a_handler_that_swallows_its_cancellation_is_given_up_and_its_slot_replaced(
    app: TaskQ, clock: FakeClock, until: Until, events: list[Event]
) -> None:
    stubborn = app.handler("stubborn", timeout=30, retry=NoRetry())(Stubborn())

    async with app, app.workers(concurrency=2) as worker:
        enqueued = await app.enqueue("stubborn")
        await clock.advance(30 + STOP_GRACE_S + LAST_GRACE_S - 0.1)
        still_runs = await app.get(enqueued.id)
        await clock.advance(0.1)
        dead = await app.get(enqueued.id)
        abandoned, busy, is_left = worker.abandoned, worker.busy, worker.abandoned_on_loop
        others = [await app.enqueue("stubborn", "quick") for _ in range(4)]
        await clock.settle()
        statuses = [(await app.get(job.id)).status for job in others]
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)
        await clock.settle()
        abandoned_later, after = worker.abandoned, await app.get(enqueued.id)

    assert still_runs.status is Status.RUNNING
    assert (dead.status, dead.error, dead.result) == (Status.DEAD, TOO_LONG, None)
    assert (abandoned, busy, is_left) == (1, 0, True)
    assert statuses == [Status.DONE] * 4
    assert (abandoned_later, worker.abandoned_on_loop, worker.is_worn_out) == (0, False, False)
    assert after == dead
    assert [type(event) for event in events if event.job.id == enqueued.id][2:] == [JobDied]  # type: ignore[union-attr]


async def test_a_worker_with_too_many_of_them_ends_itself(
    app: TaskQ, clock: FakeClock, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = app.handler("stubborn", timeout=30, retry=NoRetry())(Stubborn())

    async with app:
        async with app.workers(concurrency=4) as worker:
            jobs = [await app.enqueue("stubborn") for _ in range(2)]
            await clock.advance(30 + STOP_GRACE_S + LAST_GRACE_S + WEAR_S)
            is_worn_out_by_half = worker.is_worn_out
            jobs.append(await app.enqueue("stubborn"))
            await clock.advance(30 + STOP_GRACE_S + LAST_GRACE_S + WEAR_S)
            await asyncio.wait_for(worker.ended.wait(), PATIENCE_S)
        ended = [await app.get(job.id) for job in jobs]
        never_run = await app.enqueue("stubborn", "quick")
        await clock.settle()
        waiting = await app.get(never_run.id)
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)

    assert (is_worn_out_by_half, worker.is_worn_out) == (False, True)
    assert [job.status for job in ended] == [Status.DEAD] * 3
    assert waiting.status is Status.PENDING
    assert caplog.messages.count("handler_would_not_end") == 3
    assert caplog.messages.count("worker_worn_out") == 1


async def test_one_given_up_is_settled_once_though_the_store_is_away(
    clock: FakeClock, make_app: MakeApp, until: Until
) -> None:
    backend = AwayBackend(clock=clock)
    app = make_app(backend=backend)
    stubborn = app.handler("stubborn", timeout=30, retry=NoRetry())(Stubborn())

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("stubborn")
        await clock.advance(1)
        backend.is_away = True
        await clock.advance(30 + STOP_GRACE_S + LAST_GRACE_S)
        running = await app.get(enqueued.id)
        backend.is_away = False
        await clock.advance(10)
        dead = await app.get(enqueued.id)
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)

    assert running.status is Status.RUNNING
    assert (dead.status, dead.error, dead.attempt) == (Status.DEAD, TOO_LONG, 1)
    assert len(backend.settled) == 1
