"""Queues: they are registered, paused and counted, and the counts are true at every step of a job's life."""

import pytest

from gotaskq.backend import Backend
from gotaskq.errors import QueueNotFoundError
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.outcome import Complete, Release, Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    die,
    enqueue,
    given_dead,
    ids,
    lease_of,
    reserve,
    start_again,
)
from gotaskq.testing.conformance.suite import ConformanceSuite


class QueuesConformance(ConformanceSuite):
    async def test_the_default_queue_is_there_from_the_start(self, backend: Backend) -> None:
        assert await backend.queues() == {DEFAULT_QUEUE: counted()}

    async def test_a_queue_is_created_once(self, backend: Backend) -> None:
        assert await backend.create_queue("mail")
        assert not await backend.create_queue("mail")
        assert not await backend.create_queue(DEFAULT_QUEUE)

    async def test_creating_a_queue_again_leaves_its_jobs_alone(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        await enqueue(backend, job(queue="mail"))
        await backend.set_paused("mail", paused=True)

        await backend.create_queue("mail")

        assert await counts(backend, "mail") == counted(ready=1, is_paused=True)

    async def test_queues_are_sorted_by_name(self, backend: Backend) -> None:
        for name in ("zebra", "mail", "a-b", "a.b", "a_b"):
            await backend.create_queue(name)

        assert list(await backend.queues()) == ["a-b", "a.b", "a_b", DEFAULT_QUEUE, "mail", "zebra"]

    async def test_each_queue_has_its_own_counts(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        await enqueue(backend, job(queue="mail"), job(queue="mail", delay_s=9), job())

        await reserve(backend)

        assert await backend.queues() == {DEFAULT_QUEUE: counted(running=1), "mail": counted(ready=1, scheduled=1)}

    async def test_a_paused_queue_says_so(self, backend: Backend) -> None:
        await backend.set_paused(DEFAULT_QUEUE, paused=True)
        await backend.set_paused(DEFAULT_QUEUE, paused=True)
        paused = await counts(backend)
        await backend.set_paused(DEFAULT_QUEUE, paused=False)

        assert paused == counted(is_paused=True)
        assert await counts(backend) == counted()

    async def test_a_paused_queue_takes_new_jobs_and_settles_running_ones(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job())
        [running] = await reserve(backend)
        await backend.set_paused(DEFAULT_QUEUE, paused=True)

        await enqueue(backend, job())
        await backend.settle([Release(lease_of(running))])

        assert await counts(backend) == counted(ready=2, is_paused=True)

    async def test_pausing_a_queue_leaves_the_others_alone(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        await backend.set_paused("mail", paused=True)
        given = job()
        await enqueue(backend, given)

        assert ids(await reserve(backend, "mail", DEFAULT_QUEUE)) == [given.id]

    async def test_an_unknown_queue_cannot_be_paused(self, backend: Backend) -> None:
        for paused in (True, False):
            with pytest.raises(QueueNotFoundError) as error:
                await backend.set_paused("nowhere", paused=paused)

            assert error.value.queue == "nowhere"
        assert "nowhere" not in await backend.queues()


class CountsConformance(ConformanceSuite):
    async def test_counts_follow_a_job_through_its_life(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(delay_s=10)
        await enqueue(backend, given)
        assert await counts(backend) == counted(scheduled=1)

        await clock.advance(10)
        assert await counts(backend) == counted(ready=1)

        running = await start_again(backend, given)
        assert await counts(backend) == counted(running=1)

        await backend.settle([Reschedule(lease_of(running), 1_000, "SMTPError: 421")])
        assert await counts(backend) == counted(scheduled=1)

        await clock.advance(1)
        running = await start_again(backend, given, lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=1, max_crashes=3)
        assert await counts(backend) == counted(ready=1)

        await die(backend, await start_again(backend, given))
        assert await counts(backend) == counted(dead=1)

        await backend.replay([given.id])
        assert await counts(backend) == counted(ready=1)

        running = await start_again(backend, given)
        await backend.settle([Complete(lease_of(running))])
        assert await counts(backend) == counted()

    async def test_depth_is_all_that_waits(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job(), job(), job(delay_s=9))
        await reserve(backend, limit=1)

        assert (await counts(backend)).depth == 2

    async def test_the_dead_count_until_they_are_deleted(self, backend: Backend, job: Jobs) -> None:
        first, second = await given_dead(backend, job()), await given_dead(backend, job())
        before = await counts(backend)

        await backend.delete([first.id])
        one_left = await counts(backend)
        await backend.delete([first.id, second.id])

        assert (before, one_left) == (counted(dead=2), counted(dead=1))
        assert await counts(backend) == counted()


class PromoteConformance(ConformanceSuite):
    async def test_only_what_is_due_is_promoted(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job(delay_s=1), job(delay_s=2), job(delay_s=3), job())
        nothing = await backend.promote(limit=ALL)
        await clock.advance(2)

        promoted = await backend.promote(limit=ALL)

        assert (nothing, promoted) == (0, 2)
        assert await backend.promote(limit=ALL) == 0
        assert await counts(backend) == counted(ready=3, scheduled=1)

    async def test_no_more_than_the_limit_is_promoted(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await backend.create_queue("mail")
        await enqueue(backend, *(job(delay_s=1, queue=queue) for queue in ("mail", DEFAULT_QUEUE) for _ in range(3)))
        await clock.advance(1)

        promoted = [await backend.promote(limit=4) for _ in range(3)]

        assert promoted == [4, 2, 0]
        assert (await counts(backend)).depth + (await counts(backend, "mail")).depth == 6

    async def test_a_paused_queue_is_promoted_too(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job(delay_s=1))
        await backend.set_paused(DEFAULT_QUEUE, paused=True)
        await clock.advance(1)

        await backend.promote(limit=ALL)

        assert await counts(backend) == counted(ready=1, is_paused=True)
