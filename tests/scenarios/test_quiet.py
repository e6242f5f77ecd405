"""A quiet worker: it fetches no more, gives back what has not started, and lives on until it is told to end."""

import asyncio

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Settings, Status, TaskQ
from gotaskq.events import Event, JobReleased
from gotaskq.testing.clock import FakeClock


async def test_what_runs_finishes_and_nothing_else_begins(app: TaskQ, clock: FakeClock, until: Until) -> None:
    started: list[int] = []
    go = asyncio.Event()

    @app.handler("wait")
    async def wait(job: Job) -> None:
        started.append(job.id)
        await go.wait()

    async with app, app.workers(concurrency=2) as worker:
        running = [await app.enqueue("wait") for _ in range(2)]
        await until(lambda: len(started) == 2)
        worker.quiet()
        await clock.settle()
        waiting = await app.enqueue("wait")
        go.set()
        await clock.advance(60)

        assert [(await app.get(job.id)).status for job in running] == [Status.DONE] * 2
        assert (await app.get(waiting.id)).status is Status.PENDING
        assert (worker.is_quiet, worker.ended.is_set()) == (True, False)
    assert worker.ended.is_set()


async def test_jobs_fetched_ahead_are_given_back_at_once_and_spend_nothing(
    app: TaskQ, clock: FakeClock, until: Until
) -> None:
    released: list[Event] = []
    app.observe(released.append, [JobReleased])
    blocked, go = asyncio.Event(), asyncio.Event()

    @app.handler("note")
    async def note(job: Job) -> None:
        if job.payload == "block":
            blocked.set()
            await go.wait()

    async with app:
        await app.enqueue_many([app.job("note") for _ in range(20)])
        await app.enqueue("note", "block")
        behind = await app.enqueue_many([app.job("note") for _ in range(100)])
        async with app.workers(concurrency=1) as worker:
            await until(blocked.is_set)
            worker.quiet()
            await clock.settle()
            given_back = len(released)
            after = [await app.get(job.id) for job in behind]
            go.set()

    assert given_back > 0
    assert {(job.status, job.attempt, job.lease) for job in after} == {(Status.PENDING, 0, None)}


async def test_a_quiet_worker_keeps_its_leases_and_looks_after_the_store(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(lease_ms=2_000))
    go = asyncio.Event()
    started: list[int] = []

    @app.handler("wait")
    async def wait(job: Job) -> None:
        started.append(job.attempt)
        await go.wait()

    async with app, app.workers(concurrency=1) as worker:
        running = await app.enqueue("wait")
        delayed = await app.enqueue("wait", delay=30)
        await until(lambda: bool(started))
        worker.quiet()
        await clock.advance(60)
        go.set()
        await clock.settle()

        assert (await app.get(running.id)).status is Status.DONE
        assert (await app.get(delayed.id)).status is Status.PENDING
        assert (await app.queues())["default"].ready == 1, "it was promoted"
    assert started == [1]


@pytest.mark.parametrize("options", [{"burst": True}, {"max_jobs": 1}])
async def test_a_quiet_worker_does_not_end_by_itself(app: TaskQ, clock: FakeClock, options: dict[str, int]) -> None:
    async with app:
        if "max_jobs" in options:
            await app.enqueue("unknown")
        async with app.workers(1, burst="burst" in options, max_jobs=options.get("max_jobs")) as worker:
            worker.quiet()
            await clock.advance(30)

            assert not worker.ended.is_set()
        assert worker.ended.is_set()


async def test_a_quiet_worker_is_counted(app: TaskQ, clock: FakeClock) -> None:
    async with app, app.workers(1) as worker:
        before = (await app.observation.counted()).quiet_processes
        worker.quiet()

        after = (await app.observation.counted()).quiet_processes

    assert (before, after, (await app.observation.counted()).quiet_processes) == (0, 1, 0)
