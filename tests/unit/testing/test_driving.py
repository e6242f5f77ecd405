"""Draining: what is due runs, in order, with all that follows from it, and nothing else does."""

import asyncio
import threading

import pytest

from gotaskq import Context, Discard, FixedDelay, Job, NoRetry, Snooze, Status, TaskQ, current_context
from gotaskq.errors import EndlessJobsError, GotaskqError, JobTimeoutError, RegistrationError
from gotaskq.events import Event, JobDied, JobDone, JobEnqueued, JobRetryScheduled, JobStarted
from gotaskq.testing import FlakyBackend, drain, frozen_clock, lose_worker
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def app(clock: FakeClock) -> TaskQ:
    app = TaskQ(clock=clock, retry=FixedDelay(10_000))

    @app.handler("ok")
    async def ok(job: Job) -> None:
        await asyncio.sleep(0)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    return app


def drained(*, done: int = 0, dead: int = 0, pending: int = 0) -> dict[str, int]:
    return {"done": done, "dead": dead, "pending": pending}


async def test_outside_of_an_override_there_is_nothing_to_drain(app: TaskQ) -> None:
    async with app:
        with pytest.raises(GotaskqError, match="override"):
            await drain(app)


async def test_what_is_due_runs_by_priority(app: TaskQ) -> None:
    ran: list[int] = []

    @app.handler("note")
    def note(job: Job) -> None:
        assert threading.current_thread() is not threading.main_thread()
        ran.append(job.priority)

    async with app.override():
        for priority in (1, 9, 5):
            await app.enqueue("note", priority=priority)
        await app.enqueue("note", delay=1)

        assert await drain(app) == drained(done=3, pending=1)
        assert await drain(app) == drained(pending=1)

    assert ran == [9, 5, 1]


async def test_follow_up_jobs_run_too(app: TaskQ) -> None:
    @app.handler("chain")
    async def chain(job: Job) -> None:
        if job.payload:
            await app.enqueue("chain", job.payload - 1)

    async with app.override():
        await app.enqueue("chain", 3)

        assert await drain(app) == drained(done=4)


async def test_jobs_without_end_are_told(app: TaskQ) -> None:
    @app.handler("again")
    async def again(job: Job) -> None:
        await app.enqueue("again")

    async with app.override():
        await app.enqueue("again")

        with pytest.raises(EndlessJobsError, match="7 attempts"):
            await drain(app, max_attempts=7)


