"""Dead letters: they can be replayed with a fresh count, and are kept up to a number and an age."""

from gotaskq.backend import Backend, JobQuery, Settled
from gotaskq.job import DEFAULT_QUEUE, Job, Status
from gotaskq.outcome import Complete, Reschedule
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    die,
    enqueue,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite

DEAD = JobQuery(status=Status.DEAD)


async def given_a_hard_life(backend: Backend, job: Job, clock: MovableClock) -> Job:
    """Let a job fail once, crash once, be released unhandled once, and die."""
    running = await given_running(backend, job)
    await backend.settle([Reschedule(lease_of(running), 0, "SMTPError: 421")])
    await start_again(backend, job, lease_s=30)
    await clock.advance(31)
    await backend.reap(limit=1, max_crashes=3)
    await die(backend, await start_again(backend, job))
    return await look(backend, job)


class ReplayConformance(ConformanceSuite):
    async def test_a_replayed_job_waits_with_fresh_counts(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        dead = await given_a_hard_life(backend, job(priority=4), clock)
        await clock.advance(60)

        [replayed] = await backend.replay([dead.id])

        assert (dead.retry_count, dead.crashes) == (1, 1)
        assert (replayed.id, replayed.status, replayed.lease) == (dead.id, Status.PENDING, None)
        assert (replayed.retry_count, replayed.crashes, replayed.releases, replayed.replays) == (0, 0, 0, 1)
        assert (replayed.error, replayed.death_reason) == (None, None)
        assert (replayed.started_at_ms, replayed.finished_at_ms, replayed.unhandled_since_ms) == (None, None, None)
        assert replayed.run_after_ms == clock.now_ms()
        assert (replayed.priority, replayed.rank, replayed.created_at_ms) == (4, dead.rank, dead.created_at_ms)
        assert (replayed.type, replayed.payload_json) == (dead.type, dead.payload_json)
        assert await look(backend, dead) == replayed
        assert await walk(backend, DEAD) == []

    async def test_a_replayed_job_is_given_out_at_once(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())

        await backend.replay([dead.id])

        assert await counts(backend) == counted(ready=1)
        running = await start_again(backend, dead)
        assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]

    async def test_a_replayed_job_takes_its_old_place(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        dead = await given_dead(backend, job())
        await clock.advance(1)
        younger = job()
        await enqueue(backend, younger)
        await clock.advance(1)

        await backend.replay([dead.id])

        assert ids(await reserve(backend)) == [dead.id, younger.id]

    async def test_a_job_returns_to_its_own_queue(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        dead = await given_dead(backend, job(queue="mail"))

        [replayed] = await backend.replay([dead.id])

        assert replayed.queue == "mail"
        assert await counts(backend, "mail") == counted(ready=1)
        assert await counts(backend) == counted()

    async def test_a_replay_happens_once(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())

        replayed = await backend.replay([dead.id, dead.id])
        again = await backend.replay([dead.id])

        assert (ids(replayed), again) == ([dead.id], [])
        assert await counts(backend) == counted(ready=1)
        assert ids(await reserve(backend)) == [dead.id]

    async def test_only_the_dead_are_replayed(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        done = await given_done(backend, job())
        first, second = await given_dead(backend, job()), await given_dead(backend, job())
        cancelled = await given_cancelled(backend, job())
        waiting = job(delay_s=9)
        await enqueue(backend, waiting)
        others = [waiting, running, done, cancelled]
        before = [await look(backend, one) for one in others]

        replayed = await backend.replay([second.id, *ids(others), job().id, first.id])

        assert sorted(ids(replayed)) == sorted([first.id, second.id])
        assert [await look(backend, one) for one in others] == before
        assert await counts(backend) == counted(ready=2, scheduled=1, running=1)
        assert await backend.replay([]) == []

    async def test_the_count_of_crashes_begins_anew(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=1, max_crashes=1)
        await backend.replay([running.id])
        await start_again(backend, running, lease_s=30)
        await clock.advance(31)

        [lapsed] = await backend.reap(limit=1, max_crashes=2)

        assert (lapsed.status, lapsed.crashes) == (Status.PENDING, 1)

    async def test_replays_are_counted(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())

        for number in (1, 2):
            [replayed] = await backend.replay([dead.id])
            await die(backend, await start_again(backend, dead))
            assert replayed.replays == number

        assert await walk(backend, DEAD) == [dead.id]
        assert await counts(backend) == counted(dead=1)

    async def test_a_replay_into_a_paused_queue_waits(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())
        await backend.set_paused(DEFAULT_QUEUE, paused=True)

        await backend.replay([dead.id])

        assert await reserve(backend) == []
        assert await counts(backend) == counted(ready=1, is_paused=True)


class DeadRetentionConformance(ConformanceSuite):
    async def test_too_many_dead_push_out_the_oldest_death(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(max_dead_jobs=2))
        await enqueue(backend, *(job() for _ in range(3)))
        a, b, c = await reserve(backend)

        for running in (b, a, c):
            await die(backend, running)
            await clock.advance(1)

        assert await walk(backend, DEAD) == [c.id, a.id]
        assert await backend.get(b.id) is None
        assert await counts(backend) == counted(dead=2)

    async def test_the_oldest_death_is_pushed_out_wherever_it_was(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_dead_jobs=1))
        await backend.create_queue("mail")

        await given_dead(backend, job(queue="mail"))
        last = await given_dead(backend, job())

        assert await walk(backend, DEAD) == [last.id]
        assert await backend.queues() == {DEFAULT_QUEUE: counted(dead=1), "mail": counted()}

    async def test_a_crash_pushes_out_too(self, backend_with: BackendMaker, job: Jobs, clock: MovableClock) -> None:
        backend = await backend_with(StoreLimits(max_dead_jobs=1))
        await enqueue(backend, job(), job(), job())
        running = await reserve(backend, lease_s=30)
        await clock.advance(31)

        reaped = await backend.reap(limit=9, max_crashes=1)

        assert sorted(ids(reaped)) == sorted(ids(running))
        assert len(await walk(backend, DEAD)) == 1
        assert await counts(backend) == counted(dead=1)

    async def test_what_was_replayed_or_deleted_takes_no_place(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_dead_jobs=2))
        await enqueue(backend, *(job() for _ in range(4)))
        a, b, c, d = await reserve(backend)
        await die(backend, a, b)
        await backend.replay([a.id])
        await backend.delete([b.id])

        await die(backend, c, d)

        assert await walk(backend, DEAD) == [d.id, c.id]
        assert (await look(backend, a)).status is Status.PENDING

    async def test_the_dead_grow_old(self, backend_with: BackendMaker, job: Jobs, clock: MovableClock) -> None:
        backend = await backend_with(StoreLimits(dead_job_ttl_ms=60_000))
        old = await given_dead(backend, job())
        await clock.advance(30)
        young = await given_dead(backend, job())

        await clock.advance(29)
        early = await backend.prune(limit=9)
        await clock.advance(2)
        pruned = await backend.prune(limit=9)

        assert (early, pruned) == (0, 1)
        assert await backend.get(old.id) is None
        assert await walk(backend, DEAD) == [young.id]
        assert await counts(backend) == counted(dead=1)
        assert await backend.replay([old.id]) == []

    async def test_who_dies_again_is_young_again(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(dead_job_ttl_ms=60_000))
        dead = await given_dead(backend, job())
        await clock.advance(50)
        await backend.replay([dead.id])
        await die(backend, await start_again(backend, dead))
        await clock.advance(50)

        assert await backend.prune(limit=9) == 0
        assert await walk(backend, DEAD) == [dead.id]
