"""Retention of a queue's own: it holds for jobs that end from then on, and for those of no other queue."""

from gotaskq.backend import Backend, JobQuery
from gotaskq.governing import GovernsQueues
from gotaskq.job import DEFAULT_QUEUE, Job, Status
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    die,
    enqueue,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite

A_MINUTE = StoreLimits(complete_job_ttl_ms=60_000, dead_job_ttl_ms=60_000)
DEAD = JobQuery(status=Status.DEAD)


async def keep(backend: Backend, *, ended_s: int | None = None, dead_s: int | None = None, queue: str = "mail") -> None:
    """Let a queue keep what ends in it from now on for so long; None: as the store does."""
    assert isinstance(backend, GovernsQueues)
    await backend.create_queue(queue)
    times_s = {"complete_job_ttl_ms": ended_s, "dead_job_ttl_ms": dead_s}
    await backend.governor.change(queue, {name: None if s is None else s * 1000 for name, s in times_s.items()})


async def given_ended(backend: Backend, job: Jobs, *, queue: str = "mail") -> list[Job]:
    """Return a job that is DONE, one that is CANCELLED and one that is DEAD."""
    return [
        await given_done(backend, job(queue=queue)),
        await given_cancelled(backend, job(queue=queue)),
        await given_dead(backend, job(queue=queue)),
    ]


class OwnRetentionConformance(ConformanceSuite):
    async def test_a_queue_keeps_what_has_ended_for_a_shorter_time(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, ended_s=10, dead_s=20)
        done, cancelled, dead = await given_ended(backend, job)
        others = await given_ended(backend, job, queue=DEFAULT_QUEUE)
        kept = [one.id for one in reversed(others)]

        await clock.advance(9)
        early, before = await backend.prune(limit=ALL), await walk(backend)
        await clock.advance(1)
        ended, between = await backend.prune(limit=ALL), await walk(backend)
        await clock.advance(10)
        died = await backend.prune(limit=ALL)

        assert (early, before) == (0, [*kept, dead.id, cancelled.id, done.id])
        assert (ended, between) == (2, [*kept, dead.id])
        assert (died, await walk(backend)) == (1, kept)

    async def test_a_queue_keeps_what_has_ended_for_a_longer_time(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, ended_s=100, dead_s=200)
        done, cancelled, dead = await given_ended(backend, job)
        await given_ended(backend, job, queue=DEFAULT_QUEUE)

        await clock.advance(61)
        pruned = [await backend.prune(limit=ALL) for _ in range(2)]
        left = await walk(backend)
        await clock.advance(39)
        ended = await backend.prune(limit=ALL)
        await clock.advance(100)

        assert (pruned, left) == ([3, 0], [dead.id, cancelled.id, done.id])
        assert ended == 2
        assert await walk(backend, DEAD) == [dead.id]
        assert await backend.prune(limit=ALL) == 1
        assert await walk(backend) == []

    async def test_those_that_stay_hold_up_none_that_go(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, ended_s=600, dead_s=600)
        stay: list[Job] = []
        for _ in range(3):
            stay += await given_ended(backend, job)
            await given_ended(backend, job, queue=DEFAULT_QUEUE)
            await clock.advance(1)
        await clock.advance(60)

        pruned = [await backend.prune(limit=2) for _ in range(6)]

        assert pruned == [2, 2, 2, 2, 1, 0]
        assert sorted(await walk(backend)) == sorted(one.id for one in stay)

    async def test_a_rule_holds_for_what_ends_from_then_on(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await backend.create_queue("mail")
        await given_ended(backend, job)
        await keep(backend, ended_s=100, dead_s=100)
        ruled = await given_ended(backend, job)
        await keep(backend)
        await given_ended(backend, job)

        await clock.advance(61)
        without = await backend.prune(limit=ALL)

        assert without == 6
        assert sorted(await walk(backend)) == [one.id for one in ruled]
        await clock.advance(39)
        assert await backend.prune(limit=ALL) == 3

    async def test_too_many_push_out_the_one_that_ended_first_whatever_its_time(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        limits = StoreLimits(max_completed_jobs=3, max_dead_jobs=2, complete_job_ttl_ms=60_000, dead_job_ttl_ms=60_000)
        backend = await backend_with(limits)
        await keep(backend, ended_s=600, dead_s=600)
        first = await given_ended(backend, job)
        await clock.advance(61)
        await backend.prune(limit=ALL)

        second = await given_ended(backend, job, queue=DEFAULT_QUEUE)
        third = await given_ended(backend, job, queue=DEFAULT_QUEUE)

        left = [*second[1:], *third]
        assert sorted(await walk(backend)) == [one.id for one in left]
        assert [await backend.get(one.id) for one in first] == [None] * 3
        await clock.advance(539)
        assert await backend.prune(limit=ALL) == len(left)

    async def test_a_deleted_job_takes_its_time_along(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, ended_s=10, dead_s=10)
        given = job(queue="mail")
        await given_done(backend, given)
        await backend.delete([given.id])
        await keep(backend)
        await given_done(backend, given)

        await clock.advance(11)

        assert await backend.prune(limit=ALL) == 0
        assert await walk(backend) == [given.id]

    async def test_a_replayed_job_leaves_its_time_behind(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, dead_s=10)
        dead = await given_dead(backend, job(queue="mail"))
        await backend.replay([dead.id])
        await keep(backend)
        await clock.advance(11)
        while_it_waits = await backend.prune(limit=ALL)
        await die(backend, await start_again(backend, dead))

        assert (while_it_waits, await backend.prune(limit=ALL)) == (0, 0)
        assert await walk(backend, DEAD) == [dead.id]

    async def test_jobs_given_up_by_the_store_are_kept_as_long(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        await keep(backend, ended_s=10, dead_s=20)
        running = await given_running(backend, job(queue="mail"), lease_s=5)
        cancelled = await given_running(backend, job(queue="mail"), lease_s=5)
        await backend.cancel(cancelled.id)
        late = job(queue="mail", schedule_s=5)
        await enqueue(backend, late)
        await clock.advance(6)
        await backend.reap(limit=ALL, max_crashes=1)
        await backend.expire(limit=ALL)

        await clock.advance(11)
        ended, left = await backend.prune(limit=ALL), await walk(backend)
        await clock.advance(10)

        assert (ended, left) == (1, [late.id, running.id])
        assert await backend.prune(limit=ALL) == 2

    async def test_what_ended_outlives_its_queue_as_long_as_the_rule_said(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(A_MINUTE)
        assert isinstance(backend, GovernsQueues)
        await keep(backend, ended_s=100)
        done = await given_done(backend, job(queue="mail"))
        assert await backend.governor.delete("mail")

        await clock.advance(61)
        early = await backend.prune(limit=ALL)
        await clock.advance(40)

        assert (early, await backend.get(done.id)) == (0, done)
        assert await backend.prune(limit=ALL) == 1