async def test_a_handlers_error_is_raised_once_its_job_is_settled(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("fail")
        waits = await app.enqueue("ok")

        with pytest.raises(ValueError, match="no luck") as raised:
            await drain(app)

        failed = await app.get(job.id)
        assert (failed.status, failed.retry_count) == (Status.PENDING, 1)
        assert raised.value.__notes__ == [f"in attempt 1 of job {job.id}, type 'fail'"]
        assert (await app.get(waits.id)).attempt == 0
        assert await drain(app) == drained(done=1, pending=1)


async def test_a_backoff_passes_by_ticks(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("fail", max_retries=1)
        assert await drain(app, raise_errors=False) == drained(pending=1)

        with frozen_clock(app) as time:
            time.tick(seconds=9.999)
            too_early = await drain(app, raise_errors=False)
            time.tick(seconds=0.001)
            at_last = await drain(app, raise_errors=False)

        assert (too_early, at_last) == (drained(pending=1), drained(dead=1))
        assert (await app.get(job.id)).attempt == 2


async def test_with_scheduled_nothing_is_left(app: TaskQ) -> None:
    async with app.override():
        await app.enqueue("fail", max_retries=3)
        await app.enqueue("ok", delay=86_400)
        await app.create_queue("mail")
        await app.enqueue("ok", queue="mail", delay=5)
        await app.pause("mail")

        assert await drain(app, raise_errors=False, with_scheduled=True) == drained(done=1, dead=1, pending=1)
        [died] = (await app.list_jobs(status=Status.DEAD)).jobs
        assert [attempt.number for attempt in died.trail.attempts] == [1, 2, 3, 4]
        assert (died.finished_at_ms or 0) - died.created_at_ms == 30_000


async def test_what_a_handler_wants_is_no_error(app: TaskQ) -> None:
    @app.handler("want")
    async def want(job: Job) -> None:
        raise (Snooze(30) if job.payload == "snooze" else Discard("of no use"))

    async with app.override():
        await app.enqueue("want", "snooze")
        await app.enqueue("want", "discard")

        assert await drain(app) == drained(dead=1, pending=1)


async def test_a_job_that_waited_too_long_dies(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("ok", schedule_timeout=5)
        with frozen_clock(app) as time:
            time.tick(seconds=6)

        assert await drain(app) == drained(dead=1)
        assert (await app.get(job.id)).attempt == 0


async def test_a_job_comes_back_from_a_lost_worker(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("ok")
        lost = await lose_worker(app)
        assert await drain(app) == drained()

        with frozen_clock(app) as time:
            time.tick(seconds=31)

        assert (lost.id, lost.status) == (job.id, Status.RUNNING)
        assert await drain(app) == drained(done=1)
        assert (await app.get(job.id)).crashes == 1
        with pytest.raises(AssertionError, match="no job is due"):
            await lose_worker(app)


async def test_a_job_that_costs_too_many_workers_counts_as_dead(app: TaskQ) -> None:
    async with app.override():
        await app.enqueue("ok")
        with frozen_clock(app) as time:
            for _ in range(app.settings.max_crashes - 1):
                await lose_worker(app)
                time.tick(seconds=31)
                await app.stand_in.stepper.take_back()
                time.tick(seconds=1)
            await lose_worker(app)
            time.tick(seconds=31)

        assert await drain(app) == drained(dead=1)


async def test_a_type_without_handler_is_told(app: TaskQ) -> None:
    async with app.override():
        await app.enqueue("nobody")

        with pytest.raises(RegistrationError, match="'nobody'"):
            await drain(app)


async def test_middleware_timeouts_and_context_are_as_in_a_worker(clock: FakeClock) -> None:
    around: list[str] = []

    async def note(job: Job, call_next: object) -> object:
        around.append(job.type)
        assert callable(call_next)
        return await call_next(job)

    app = TaskQ(clock=clock, retry=NoRetry(), middleware=[note])

    @app.handler("slow", timeout=3)
    async def slow(job: Job) -> None:
        await clock.sleep(10)

    @app.handler("tell")
    async def tell(ctx: Context) -> int:
        ctx.progress(0.5, "half")
        ctx.checkpoint({"at": 7})
        ctx.extend(60)
        return current_context().attempt

    async with app.override():
        await app.enqueue("slow")
        draining = asyncio.create_task(drain(app))
        await clock.advance(3)
        with pytest.raises(JobTimeoutError):
            await draining
        told = await app.enqueue("tell")
        await drain(app)
        told = await app.get(told.id)

    assert (told.result, told.trail.progress, told.trail.note, told.checkpoint) == (1, 0.5, "half", {"at": 7})
    assert around == ["slow", "tell"]


async def test_events_are_told_in_their_order(app: TaskQ) -> None:
    seen: list[type[Event]] = []
    app.observe(lambda event: seen.append(type(event)))

    async with app.override():
        await app.enqueue("ok")
        await app.enqueue("fail", max_retries=1)
        await drain(app, raise_errors=False, with_scheduled=True)

    assert seen == [
        *(JobEnqueued, JobEnqueued),
        *(JobStarted, JobDone, JobStarted, JobRetryScheduled, JobStarted, JobDied),
    ]


async def test_it_may_be_called_from_one_loop_after_another(app: TaskQ) -> None:
    async with app.override():
        await app.enqueue("ok")
        elsewhere = await asyncio.to_thread(asyncio.run, drain(app))
        await app.enqueue("ok")

        assert (elsewhere, await drain(app)) == (drained(done=1), drained(done=1))


async def test_a_settlement_whose_reply_is_lost_counts_once(app: TaskQ, clock: FakeClock) -> None:
    flaky = FlakyBackend()

    async with app.override(wrap=flaky.around):
        await app.enqueue("ok")
        flaky.lose_reply("settle")

        draining = asyncio.create_task(drain(app))
        await clock.advance(1)

        assert await draining == drained(done=1)
        assert flaky.calls.count("settle") == 2


async def test_a_drain_that_is_cancelled_ends_its_handler(app: TaskQ) -> None:
    began = asyncio.Event()
    ended = asyncio.Event()

    @app.handler("hang")
    async def hang(job: Job) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with app.override():
        await app.enqueue("hang")
        draining = asyncio.create_task(drain(app))
        await began.wait()

        draining.cancel()
        await asyncio.wait([draining])

        assert draining.cancelled()
        assert ended.is_set()
