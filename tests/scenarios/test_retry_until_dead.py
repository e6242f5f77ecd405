"""A job that keeps failing is retried with backoff, as often as it may, and then given up on."""

from itertools import pairwise

import pytest
from tests.scenarios.conftest import MakeApp

from gotaskq import FixedDelay, Job, NoRetry, Settings, Status, TaskQ
from gotaskq.events import Event, JobDied, JobRetryScheduled, JobStarted
from gotaskq.job import DeathReason
from gotaskq.testing.clock import FakeClock

LONG_S = 120


async def test_a_job_runs_once_and_then_max_retries_times_more(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    attempts: list[int] = []

    @app.handler("fail")
    async def fail(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("fail", max_retries=8)
        await clock.advance(LONG_S)
        dead = await app.get(enqueued.id)

    assert attempts == list(range(1, 10))
    assert (dead.status, dead.retry_count, dead.attempt) == (Status.DEAD, 8, 9)
    assert (dead.death_reason, dead.error) == (DeathReason.RETRIES_EXHAUSTED, "ValueError: no luck")
    assert [type(event) for event in events if not isinstance(event, JobStarted)][1:] == [JobRetryScheduled] * 8 + [
        JobDied
    ]


async def test_the_wait_doubles_up_to_the_cap_plus_at_most_two_fifths(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(settings=Settings(base_delay_ms=100, max_delay_ms=5_000))
    started_ms: list[int] = []

    @app.handler("fail")
    async def fail(job: Job) -> None:
        started_ms.append(clock.now_ms())
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        await app.enqueue("fail", max_retries=10)
        await clock.advance(LONG_S)

    waits_ms = [later - earlier for earlier, later in pairwise(started_ms)]
    least_ms = [min(100 * 2**retry, 5_000) for retry in range(10)]
    assert all(least <= wait <= 1.4 * least for least, wait in zip(least_ms, waits_ms, strict=True))


async def test_a_job_with_no_retries_dies_at_its_first_failure(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("fail", max_retries=0)
        await clock.settle()
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.attempt) == (Status.DEAD, 1)


async def test_a_retry_goes_back_to_its_own_queue(app: TaskQ, clock: FakeClock) -> None:
    queues: list[str] = []

    @app.handler("flaky")
    async def flaky(job: Job) -> None:
        queues.append(job.queue)
        if job.attempt == 1:
            raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        await app.create_queue("mail")
        enqueued = await app.enqueue("flaky", queue="mail")
        await clock.advance(LONG_S)
        done = await app.get(enqueued.id)

    assert queues == ["mail", "mail"]
    assert (done.status, done.queue, done.retry_count) == (Status.DONE, "mail", 1)


async def test_a_handlers_own_policy_counts(app: TaskQ, clock: FakeClock) -> None:
    started_ms: list[int] = []

    @app.handler("steady", retry=FixedDelay(7_000))
    async def steady(job: Job) -> None:
        started_ms.append(clock.now_ms())
        raise ValueError("no luck")

    @app.handler("once", retry=NoRetry())
    async def once(job: Job) -> None:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=2):
        await app.enqueue("steady", max_retries=3)
        enqueued = await app.enqueue("once", max_retries=3)
        await clock.advance(LONG_S)
        dead = await app.get(enqueued.id)

    assert [later - earlier for earlier, later in pairwise(started_ms)] == [7_000] * 3
    assert (dead.status, dead.attempt, dead.death_reason) == (Status.DEAD, 1, DeathReason.NO_RETRY)


async def test_a_policy_that_raises_costs_neither_the_job_nor_the_slot(
    app: TaskQ, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def decide(self, *_: object, **__: object) -> FixedDelay:
            raise RuntimeError("the policy is broken")

    @app.handler("flaky", retry=Broken())  # type: ignore[arg-type]  # what a user without a type checker may pass
    async def flaky(job: Job) -> None:
        if job.attempt == 1:
            raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("flaky")
        await clock.advance(LONG_S)
        done = await app.get(enqueued.id)

    assert (done.status, done.retry_count) == (Status.DONE, 1)
    assert "retry policy failed" in caplog.messages
