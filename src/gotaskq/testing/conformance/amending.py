"""Amend: a waiting job gets another place, record or patience at once; any other is left as it is."""

import pytest
from msgspec.structs import replace

from gotaskq.amendment import DUE_NOW, Amendment
from gotaskq.backend import Backend, Enqueued
from gotaskq.job import Job, Status, Timeouts
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    enqueue,
    fail,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    ids,
    look,
    reserve,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import ConformanceSuite


async def amended(backend: Backend, job: Job, amendment: Amendment) -> Job:
    """Change a job that waits, and return it as the store has it then."""
    reply = await backend.amend(job.id, amendment)
    assert reply is not None
    assert reply.is_amended
    assert reply.job == await look(backend, job)
    assert reply.job.status is Status.PENDING
    return reply.job


def raised(job: Job, priority: int) -> Amendment:
    """Return the change of a job's priority, as the engine makes it."""
    return Amendment(priority=priority, rank=PriorityFifo().rank(priority=priority, created_at_ms=job.created_at_ms))


class AmendConformance(ConformanceSuite):
    async def test_a_delayed_job_becomes_due_now(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(delay_s=60)
        await enqueue(backend, given)
        await clock.advance(1)

        hastened = await amended(backend, given, DUE_NOW)

        assert (hastened.run_after_ms, hastened.updated_at_ms) == (clock.now_ms(), clock.now_ms())
        assert hastened.delay_ms == given.delay_ms
        assert await counts(backend) == counted(ready=1)
        assert ids(await reserve(backend)) == [given.id]
        await clock.advance(61)
        assert await backend.promote(limit=10) == 0
        assert await reserve(backend) == []

    async def test_a_retry_becomes_due_now(self, backend: Backend, job: Jobs) -> None:
        waiting = await fail(backend, await given_running(backend, job()), delay_s=60)

        hastened = await amended(backend, waiting, DUE_NOW)

        assert (hastened.retry_count, hastened.error) == (1, waiting.error)
        assert hastened.trail == waiting.trail
        assert (await start_again(backend, waiting)).attempt == 2

    async def test_a_due_job_can_be_put_off(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given, other = job(), job()
        await enqueue(backend, given, other)

        put_off = await amended(backend, given, Amendment(delay_ms=10_000))

        assert put_off.run_after_ms == clock.now_ms() + 10_000
        assert await counts(backend) == counted(ready=1, scheduled=1)
        assert ids(await reserve(backend)) == [other.id]
        await clock.advance(10)
        assert ids(await reserve(backend)) == [given.id]

    async def test_a_job_moved_to_and_fro_runs_once(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job()
        await enqueue(backend, given)

        for delay_ms in (5_000, 0, 5_000, 7_000, 5_000, 0, 0):
            await amended(backend, given, Amendment(delay_ms=delay_ms))
            at_once = delay_ms == 0
            assert await counts(backend) == counted(ready=int(at_once), scheduled=int(not at_once))

        assert ids(await reserve(backend)) == [given.id]
        await clock.advance(8)
        assert await reserve(backend) == []
        assert await counts(backend) == counted(running=1)

    async def test_a_higher_priority_goes_first(self, backend: Backend, job: Jobs) -> None:
        first, second, third = job(priority=3), job(priority=3), job(priority=3)
        await enqueue(backend, first, second, third)

        changed = await amended(backend, third, raised(third, 9))
        lowered = await amended(backend, first, raised(first, 0))

        assert (changed.priority, lowered.priority) == (9, 0)
        assert ids(await reserve(backend)) == [third.id, second.id, first.id]

    async def test_a_job_that_is_not_due_gets_its_rank_when_it_is(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        first, second = job(priority=3, delay_s=5), job(priority=3, delay_s=5)
        await enqueue(backend, first, second)

        await amended(backend, second, raised(second, 4))
        await clock.advance(5)

        assert ids(await reserve(backend)) == [second.id, first.id]

    async def test_priority_and_instant_change_together(self, backend: Backend, job: Jobs) -> None:
        first, second = job(priority=3), job(priority=3, delay_s=60)
        await enqueue(backend, first, second)

        await amended(backend, second, replace(raised(second, 4), delay_ms=0))

        assert ids(await reserve(backend)) == [second.id, first.id]

    async def test_the_next_attempt_gets_what_was_changed(self, backend: Backend, job: Jobs) -> None:
        given = job(execution_s=5)
        await enqueue(backend, given)
        payload_json = b'{"to":"\xc3\xa4",  "n":1.0}'
        change = Amendment(max_retries=7, execution_ms=9_000, schedule_ms=60_000, payload_json=payload_json)

        changed = await amended(backend, given, change)
        running = await start_again(backend, given)

        for seen in (changed, running):
            assert (seen.max_retries, seen.timeouts) == (7, Timeouts(9_000, 60_000))
            assert seen.payload_json == payload_json
            assert (seen.type, seen.priority, seen.rank, seen.queue) == (given.type, 0, given.rank, given.queue)
            assert (seen.created_at_ms, seen.run_after_ms) == (given.created_at_ms, given.run_after_ms)
            assert (seen.enqueue_nonce, seen.delay_ms, seen.version) == (given.enqueue_nonce, 0, given.version)

    @pytest.mark.parametrize("version", [1, 2])
    async def test_limits_are_taken_away_by_zero(self, backend: Backend, job: Jobs, version: int) -> None:
        given = job(execution_s=5, schedule_s=6, version=version)
        await enqueue(backend, given)

        one = await amended(backend, given, Amendment(execution_ms=0))
        none = await amended(backend, given, Amendment(schedule_ms=0))
        both = await amended(backend, given, Amendment(execution_ms=1, schedule_ms=2))

        assert (one.timeouts, none.timeouts, both.timeouts) == (Timeouts(0, 6_000), Timeouts(), Timeouts(1, 2))
        assert (one.version, none.version, both.version) == (version,) * 3

    async def test_a_payload_of_any_bytes_comes_back(self, backend: Backend, job: Jobs) -> None:
        given = job(payload_json=b'"before \\u0000"')
        await enqueue(backend, given)

        kept = await amended(backend, given, Amendment(max_retries=1))
        changed = await amended(backend, given, Amendment(payload_json=b"null"))

        assert (kept.payload_json, changed.payload_json) == (given.payload_json, b"null")

    async def test_a_wait_that_is_shortened_ends_sooner(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given, patient = job(), job(schedule_s=5)
        await enqueue(backend, given, patient)

        await amended(backend, given, Amendment(schedule_ms=2_000))
        await amended(backend, patient, Amendment(schedule_ms=0))
        await clock.advance(3)
        expired = await backend.expire(limit=10)
        await clock.advance(3)

        assert ids(expired) == [given.id]
        assert await backend.expire(limit=10) == []
        assert await counts(backend) == counted(ready=1, dead=1)

    async def test_a_wait_counts_from_when_the_job_is_due_now(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        await clock.advance(4)

        await amended(backend, given, Amendment(delay_ms=3_000))
        await clock.advance(7)
        too_soon = await backend.expire(limit=10)
        await clock.advance(2)

        assert too_soon == []
        assert ids(await backend.expire(limit=10)) == [given.id]

    async def test_a_job_that_waits_no_more_is_left(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        dead, done = await given_dead(backend, job()), await given_done(backend, job())
        cancelled, running = await given_cancelled(backend, job()), await given_running(backend, job())
        before = await counts(backend)
        await clock.advance(1)

        for given in (dead, done, cancelled, running):
            reply = await backend.amend(given.id, Amendment(delay_ms=0, priority=9, rank=0, payload_json=b"1"))

            assert reply is not None
            assert (reply.job, reply.is_amended) == (given, False)
            assert await look(backend, given) == given
        assert await counts(backend) == before
        assert await reserve(backend) == []

    async def test_an_unknown_job_is_none(self, backend: Backend, job: Jobs) -> None:
        assert await backend.amend(job().id, DUE_NOW) is None

    async def test_a_changed_job_is_where_it_was_in_a_listing(self, backend: Backend, job: Jobs) -> None:
        first, second = job(), job()
        await enqueue(backend, first, second)

        await amended(backend, first, raised(first, 9))

        assert await walk(backend) == ids([second, first])

    async def test_a_changed_job_can_be_cancelled_and_deleted(self, backend: Backend, job: Jobs) -> None:
        given = job(delay_s=5)
        await enqueue(backend, given)
        await amended(backend, given, DUE_NOW)
        await amended(backend, given, Amendment(delay_ms=9_000))

        cancelled = await backend.cancel(given.id)

        assert cancelled is not None
        assert cancelled.status is Status.CANCELLED
        assert await counts(backend) == counted()
        assert await backend.delete([given.id]) == 1
        assert await reserve(backend) == []

    async def test_the_same_job_stored_again_is_a_duplicate_still(self, backend: Backend, job: Jobs) -> None:
        given = job()
        await enqueue(backend, given)
        changed = await amended(backend, given, raised(given, 9))

        replies = await backend.enqueue([given])

        assert replies == [Enqueued.DUPLICATE]
        assert await look(backend, given) == changed
