"""Revive: a dead job comes back changed, in one step; one that is not what somebody looked at stays as it is."""

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import Backend, JobQuery
from gotaskq.job import Job, Status, Timeouts
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    die,
    enqueue,
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

MENDED = b'{"to":"\xc3\xa4",  "n":1.0}'


async def revived(backend: Backend, job: Job, amendment: Amendment) -> Job:
    """Bring a dead job back changed, and return it as the store has it then."""
    reply = await backend.amend(job.id, amendment)
    assert reply is not None
    assert reply.is_amended
    assert reply.job == await look(backend, job)
    assert reply.job.status is Status.PENDING
    return reply.job


class ReviveConformance(ConformanceSuite):
    async def test_a_dead_job_comes_back_with_another_payload(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        dead = await given_dead(backend, job(execution_s=5))
        await clock.advance(1)

        back = await revived(backend, dead, Amendment(payload_json=MENDED, replays=0))

        assert (back.payload_json, back.replays, back.trail.replayed_at_ms) == (MENDED, 1, clock.now_ms())
        assert (back.retry_count, back.error, back.death_reason, back.finished_at_ms) == (0, None, None, None)
        assert (back.run_after_ms, back.rank, back.timeouts) == (clock.now_ms(), dead.rank, dead.timeouts)
        assert back.trail.attempts == dead.trail.attempts
        assert await walk(backend, JobQuery(status=Status.DEAD)) == []
        assert await counts(backend) == counted(ready=1)
        running = await start_again(backend, dead)
        assert (running.payload_json, running.attempt) == (MENDED, dead.attempt + 1)

    async def test_nothing_need_be_changed(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())

        back = await revived(backend, dead, Amendment(replays=0))

        assert (back.payload_json, back.max_retries) == (dead.payload_json, dead.max_retries)
        assert ids(await reserve(backend)) == [dead.id]

    async def test_whatever_may_be_changed_of_one_that_waits_may_be_here(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        dead = await given_dead(backend, job(priority=3))
        other = job(priority=5)
        await enqueue(backend, other)
        rank = PriorityFifo().rank(priority=9, created_at_ms=dead.created_at_ms)
        change = Amendment(
            priority=9, rank=rank, max_retries=7, execution_ms=9_000, schedule_ms=60_000, delay_ms=5_000, replays=0
        )

        back = await revived(backend, dead, change)

        assert (back.priority, back.rank, back.max_retries, back.timeouts) == (9, rank, 7, Timeouts(9_000, 60_000))
        assert back.run_after_ms == clock.now_ms() + 5_000
        assert await counts(backend) == counted(ready=1, scheduled=1)
        await clock.advance(5)
        assert ids(await reserve(backend)) == [dead.id, other.id]

    async def test_one_that_died_again_since_is_left(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())
        await backend.replay([dead.id])
        await die(backend, await start_again(backend, dead))
        again = await look(backend, dead)

        late = await backend.amend(dead.id, Amendment(payload_json=MENDED, replays=0))

        assert late == Amended(again, is_amended=False)
        assert await look(backend, dead) == again
        assert await counts(backend) == counted(dead=1)
        assert (await revived(backend, dead, Amendment(payload_json=MENDED, replays=1))).replays == 2

    async def test_one_that_is_not_dead_is_left(self, backend: Backend, job: Jobs) -> None:
        done, running = await given_done(backend, job()), await given_running(backend, job())
        waiting = job()
        await enqueue(backend, waiting)
        before = await counts(backend)

        for given in (done, running, waiting):
            reply = await backend.amend(given.id, Amendment(payload_json=MENDED, replays=0))

            assert reply is not None
            assert (reply.is_amended, reply.job.payload_json) == (False, given.payload_json)
        assert await counts(backend) == before
        assert await backend.amend(job().id, Amendment(replays=0)) is None

    async def test_two_bring_it_back_once(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())

        first = await backend.amend(dead.id, Amendment(payload_json=MENDED, replays=0))
        second = await backend.amend(dead.id, Amendment(payload_json=b"2", replays=0))

        assert [reply.is_amended for reply in (first, second) if reply] == [True, False]
        assert (await look(backend, dead)).payload_json == MENDED
        assert ids(await reserve(backend)) == [dead.id]

    async def test_one_that_died_waiting_waits_as_long_again(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(schedule_s=5)
        await enqueue(backend, given)
        await clock.advance(6)
        [dead] = await backend.expire(limit=1)

        await revived(backend, dead, Amendment(payload_json=MENDED, replays=0))
        await clock.advance(4)
        early = await backend.expire(limit=1)
        await clock.advance(2)

        assert early == []
        assert ids(await backend.expire(limit=1)) == [given.id]


class ReviveUniqueConformance(ConformanceSuite):
    async def test_one_whose_twin_is_alive_is_left(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job(unique_key="sync:ada"))
        twin = await given_running(backend, job(unique_key="sync:ada"))

        refused = await backend.amend(dead.id, Amendment(payload_json=MENDED, replays=0))

        assert refused == Amended(dead, is_amended=False)
        assert await look(backend, dead) == dead
        assert await counts(backend) == counted(running=1, dead=1)
        await die(backend, twin)
        assert (await revived(backend, dead, Amendment(payload_json=MENDED, replays=0))).unique_key == "sync:ada"
        assert await backend.replay([twin.id]) == []
