"""Schedule timeouts: a job that has waited too long is dead, whoever notices, and is never started late."""

import asyncio

import pytest
from msgspec.structs import replace
from tests.scenarios.conftest import Until

from gotaskq import FixedDelay, Job, Status, TaskQ
from gotaskq.events import Event, JobDied, JobStarted
from gotaskq.job import DeathReason, JobId, Timeouts
from gotaskq.testing.clock import FakeClock

PATIENT = Timeouts(schedule_ms=60_000)
TOO_LATE = "not started within 60000 ms of being due"


async def enqueue_patient(app: TaskQ, job_type: str, *, delay_s: int = 0) -> Job:
    """Store a job that must start within a minute of being due."""
    like = await app.enqueue(job_type, delay=86_400)
    job = replace(
        like,
        id=JobId(like.id + 1),
        timeouts=PATIENT,
        delay_ms=delay_s * 1_000,
        run_after_ms=like.created_at_ms + delay_s * 1_000,
        enqueue_nonce="its own",
    )
    await app._parts.backend.enqueue([job])
    return job


@pytest.fixture
def started(app: TaskQ) -> list[int]:
    """The jobs that were started, and a handler of `quick` ones."""
    started: list[int] = []

    @app.handler("quick")
    async def quick(job: Job) -> None:
        started.append(job.id)

    return started


async def test_a_job_that_starts_in_time_is_done(app: TaskQ, clock: FakeClock, started: list[int]) -> None:
    async with app:
        job = await enqueue_patient(app, "quick")
        await clock.advance(60)
        async with app.workers(concurrency=1):
            await clock.settle()
        done = await app.get(job.id)

    assert (done.status, started) == (Status.DONE, [job.id])


@pytest.mark.parametrize("delay_s", [0, 3_600])
async def test_a_job_that_waits_for_a_slot_for_too_long_is_dead(
    app: TaskQ, clock: FakeClock, events: list[Event], started: list[int], delay_s: int
) -> None:
    let_go = asyncio.Event()

    @app.handler("long")
    async def long(job: Job) -> None:
        await let_go.wait()

    async with app, app.workers(concurrency=1):
        await app.enqueue("long")
        await clock.settle()
        job = await enqueue_patient(app, "quick", delay_s=delay_s)
        await clock.advance(delay_s + 60)
        waiting = await app.get(job.id)
        await clock.advance(2)
        dead = await app.get(job.id)
        let_go.set()
        await clock.advance(2)

    assert waiting.status is Status.PENDING
    assert (dead.status, dead.death_reason, dead.error) == (Status.DEAD, DeathReason.EXPIRED, TOO_LATE)
    assert (dead.attempt, dead.started_at_ms, dead.trail.attempts) == (0, None, ())
    assert started == []
    [died] = [event for event in events if isinstance(event, JobDied)]
    assert (died.job.id, died.reason, died.error, died.duration_s) == (job.id, DeathReason.EXPIRED, TOO_LATE, None)


async def test_a_job_is_never_started_late_even_where_nobody_has_looked(
    app: TaskQ, clock: FakeClock, events: list[Event], started: list[int]
) -> None:
    async with app:
        job = await enqueue_patient(app, "quick")
        await clock.advance(60.001)
        async with app.workers(concurrency=1):
            await clock.settle()  # the fetcher is faster than the Expirer
            dead = await app.get(job.id)

    assert (dead.status, dead.death_reason, dead.error) == (Status.DEAD, DeathReason.EXPIRED, TOO_LATE)
    assert (dead.attempt, dead.trail.attempts) == (0, ())
    assert started == []
    assert not any(isinstance(event, JobStarted) for event in events)
    [died] = [event for event in events if isinstance(event, JobDied)]
    assert (died.reason, died.duration_s) == (DeathReason.EXPIRED, None)


async def test_the_wait_for_a_retry_counts_anew(app: TaskQ, clock: FakeClock, until: Until) -> None:
    attempts: list[int] = []

    @app.handler("flaky", retry=FixedDelay(50_000))
    async def flaky(job: Job) -> None:
        attempts.append(job.attempt)
        if job.attempt < 3:
            raise ValueError("no luck")

    async with app:
        job = await enqueue_patient(app, "flaky")
        async with app.workers(concurrency=1):
            await clock.advance(101)
            done = await app.get(job.id)

    assert attempts == [1, 2, 3]
    assert done.status is Status.DONE


async def test_a_retry_that_starts_too_late_is_dead_with_its_attempts(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("flaky", retry=FixedDelay(50_000))
    async def flaky(job: Job) -> None:
        raise ValueError("no luck")

    async with app:
        job = await enqueue_patient(app, "flaky")
        async with app.workers(concurrency=1):
            await clock.advance(1)
        await clock.advance(49 + 60.001)
        async with app.workers(concurrency=1):
            await clock.settle()
        dead = await app.get(job.id)

    assert (dead.status, dead.death_reason, dead.error) == (Status.DEAD, DeathReason.EXPIRED, TOO_LATE)
    assert dead.attempt == 1
    assert [attempt.error for attempt in dead.trail.attempts] == ["ValueError: no luck"]


async def test_what_expired_can_be_replayed_and_may_wait_again(
    app: TaskQ, clock: FakeClock, started: list[int]
) -> None:
    async with app:
        job = await enqueue_patient(app, "quick")
        await clock.advance(61)
        async with app.workers(concurrency=1):
            await clock.settle()
        replayed = await app.replay(job.id)
        await clock.advance(59)
        async with app.workers(concurrency=1):
            await clock.settle()
        done = await app.get(job.id)

    assert (replayed.status, replayed.error) == (Status.PENDING, None)
    assert (done.status, done.attempt, started) == (Status.DONE, 1, [job.id])
