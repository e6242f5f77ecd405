"""Workers that end by themselves: in a burst once nothing is left to run, or after so many jobs."""

import asyncio

import pytest
from tests.scenarios.conftest import MakeApp

from gotaskq import Job, Settings, Status, TaskQ
from gotaskq.backend import QueueCounts
from gotaskq.engine.worker import Worker
from gotaskq.errors import BackendUnavailableError
from gotaskq.testing.clock import FakeClock


async def passes(clock: FakeClock, worker: Worker, *, seconds: int = 30) -> bool:
    """Let time pass, and say whether the worker has ended by then."""
    await clock.advance(seconds)
    return worker.ended.is_set()


@pytest.fixture
def ran(app: TaskQ) -> list[int]:
    """The ids of the jobs of type `note` that ran."""
    ids: list[int] = []

    @app.handler("note")
    async def note(job: Job) -> None:
        ids.append(job.id)

    return ids


async def test_a_burst_runs_what_is_due_and_ends(app: TaskQ, clock: FakeClock, ran: list[int]) -> None:
    async with app:
        jobs = await app.enqueue_many([app.job("note") for _ in range(50)])
        later = await app.enqueue("note", delay=3_600)

        async with app.workers(3, burst=True) as worker:
            assert await passes(clock, worker)

        assert sorted(ran) == sorted(job.id for job in jobs)
        assert (await app.get(later.id)).status is Status.PENDING


async def test_a_burst_with_nothing_to_run_ends(app: TaskQ, clock: FakeClock) -> None:
    async with app, app.workers(burst=True) as worker:
        assert await passes(clock, worker)


async def test_a_burst_does_not_end_while_a_job_runs(app: TaskQ, clock: FakeClock) -> None:
    go = asyncio.Event()

    @app.handler("wait")
    async def wait(job: Job) -> None:
        await go.wait()

    async with app:
        job = await app.enqueue("wait")
        async with app.workers(1, burst=True) as worker:
            assert not await passes(clock, worker)
            go.set()
            assert await passes(clock, worker)
        assert (await app.get(job.id)).status is Status.DONE


async def test_a_burst_does_not_wait_for_a_paused_queue_or_one_it_does_not_serve(
    make_app: MakeApp, clock: FakeClock
) -> None:
    app = make_app(settings=Settings(queues={"mail": 1}))
    async with app:
        await app.create_queue("mail")
        await app.pause("mail")
        await app.enqueue("note")
        await app.enqueue("note", queue="mail")

        async with app.workers(1, burst=True) as worker:
            assert await passes(clock, worker)


async def test_a_burst_waits_for_a_store_that_is_away(
    app: TaskQ, clock: FakeClock, ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app:
        await app.enqueue("note")
        backend = app._parts.backend

        async def fail() -> dict[str, QueueCounts]:
            raise BackendUnavailableError

        async with app.workers(1, burst=True) as worker:
            with monkeypatch.context() as outage:
                outage.setattr(backend, "queues", fail)
                assert not await passes(clock, worker)
            assert await passes(clock, worker)

    assert len(ran) == 1


@pytest.mark.parametrize(("max_jobs", "concurrency"), [(1, 5), (7, 3), (7, 100)])
async def test_no_more_than_so_many_jobs_are_run(
    app: TaskQ, clock: FakeClock, ran: list[int], max_jobs: int, concurrency: int
) -> None:
    async with app:
        await app.enqueue_many([app.job("note") for _ in range(20)])

        async with app.workers(concurrency, max_jobs=max_jobs) as worker:
            assert await passes(clock, worker)

        assert len(ran) == max_jobs
        assert (await app.queues())["default"].ready == 20 - max_jobs


async def test_a_worker_with_jobs_left_to_run_waits_for_them(app: TaskQ, clock: FakeClock, ran: list[int]) -> None:
    async with app, app.workers(1, max_jobs=2) as worker:
        await app.enqueue("note")
        assert not await passes(clock, worker)

        await app.enqueue("note")
        assert await passes(clock, worker)

    assert len(ran) == 2


async def test_jobs_given_back_unrun_do_not_count(app: TaskQ, clock: FakeClock) -> None:
    ran: list[int] = []

    @app.handler("note")
    async def note(job: Job) -> None:
        ran.append(job.id)
        if len(ran) == 20:  # the jobs fetched ahead behind this one are given back after half a second
            await clock.sleep(5)

    async with app:
        await app.enqueue_many([app.job("note") for _ in range(100)])

        async with app.workers(1, max_jobs=60) as worker:
            assert await passes(clock, worker)

        assert len(ran) == 60
