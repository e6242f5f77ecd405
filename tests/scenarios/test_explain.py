"""Why has my job not run? Every reason, with what it says."""

from random import Random

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Settings, Status, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.errors import JobNotFoundError
from gotaskq.explaining import (
    AwaitsRetry,
    Due,
    Ended,
    LeaseLapsed,
    NoWorker,
    NoWorkerForQueue,
    NoWorkerForType,
    Paused,
    Position,
    Reason,
    Running,
    Scheduled,
)
from gotaskq.policies.scheduling import Turn
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock


async def reasons(app: TaskQ, job: Job) -> list[Reason]:
    return (await app.explain(job.id)).reasons


async def test_a_paused_queue_is_the_first_reason(app: TaskQ, clock: FakeClock) -> None:
    app.handler("work")(_work)
    async with app, app.workers(concurrency=1):
        await app.create_queue("mail")
        await app.pause("mail")
        job = await app.enqueue("work", queue="mail")

        explanation = await app.explain(job.id)

    assert explanation.reasons == [Paused("mail"), Position("mail", 0, is_exact=True, running=0)]
    assert explanation.eta is None


async def test_a_job_that_is_not_due_says_when_it_is(app: TaskQ, clock: FakeClock) -> None:
    app.handler("work")(_work)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        job, failed = await app.enqueue("work", delay=60), await app.enqueue("fail", max_retries=3)
        await clock.settle()
        waits = (await app.get(failed.id)).run_after_ms

        assert await reasons(app, job) == [Scheduled(job.run_after_ms, 60)]
        [awaited] = await reasons(app, failed)
        assert awaited == AwaitsRetry(waits, (waits - clock.now_ms()) / 1000, 1, 3, "ValueError: no luck")


async def test_without_a_worker_nothing_runs(app: TaskQ, clock: FakeClock) -> None:
    app.handler("work")(_work)
    async with app:
        job = await app.enqueue("work")
        alone = await reasons(app, job)
        async with app.workers(concurrency=1) as worker:
            worker.quiet()
            quiet = await reasons(app, job)

    assert alone == [NoWorker(is_quiet=False, elsewhere="none"), Position("default", 0, is_exact=True, running=0)]
    assert quiet[0] == NoWorker(is_quiet=True, elsewhere="none")


async def test_workers_may_serve_other_queues_or_types(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(settings=Settings(queues={"mail": 1}))
    app.handler("work")(_work)
    async with app, app.workers(concurrency=1):
        elsewhere, unknown = await app.enqueue("work"), await app.enqueue("nobody", queue="mail", delay=60)

        assert (await reasons(app, elsewhere))[0] == NoWorkerForQueue("default", "none")
        assert (await reasons(app, unknown))[0] == NoWorkerForType("nobody", "none")
        unhandled = await app.run_now(unknown.id)
        await clock.settle()
        since_ms = clock.now_ms()
        assert (await reasons(app, unhandled))[0] == NoWorkerForType("nobody", "none", since_ms)


async def test_on_a_store_without_boards_nobody_knows_of_others(
    make_app: MakeApp, clock: FakeClock, rng: Random
) -> None:
    app = make_app(backend=FlakyBackend(MemoryBackend(clock=clock, rng=rng)))
    async with app:
        job = await app.enqueue("nobody")

        assert (await reasons(app, job))[:2] == [
            NoWorker(is_quiet=False, elsewhere="unknown"),
            NoWorkerForType("nobody", "unknown"),
        ]


async def test_the_place_in_the_queue_and_when_its_turn_comes(app: TaskQ, clock: FakeClock, until: Until) -> None:
    @app.handler("work")
    async def work(job: Job) -> None:
        await clock.sleep(1)

    async with app, app.workers(concurrency=2):
        jobs = [await app.enqueue("work", priority=5) for _ in range(40)]
        hasty = await app.enqueue("work", priority=9)
        await clock.settle()
        at_first = await app.explain(jobs[-1].id)
        for _ in range(10):
            await clock.advance(1)
        last = await app.explain(jobs[-1].id)
        done = await app.get(hasty.id)
        for _ in range(15):
            await clock.advance(1)

    assert at_first.eta is None
    [place] = last.reasons
    assert isinstance(place, Position)
    assert (place.queue, place.is_exact, place.running) == ("default", True, 2)
    assert 10 <= place.ahead < 20
    assert last.eta is not None
    assert (place.ahead + 1) / 2 * 0.8 < last.eta.p50_s < last.eta.p95_s < (place.ahead + 1)
    assert done.status is Status.DONE


async def test_a_running_job_says_who_has_it_and_for_how_long(app: TaskQ, clock: FakeClock, until: Until) -> None:
    @app.handler("work")
    async def work(job: Job) -> None:
        await clock.sleep(60)

    async with app, app.workers(concurrency=1):
        job = await app.enqueue("work")
        await clock.settle()
        await clock.advance(2)
        [reason] = await reasons(app, job)
        await app.cancel(job.id)
        found = await app.get(job.id)
        [asked] = await reasons(app, job)
        await clock.advance(60)

    assert isinstance(reason, Running)
    assert (reason.worker, reason.attempt, reason.running_s) == (found.worker, 1, 2)
    assert reason.started_at_ms == found.started_at_ms
    assert reason.lease_left_s is not None
    assert 0 < reason.lease_left_s <= 30
    assert not reason.is_cancel_requested
    assert asked == Ended(Status.CANCELLED, found.finished_at_ms) or getattr(asked, "is_cancel_requested", False)


async def test_a_lease_that_ran_out_is_told(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        job = await app.enqueue("work")
        backend = app._parts.backend
        await backend.reserve([Turn("default", 1)], limit=1, lease_ms=10_000, worker="gone:1")
        await clock.advance(12)

        assert await reasons(app, job) == [LeaseLapsed("gone:1", 2)]


async def test_an_ended_job_says_how(app: TaskQ, clock: FakeClock) -> None:
    app.handler("work")(_work)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app:
        done, dead = await app.enqueue("work"), await app.enqueue("fail", max_retries=0)
        async with app.workers(concurrency=1):
            await clock.settle()

        now_ms = clock.now_ms()
        assert await reasons(app, done) == [Ended(Status.DONE, now_ms)]
        assert await reasons(app, dead) == [Ended(Status.DEAD, now_ms, "retries_exhausted", "ValueError: no luck")]
        with pytest.raises(JobNotFoundError):
            await app.explain(7)


async def test_a_store_that_knows_no_places_leaves_them_out(make_app: MakeApp, clock: FakeClock, rng: Random) -> None:
    app = make_app(backend=FlakyBackend(MemoryBackend(clock=clock, rng=rng)))
    app.handler("work")(_work)
    async with app:
        job, later = await app.enqueue("work"), await app.enqueue("work", delay=5)

        assert (await reasons(app, job))[1:] == [Due("default", 0)]
        assert (await reasons(app, later))[1:] == [Scheduled(later.run_after_ms, 5)]
        await app._parts.backend.reserve([Turn("default", 1)], limit=1, lease_ms=10_000, worker="here:1")
        assert await reasons(app, job) == [Running("here:1", 1, clock.now_ms(), 0)]


async def _work(job: Job) -> None: ...
