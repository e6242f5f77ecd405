"""A lease is kept alive while the handler runs; one that nobody keeps alive lapses, and the job runs elsewhere."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Settings, Status
from gotaskq.backend import Extended, Settled
from gotaskq.backends.memory import MemoryBackend
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import Event, JobDied, JobDone, LeaseLapsed, LeaseLost
from gotaskq.job import DeathReason, Lease
from gotaskq.outcome import Complete, Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.clock import FakeClock

LEASE_S = 30
REAP_S = 8  # a reaper comes by every 5 s, give or take half


@pytest.fixture
def backend(clock: FakeClock, rng: Random) -> MemoryBackend:
    return MemoryBackend(clock=clock, rng=rng)


async def vanish_with_a_job(backend: MemoryBackend) -> Job:
    """Take a job as a worker does whose machine then loses its power."""
    [job] = await backend.reserve([Turn("default", 1)], limit=1, lease_ms=LEASE_S * 1000, worker="lost:1")
    return job


@pytest.mark.slow
async def test_a_long_handler_keeps_its_lease(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(settings=Settings(lease_ms=LEASE_S * 1000))
    attempts: list[int] = []
    lapsed: list[Event] = []
    app.observe(lapsed.append, [LeaseLapsed, LeaseLost])

    @app.handler("long")
    async def long(job: Job) -> None:
        attempts.append(job.attempt)
        await clock.sleep(300)

    async with app, app.workers(concurrency=2):
        enqueued = await app.enqueue("long")
        await clock.advance(299)
        running = await app.get(enqueued.id)
        await clock.advance(2)
        done = await app.get(enqueued.id)

    assert (running.status, done.status) == (Status.RUNNING, Status.DONE)
    assert (attempts, done.crashes, lapsed) == ([1], 0, [])


async def test_the_job_of_a_lost_worker_runs_elsewhere(
    make_app: MakeApp, backend: MemoryBackend, clock: FakeClock
) -> None:
    app = make_app(backend=backend)
    lapsed: list[Event] = []
    app.observe(lapsed.append, [LeaseLapsed])

    @app.handler("work")
    async def work(job: Job) -> None:
        pass

    async with app:
        enqueued = await app.enqueue("work", max_retries=0)
        await vanish_with_a_job(backend)
        async with app.workers(concurrency=1):
            await clock.advance(LEASE_S - 1)
            held = await app.get(enqueued.id)
            await clock.advance(1 + REAP_S)
            done = await app.get(enqueued.id)

    assert held.status is Status.RUNNING
    assert (done.status, done.attempt, done.crashes, done.retry_count) == (Status.DONE, 2, 1, 0)
    assert len(lapsed) == 1


async def test_a_short_lease_is_reaped_soon_after_it_lapses(
    make_app: MakeApp, backend: MemoryBackend, clock: FakeClock
) -> None:
    app = make_app(backend=backend, settings=Settings(lease_ms=LEASE_S * 1000 // 25))

    @app.handler("work")
    async def work(job: Job) -> None:
        pass

    async with app:
        enqueued = await app.enqueue("work")
        await vanish_with_a_job(backend)
        await clock.advance(LEASE_S)
        async with app.workers(concurrency=1):
            await clock.advance(LEASE_S / 25 / 4)
            done = await app.get(enqueued.id)

    assert (done.status, done.crashes) == (Status.DONE, 1)


async def test_a_worker_that_comes_back_late_changes_nothing(
    make_app: MakeApp, backend: MemoryBackend, clock: FakeClock
) -> None:
    app = make_app(backend=backend)
    done_events: list[Event] = []
    app.observe(done_events.append, [JobDone])

    @app.handler("work")
    async def work(job: Job) -> None:
        pass

    async with app:
        enqueued = await app.enqueue("work")
        late = await vanish_with_a_job(backend)
        assert late.lease is not None
        async with app.workers(concurrency=1):
            await clock.advance(LEASE_S + REAP_S)
            done = await app.get(enqueued.id)
            await backend.settle([Complete(late.lease)])
            after = await app.get(enqueued.id)

    assert done.status is Status.DONE
    assert after == done
    assert len(done_events) == 1


async def test_a_job_that_loses_three_workers_is_dead(
    make_app: MakeApp, backend: MemoryBackend, clock: FakeClock
) -> None:
    app = make_app(backend=backend)
    died: list[Event] = []
    app.observe(died.append, [JobDied])

    async with app:
        enqueued = await app.enqueue("poison", max_retries=5)
        for _ in range(3):
            await app.resume("default")
            await vanish_with_a_job(backend)
            await app.pause("default")  # so that the worker reaps it and does not take it
            async with app.workers(concurrency=1):
                await clock.advance(LEASE_S + REAP_S)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.death_reason, dead.crashes) == (Status.DEAD, DeathReason.WORKER_LOST, 3)
    assert dead.error is not None
    assert "lost:1" in dead.error
    assert len(died) == 1


async def test_a_result_that_comes_after_the_lease_was_lost_is_discarded(
    make_app: MakeApp, backend: MemoryBackend, clock: FakeClock, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(backend=backend)
    events: list[Event] = []
    app.observe(events.append, [LeaseLost, JobDone])
    attempts: list[int] = []
    let_go = asyncio.Event()

    @app.handler("work")
    async def work(job: Job) -> None:
        attempts.append(job.attempt)
        await let_go.wait()

    async with app, app.workers(concurrency=2):
        enqueued = await app.enqueue("work")
        await until(lambda: attempts == [1])
        clock.set_now_ms(clock.now_ms() + LEASE_S * 1000 + 1)  # the machine slept: no heartbeat in time
        await backend.reap(limit=10, max_crashes=3)
        await until(lambda: attempts == [1, 2])
        let_go.set()
        await clock.settle()
        done = await app.get(enqueued.id)

    assert (done.status, done.attempt, done.crashes) == (Status.DONE, 2, 1)
    assert [type(event) for event in events] == [LeaseLost, JobDone]
    assert "lease lost: the result is discarded" in caplog.messages


async def test_a_handler_that_blocks_the_loop_for_longer_than_the_lease_runs_once(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(lease_ms=LEASE_S * 1000))
    attempts: list[int] = []
    lapsed: list[Event] = []
    app.observe(lapsed.append, [LeaseLapsed, LeaseLost])

    @app.handler("block")
    async def block(job: Job) -> None:
        attempts.append(job.attempt)
        clock.jump(3 * LEASE_S)
        await clock.sleep(1)

    # The second worker's reaper is no better than the first's own.
    async with app, app.workers(concurrency=1), app.workers(concurrency=1):
        enqueued = [await app.enqueue("block") for _ in range(2)]
        await clock.advance(LEASE_S)
        done = [await app.get(job.id) for job in enqueued]

    assert [(job.status, job.attempt, job.crashes) for job in done] == [(Status.DONE, 1, 0)] * 2
    assert (attempts, lapsed) == ([1, 1], [])


class CutOff(MemoryBackend):
    """A store that does not answer while it `is_away`; to look at, it is there."""

    is_away = False

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        self._answer()
        return await super().extend(leases, lease_ms=lease_ms)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._answer()
        return await super().settle(settlements)

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        self._answer()
        return await super().reserve(turns, limit=limit, lease_ms=lease_ms, worker=worker)

    def _answer(self) -> None:
        if self.is_away:
            raise BackendUnavailableError("away")


async def test_only_exclusive_attempts_are_stopped_when_the_store_is_away(
    make_app: MakeApp, clock: FakeClock, rng: Random, until: Until
) -> None:
    backend = CutOff(clock=clock, rng=rng)
    app = make_app(backend=backend, settings=Settings(lease_ms=LEASE_S * 1000))
    attempts: list[tuple[str, int]] = []
    stopped: list[str] = []

    async def work(job: Job) -> None:
        attempts.append((job.type, job.attempt))
        try:
            await clock.sleep(2 * LEASE_S)
        except asyncio.CancelledError:
            stopped.append(job.type)
            raise

    app.handler("alone", exclusive=True)(work)
    app.handler("normal")(work)

    async with app, app.workers(concurrency=2):
        jobs = [await app.enqueue(job_type) for job_type in ("alone", "normal")]
        await until(lambda: len(attempts) == 2)
        backend.is_away = True
        await clock.advance(LEASE_S - 4)
        before = list(stopped)
        await clock.advance(LEASE_S)
        backend.is_away = False
        await clock.advance(3 * LEASE_S)
        done = [await app.get(job.id) for job in jobs]

    assert (before, stopped) == ([], ["alone"])
    assert [(job.status, job.crashes, job.releases) for job in done] == [(Status.DONE, 0, 1), (Status.DONE, 0, 0)]
    assert attempts == [("alone", 1), ("normal", 1), ("alone", 1)]
