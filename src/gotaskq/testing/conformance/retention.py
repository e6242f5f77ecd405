"""Retention: what has ended can be looked up for a while, and goes oldest first."""

from gotaskq.backend import Backend, JobQuery
from gotaskq.job import Status
from gotaskq.outcome import Complete
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    enqueue,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    lease_of,
    look,
    reserve,
    walk,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite

YEAR_S = 365 * 86_400


class DeleteConformance(ConformanceSuite):
    async def test_what_has_ended_is_deleted(self, backend: Backend, job: Jobs) -> None:
        done, dead = await given_done(backend, job()), await given_dead(backend, job())
        cancelled = await given_cancelled(backend, job())

        deleted = await backend.delete([done.id, dead.id, cancelled.id])

        assert deleted == 3
        assert await walk(backend) == []
        assert await backend.get(done.id) is None
        assert await counts(backend) == counted()

    async def test_what_has_not_ended_stays(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        waiting, scheduled = job(), job(delay_s=9)
        await enqueue(backend, waiting, scheduled)

        deleted = await backend.delete([running.id, waiting.id, scheduled.id])

        assert deleted == 0
        assert await walk(backend) == [scheduled.id, waiting.id, running.id]
        assert await counts(backend) == counted(ready=1, scheduled=1, running=1)

    async def test_a_status_spares_the_others(self, backend: Backend, job: Jobs) -> None:
        done, dead = await given_done(backend, job()), await given_dead(backend, job())
        cancelled = await given_cancelled(backend, job())
        all_ids = [done.id, dead.id, cancelled.id]

        by_status = [await backend.delete(all_ids, status=status) for status in (Status.PENDING, Status.RUNNING)]
        dead_ones = await backend.delete(all_ids, status=Status.DEAD)

        assert (by_status, dead_ones) == ([0, 0], 1)
        assert await walk(backend) == [cancelled.id, done.id]

    async def test_what_waits_is_not_deleted_even_when_asked_for(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        waiting = job()
        await enqueue(backend, waiting)

        assert await backend.delete([waiting.id], status=Status.PENDING) == 0
        assert await backend.delete([running.id], status=Status.RUNNING) == 0
        assert await walk(backend) == [waiting.id, running.id]

    async def test_each_job_is_deleted_once(self, backend: Backend, job: Jobs) -> None:
        done = await given_done(backend, job())

        assert await backend.delete([done.id, done.id, job().id]) == 1
        assert await backend.delete([done.id]) == 0
        assert await backend.delete([]) == 0


class CompletedRetentionConformance(ConformanceSuite):
    async def test_an_ended_job_can_be_looked_up_for_a_while(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000))
        done, cancelled = await given_done(backend, job()), await given_cancelled(backend, job())

        await clock.advance(59)
        early = await backend.prune(limit=ALL)
        still_there = await walk(backend)
        await clock.advance(2)
        pruned = await backend.prune(limit=ALL)

        assert (early, pruned) == (0, 2)
        assert still_there == [cancelled.id, done.id]
        assert await walk(backend) == []
        assert await backend.prune(limit=ALL) == 0

    async def test_the_time_counts_from_the_end(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000))
        running = await given_running(backend, job())
        await clock.advance(59)
        await backend.settle([Complete(lease_of(running))])
        await clock.advance(59)

        assert await backend.prune(limit=ALL) == 0
        assert (await look(backend, running)).status is Status.DONE

    async def test_only_what_is_past_its_time_goes(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000))
        await given_done(backend, job())
        await clock.advance(40)
        young = await given_done(backend, job())
        await clock.advance(40)

        assert await backend.prune(limit=ALL) == 1
        assert await walk(backend) == [young.id]

    async def test_no_more_than_the_limit_is_pruned(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000, dead_job_ttl_ms=60_000))
        for _ in range(3):
            await given_done(backend, job())
            await given_dead(backend, job())
        await clock.advance(61)

        pruned = [await backend.prune(limit=4) for _ in range(3)]

        assert pruned == [4, 2, 0]
        assert await walk(backend) == []

    async def test_what_waits_runs_or_is_dead_is_not_pruned_with_the_done(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=1, dead_job_ttl_ms=2 * YEAR_S * 1000))
        running, dead = await given_running(backend, job()), await given_dead(backend, job())
        waiting, scheduled = job(), job(delay_s=2 * YEAR_S)
        await enqueue(backend, waiting, scheduled)
        await clock.advance(YEAR_S)

        assert await backend.prune(limit=ALL) == 0
        assert await walk(backend) == [scheduled.id, waiting.id, dead.id, running.id]

    async def test_a_deleted_job_is_not_pruned_again(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000))
        deleted, kept = await given_done(backend, job()), await given_done(backend, job())
        await backend.delete([deleted.id])
        await clock.advance(61)

        assert await backend.prune(limit=ALL) == 1
        assert await backend.get(kept.id) is None

    async def test_a_job_stored_again_is_not_pruned_for_its_former_life(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(complete_job_ttl_ms=60_000))
        given = job()
        await given_done(backend, given)
        await backend.delete([given.id])
        await enqueue(backend, given)
        await clock.advance(61)

        assert await backend.prune(limit=ALL) == 0
        assert await counts(backend) == counted(ready=1)
        assert len(await reserve(backend)) == 1


class CompletedLimitConformance(ConformanceSuite):
    async def test_too_many_ended_push_out_the_one_that_ended_first(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(max_completed_jobs=2))
        await enqueue(backend, *(job() for _ in range(3)))
        a, b, c = await reserve(backend)

        for running in (c, a, b):
            await backend.settle([Complete(lease_of(running))])
            await clock.advance(1)

        assert await walk(backend) == [b.id, a.id]
        assert await backend.get(c.id) is None

    async def test_the_cancelled_count_with_the_done(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_completed_jobs=2))
        await given_done(backend, job())
        second, third = await given_cancelled(backend, job()), await given_done(backend, job())

        assert await walk(backend) == [third.id, second.id]

    async def test_only_the_ended_count(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_completed_jobs=1))
        running, dead = await given_running(backend, job()), await given_dead(backend, job())
        done = await given_done(backend, job())
        waiting = job()
        await enqueue(backend, waiting)

        assert await walk(backend) == [waiting.id, done.id, dead.id, running.id]
        assert await walk(backend, JobQuery(status=Status.DEAD)) == [dead.id]

    async def test_a_deleted_job_takes_no_place(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_completed_jobs=2))
        first, second = await given_done(backend, job()), await given_done(backend, job())
        await backend.delete([second.id])

        third = await given_done(backend, job())

        assert await walk(backend) == [third.id, first.id]

    async def test_a_job_stored_again_is_not_pushed_out_for_its_former_life(
        self, backend_with: BackendMaker, job: Jobs
    ) -> None:
        backend = await backend_with(StoreLimits(max_completed_jobs=1))
        given = job(delay_s=9)
        await given_cancelled(backend, given)
        await backend.delete([given.id])
        await enqueue(backend, given)

        done = await given_done(backend, job())

        assert await walk(backend) == [done.id, given.id]
        assert await counts(backend) == counted(scheduled=1)
