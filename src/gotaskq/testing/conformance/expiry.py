"""Expiry: a job that waited for longer than its schedule timeout is given up, and no other is."""

import asyncio

from gotaskq.backend import Backend, JobQuery, Settled
from gotaskq.job import DeathReason, Job, Status
from gotaskq.outcome import Complete, DeadLetter, Release
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    enqueue,
    fail,
    given_cancelled,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite
from gotaskq.trail import NO_TRAIL

DEAD = JobQuery(status=Status.DEAD)


async def expire(backend: Backend, *, limit: int = ALL) -> list[Job]:
    return await backend.expire(limit=limit)


class ExpiryConformance(ConformanceSuite):
    async def test_a_job_expires_when_its_wait_is_longer_than_it_may_be(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(schedule_s=60)
        await enqueue(backend, given)

        await clock.advance(60)
        just_in_time = await expire(backend)
        await clock.advance(0.001)
        [expired] = await expire(backend)

        assert just_in_time == []
        assert (expired.id, expired.status, expired.lease) == (given.id, Status.DEAD, None)
        assert expired.death_reason is DeathReason.EXPIRED
        assert expired.error == "not started within 60000 ms of being due"
        assert expired.finished_at_ms == expired.updated_at_ms == clock.now_ms()
        assert (expired.attempt, expired.retry_count, expired.trail) == (0, 0, NO_TRAIL)
        assert await look(backend, given) == expired

    async def test_an_expired_job_is_a_dead_letter(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await backend.create_queue("mail")
        given = [job(schedule_s=1, queue="mail"), job(schedule_s=2, queue="mail"), job(queue="mail")]
        await enqueue(backend, *given)
        await clock.advance(3)

        await expire(backend)

        assert await counts(backend, "mail") == counted(ready=1, dead=2)
        assert sorted(await walk(backend, DEAD)) == sorted(ids(given[:2]))
        assert len(await walk(backend)) == 3
        assert ids(await reserve(backend, "mail")) == [given[2].id]

    async def test_one_that_expired_is_never_given_out(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job(schedule_s=5), job(schedule_s=5, delay_s=5))
        await clock.advance(10.001)
        await backend.promote(limit=1)

        await expire(backend)

        assert await reserve(backend) == []
        assert await backend.promote(limit=ALL) == 0
        assert await counts(backend) == counted(dead=2)
        assert await expire(backend) == []

    async def test_a_scheduled_job_waits_from_when_it_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(delay_s=100, schedule_s=5)
        await enqueue(backend, given)

        await clock.advance(105)
        just_in_time = await expire(backend)
        await clock.advance(0.001)

        assert (await look(backend, given)).expires_at_ms == clock.now_ms() - 1
        assert (just_in_time, ids(await expire(backend))) == ([], [given.id])
        assert await counts(backend) == counted(dead=1)

    async def test_one_that_waits_for_its_retry_waits_from_when_that_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(schedule_s=5))
        await clock.advance(3)
        waiting = await fail(backend, running, delay_s=10)

        await clock.advance(15)
        just_in_time = await expire(backend)
        await clock.advance(0.001)
        [expired] = await expire(backend)

        assert just_in_time == []
        assert (expired.status, expired.retry_count, expired.attempt) == (Status.DEAD, 1, 1)
        assert expired.trail == waiting.trail

    async def test_one_that_came_back_otherwise_waits_anew(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        released, lapsed = job(schedule_s=5), job(schedule_s=5)
        await enqueue(backend, released, lapsed)
        running = await reserve(backend, lease_s=30)
        await clock.advance(31)
        await backend.settle([Release(lease_of(running[0]))])
        await backend.reap(limit=ALL, max_crashes=3)

        await clock.advance(5)
        just_in_time = await expire(backend)
        await clock.advance(0.001)

        assert just_in_time == []
        assert sorted(ids(await expire(backend))) == sorted([released.id, lapsed.id])

    async def test_what_runs_or_has_ended_does_not_expire(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(schedule_s=5))
        done = await given_running(backend, job(schedule_s=5))
        await backend.settle([Complete(lease_of(done))])
        cancelled = await given_cancelled(backend, job(schedule_s=5, delay_s=1))
        retried = await given_running(backend, job(schedule_s=5))
        await fail(backend, retried)
        await start_again(backend, retried)
        before = [await look(backend, one) for one in (running, done, cancelled, retried)]

        await clock.advance(3_600)

        assert await expire(backend) == []
        assert [await look(backend, one) for one in before] == before
        assert await counts(backend) == counted(running=2)

    async def test_a_job_without_a_limit_waits_for_ever(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = [job(), job(execution_s=1), job(delay_s=1)]
        await enqueue(backend, *given)

        await clock.advance(365 * 86_400)

        assert await expire(backend) == []
        assert sorted(ids(await reserve(backend))) == sorted(ids(given))

    async def test_one_that_is_late_may_start_until_it_was_given_up(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        await clock.advance(6)

        await start_again(backend, given)

        assert await expire(backend) == []

    async def test_one_of_a_paused_queue_expires(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, job(schedule_s=5))
        await backend.set_paused("default", paused=True)
        await clock.advance(6)

        assert len(await expire(backend)) == 1
        assert await counts(backend) == counted(dead=1, is_paused=True)

    async def test_no_more_than_the_limit_expire(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = [job(schedule_s=1 + number) for number in range(5)]
        await enqueue(backend, *given)
        await clock.advance(60)

        none, first, rest = [await expire(backend, limit=limit) for limit in (0, 2, 9)]

        assert (none, len(first), len(rest)) == ([], 2, 3)
        assert sorted(ids(first + rest)) == sorted(ids(given))
        assert await counts(backend) == counted(dead=5)

    async def test_many_who_look_at_once_give_each_up_once(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = [job(schedule_s=1) for _ in range(20)]
        await enqueue(backend, *given)
        await clock.advance(2)

        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(expire(backend, limit=4)) for _ in range(8)]

        assert sorted(ids(one for call in calls for one in call.result())) == sorted(ids(given))

    async def test_one_stored_long_after_it_was_made_waits_from_when_the_store_says_it_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(schedule_s=200)
        await clock.advance(100)
        await enqueue(backend, given)

        stored = await look(backend, given)
        assert stored.expires_at_ms is not None
        await clock.advance((stored.expires_at_ms - clock.now_ms()) / 1000)
        just_in_time = await expire(backend)
        await clock.advance(0.001)

        assert given.created_at_ms <= stored.run_after_ms <= given.created_at_ms + 100_000  # made or stored: left open
        assert (just_in_time, ids(await expire(backend))) == ([], [given.id])

    async def test_it_makes_room_in_its_queue(self, backend_with: BackendMaker, job: Jobs, clock: MovableClock) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        await enqueue(backend, job(schedule_s=5))
        await clock.advance(6)

        await expire(backend)

        await enqueue(backend, job())

    async def test_too_many_dead_push_out_the_oldest_death(
        self, backend_with: BackendMaker, job: Jobs, clock: MovableClock
    ) -> None:
        backend = await backend_with(StoreLimits(max_dead_jobs=2))
        given = [job(schedule_s=1 + number) for number in range(3)]
        await enqueue(backend, *given)
        await clock.advance(2.5)
        early = await expire(backend)
        await clock.advance(1)
        late = await expire(backend)

        assert (sorted(ids(early)), ids(late)) == (sorted(ids(given[:2])), [given[2].id])
        assert len(await walk(backend)) == 2
        assert given[2].id in await walk(backend, DEAD)
        assert await counts(backend) == counted(dead=2)


class AfterExpiryConformance(ConformanceSuite):
    async def test_a_replay_gets_a_fresh_wait(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        await clock.advance(6)
        await expire(backend)
        await clock.advance(60)

        [replayed] = await backend.replay([given.id])
        await clock.advance(5)
        just_in_time = await expire(backend)
        running = await start_again(backend, given)

        assert (replayed.death_reason, replayed.error, just_in_time) == (None, None, [])
        assert replayed.expires_at_ms == clock.now_ms()
        assert running.attempt == 1

    async def test_a_replayed_job_can_expire_again(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        for _ in range(2):
            await clock.advance(5.001)
            assert ids(await expire(backend)) == [given.id]
            await backend.replay([given.id])

        assert await counts(backend) == counted(ready=1)
        assert ids(await reserve(backend)) == [given.id]

    async def test_a_dead_letter_that_expired_gives_its_attempt_back(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(schedule_s=5))
        waiting = await fail(backend, running)
        again = await start_again(backend, running)
        await clock.advance(1)
        late = DeadLetter(lease_of(again), DeathReason.EXPIRED, "not started within 5000 ms of being due")

        replies = await backend.settle([late])
        repeat = await backend.settle([late])

        dead = await look(backend, running)
        assert (replies, repeat) == ([Settled.OK], [Settled.ALREADY])
        assert (dead.status, dead.death_reason, dead.error) == (Status.DEAD, DeathReason.EXPIRED, late.error)
        assert (dead.attempt, dead.trail) == (1, waiting.trail)
        assert await counts(backend) == counted(dead=1)

    async def test_an_expired_job_is_deleted_for_good(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        await clock.advance(6)
        await expire(backend)

        deleted = await backend.delete([given.id], status=Status.DEAD)
        await enqueue(backend, job(job_id=given.id))

        assert deleted == 1
        assert await expire(backend) == []
        assert ids(await reserve(backend)) == [given.id]
