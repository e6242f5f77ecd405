"""The memory backend keeps the contract, and what it promises beyond."""

import asyncio
from random import Random

from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.outcome import Complete
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance import (
    BackendConformance,
    BoardsConformance,
    EnqueuesNowConformance,
    GovernorConformance,
    StandingConformance,
)
from gotaskq.testing.conformance.given import Jobs, enqueue, given_running, ids, lease_of, look, reserve


class TestMemory(
    BackendConformance, EnqueuesNowConformance, BoardsConformance, GovernorConformance, StandingConformance
):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> MemoryBackend:
        return MemoryBackend(limits, clock=clock, rng=rng)


class TestBeyondTheContract:
    async def test_an_idle_wait_is_not_cut_short(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)
        await enqueue(backend, Jobs(clock, rng)(delay_s=60))

        wait = asyncio.create_task(backend.wait_for_ready([DEFAULT_QUEUE], timeout_s=120))
        await clock.advance(59.999)
        early = wait.done()
        await clock.advance(0.001)

        assert not early
        assert wait.done()

    async def test_a_paused_queue_wakes_nobody(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)
        await backend.set_paused(DEFAULT_QUEUE, paused=True)
        job = Jobs(clock, rng)
        await enqueue(backend, job(), job(delay_s=10))

        wait = asyncio.create_task(backend.wait_for_ready([DEFAULT_QUEUE], timeout_s=60))
        await clock.advance(59)
        early = wait.done()
        await clock.advance(1)

        assert not early
        assert wait.done()

    async def test_nothing_is_left_of_a_wait(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)

        waits = [asyncio.create_task(backend.wait_for_ready([DEFAULT_QUEUE], timeout_s=60)) for _ in range(3)]
        await clock.settle()
        waits[0].cancel()
        await clock.settle()
        await enqueue(backend, Jobs(clock, rng)())
        await clock.settle()

        assert all(wait.done() for wait in waits)
        assert clock.pending == 0

    async def test_closing_wakes_whoever_waits(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)
        wait = asyncio.create_task(backend.wait_for_ready([DEFAULT_QUEUE], timeout_s=60))
        await clock.settle()

        await backend.close()
        await clock.settle()

        assert wait.done()

    async def test_a_delayed_job_keeps_its_delay_after_the_clock_stepped_back(
        self, clock: FakeClock, rng: Random
    ) -> None:
        backend = await given_memory(clock, rng)
        await backend.queues()  # the store has seen the time it is
        clock.step_back(3_600)

        await enqueue(backend, Jobs(clock, rng)(delay_s=10))

        assert await reserve(backend) == []

    async def test_instants_do_not_go_back_with_the_clock(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)
        running = await given_running(backend, Jobs(clock, rng)())
        clock.step_back(3_600)

        await backend.settle([Complete(lease_of(running))])

        assert (await look(backend, running)).finished_at_ms == running.started_at_ms

    async def test_a_lease_does_not_lapse_early_because_the_clock_stepped_back(
        self, clock: FakeClock, rng: Random
    ) -> None:
        backend = await given_memory(clock, rng)
        await given_running(backend, Jobs(clock, rng)(), lease_s=30)
        clock.step_back(3_600)

        await clock.advance(60)

        assert await backend.reap(limit=9, max_crashes=3) == []

    async def test_cancelled_jobs_leave_no_trace(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng, StoreLimits(complete_job_ttl_ms=0))
        job = Jobs(clock, rng)
        kept = [job(delay_s=30), job()]
        await enqueue(backend, *kept)

        for delay_s in (0, 20):
            gone = [job(delay_s=delay_s) for _ in range(1_500)]
            await enqueue(backend, *gone)
            for one in gone:
                await backend.cancel(one.id)
            await clock.advance(1)
            assert await backend.prune(limit=10_000) == 1_500

        queue = backend._queues[DEFAULT_QUEUE]
        assert max(len(backend._listing._ids), len(queue._ready), len(queue._scheduled)) < 1_500
        await clock.advance(30)
        assert sorted(ids(await reserve(backend))) == sorted(ids(kept))

    async def test_jobs_that_no_longer_wait_leave_no_deadline(self, clock: FakeClock, rng: Random) -> None:
        backend = await given_memory(clock, rng)
        job = Jobs(clock, rng)
        kept = job(delay_s=1, schedule_s=30)
        await enqueue(backend, kept)

        for _ in range(1_500):
            gone, taken = job(schedule_s=30), job(schedule_s=30)
            await enqueue(backend, gone, taken)
            await backend.cancel(gone.id)
            await given_over(backend)

        assert len(backend._patience._deadlines) == 1
        assert len(backend._patience._heap) < 1_500
        await clock.advance(31.001)
        assert ids(await backend.expire(limit=9_999)) == [kept.id]


async def given_over(backend: MemoryBackend) -> None:
    [taken] = await reserve(backend)
    await backend.settle([Complete(lease_of(taken))])


async def given_memory(clock: FakeClock, rng: Random, limits: StoreLimits | None = None) -> MemoryBackend:
    backend = MemoryBackend(limits, clock=clock, rng=rng)
    await backend.open()
    return backend
