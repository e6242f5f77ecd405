"""Waiting: who waits for work is woken when there may be some, and never sleeps past it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from gotaskq.backend import Backend
from gotaskq.errors import QueueNotFoundError
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.outcome import Release, Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    enqueue,
    given_cancelled,
    given_dead,
    given_running,
    ids,
    lease_of,
    reserve,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

LONG_S: Final = 3_600
GUARD_S: Final = 2  # real seconds; only a wait that fails its test lasts this long


class Waiter:
    """Somebody who waits for work."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def is_woken(self) -> bool:
        """Say whether the wait ends without the clock being moved any further."""
        done, _ = await asyncio.wait([self._task], timeout=GUARD_S)
        return bool(done) and self._task.exception() is None


@asynccontextmanager
async def waiting(
    backend: Backend, clock: MovableClock, *queues: str, timeout_s: float = LONG_S
) -> AsyncIterator[Waiter]:
    """Have somebody wait for these queues (none named: the default one)."""
    wait = backend.wait_for_ready(queues or (DEFAULT_QUEUE,), timeout_s=timeout_s)
    async with _somebody(wait, clock) as waiter:
        yield waiter


@asynccontextmanager
async def fetching(backend: Backend, clock: MovableClock) -> AsyncIterator[Waiter]:
    """Have somebody reserve and wait in turns, as a fetcher does, until a reservation brings a job."""

    async def fetch() -> None:
        while not await reserve(backend, limit=1):
            await backend.wait_for_ready([DEFAULT_QUEUE], timeout_s=LONG_S)

    async with _somebody(fetch(), clock) as waiter:
        yield waiter


@asynccontextmanager
async def _somebody(does: Coroutine[Any, Any, None], clock: MovableClock) -> AsyncIterator[Waiter]:
    task = asyncio.create_task(does)
    try:
        await clock.advance(0)  # so that the wait has begun
        yield Waiter(task)
    finally:
        task.cancel()
        await asyncio.wait([task])


class WaitingConformance(ConformanceSuite):
    async def test_where_a_job_is_ready_nobody_waits(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job())

        async with waiting(backend, clock) as waiter:
            assert await waiter.is_woken()

    async def test_one_queue_with_work_is_enough(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await backend.create_queue("mail")
        await enqueue(backend, job(queue="mail"))

        async with waiting(backend, clock, DEFAULT_QUEUE, "mail") as waiter:
            assert await waiter.is_woken()

    async def test_where_a_job_fell_due_nobody_waits(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job(delay_s=1))
        await clock.advance(1)

        async with waiting(backend, clock) as waiter:
            assert await waiter.is_woken()

    async def test_a_new_job_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        async with waiting(backend, clock) as waiter:
            await enqueue(backend, job())

            assert await waiter.is_woken()

    async def test_everybody_is_woken(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        async with waiting(backend, clock) as first, waiting(backend, clock) as second:
            await enqueue(backend, job(), job())

            assert await first.is_woken()
            assert await second.is_woken()

    async def test_a_delayed_job_wakes_when_it_is_due(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(delay_s=10)
        await enqueue(backend, given)

        async with waiting(backend, clock) as waiter:
            await clock.advance(10)

            assert await waiter.is_woken()
        assert ids(await reserve(backend)) == [given.id]

    async def test_the_first_of_all_queues_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await backend.create_queue("mail")
        await enqueue(backend, job(delay_s=20), job(delay_s=10, queue="mail"))

        async with waiting(backend, clock, DEFAULT_QUEUE, "mail") as waiter:
            await clock.advance(10)

            assert await waiter.is_woken()

    async def test_a_delayed_job_that_comes_while_waiting_wakes_when_it_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, job(delay_s=60))

        async with fetching(backend, clock) as fetcher:
            await enqueue(backend, job(delay_s=30))
            await enqueue(backend, job(delay_s=10))
            await clock.advance(10)

            assert await fetcher.is_woken()

    async def test_a_cancelled_job_does_not_hide_a_later_one(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await given_cancelled(backend, job(delay_s=5))

        async with fetching(backend, clock) as fetcher:
            await enqueue(backend, job(delay_s=10))
            await clock.advance(10)

            assert await fetcher.is_woken()

    async def test_a_resumed_queue_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job())
        await backend.set_paused(DEFAULT_QUEUE, paused=True)

        async with waiting(backend, clock) as waiter:
            await backend.set_paused(DEFAULT_QUEUE, paused=False)

            assert await waiter.is_woken()

    async def test_a_released_job_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())

        async with waiting(backend, clock) as waiter:
            await backend.settle([Release(lease_of(running))])

            assert await waiter.is_woken()

    async def test_a_rescheduled_job_wakes_when_it_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job())

        async with fetching(backend, clock) as fetcher:
            await backend.settle([Reschedule(lease_of(running), 5_000, "SMTPError: 421")])
            await clock.advance(5)

            assert await fetcher.is_woken()

    async def test_a_reaped_job_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await given_running(backend, job(), lease_s=30)

        async with waiting(backend, clock) as waiter:
            await clock.advance(31)
            await backend.reap(limit=1, max_crashes=3)

            assert await waiter.is_woken()

    async def test_a_replayed_job_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        dead = await given_dead(backend, job())

        async with waiting(backend, clock) as waiter:
            await backend.replay([dead.id])

            assert await waiter.is_woken()

    async def test_the_timeout_ends_a_wait_in_vain(self, backend: Backend, clock: MovableClock) -> None:
        async with waiting(backend, clock, timeout_s=2) as waiter:
            await clock.advance(2)

            assert await waiter.is_woken()

    async def test_no_time_is_no_wait(self, backend: Backend, clock: MovableClock) -> None:
        async with waiting(backend, clock, timeout_s=0) as waiter:
            assert await waiter.is_woken()

    async def test_an_unknown_queue_is_refused(self, backend: Backend) -> None:
        with pytest.raises(QueueNotFoundError):
            await backend.wait_for_ready([DEFAULT_QUEUE, "nowhere"], timeout_s=0)

    async def test_who_gives_up_waiting_leaves_the_others_waiting(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        async with waiting(backend, clock) as patient:
            async with waiting(backend, clock):
                pass
            await enqueue(backend, job())

            assert await patient.is_woken()
