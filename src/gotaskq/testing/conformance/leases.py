"""Leases: they can be extended, they run out, and who let one run out has nothing to say any more."""

import asyncio

from gotaskq.backend import Backend, Extended, Settled
from gotaskq.job import DeathReason, Job, Lease, Status
from gotaskq.outcome import Complete, Release, Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    enqueue,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

NEVER = 1_000  # crashes no job reaches


async def reap(backend: Backend, *, limit: int = ALL, max_crashes: int = NEVER) -> list[Job]:
    return await backend.reap(limit=limit, max_crashes=max_crashes)


class ExtendConformance(ConformanceSuite):
    async def test_an_extended_lease_does_not_run_out(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(20)

        extended = await backend.extend([lease_of(running)], lease_ms=30_000)
        await clock.advance(30)
        held = await reap(backend)
        await clock.advance(0.001)
        lapsed = await reap(backend)

        assert extended == [Extended.HELD]
        assert held == []
        assert ids(lapsed) == [running.id]

    async def test_a_deadline_never_moves_back(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=60)

        assert await backend.extend([lease_of(running)], lease_ms=1) == [Extended.HELD]
        await clock.advance(59)

        assert await reap(backend) == []

    async def test_extending_changes_nothing_else(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        await backend.extend([lease_of(running)], lease_ms=60_000)

        assert await look(backend, running) == running
        assert await counts(backend) == counted(running=1)

    async def test_each_lease_is_answered_for_itself(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, *(job() for _ in range(3)))
        held, done, wanted = await reserve(backend)
        await backend.settle([Complete(lease_of(done))])
        await backend.cancel(wanted.id)
        leases = [lease_of(one) for one in (held, done, wanted)]

        extended = await backend.extend(
            [*leases, Lease(held.id, "no such nonce"), Lease(job().id, leases[0].nonce)], lease_ms=1_000
        )

        assert extended == [
            Extended.HELD,
            Extended.LOST,
            Extended.CANCEL_REQUESTED,
            Extended.LOST,
            Extended.LOST,
        ]
        assert await backend.extend([], lease_ms=1_000) == []

    async def test_a_job_to_be_cancelled_is_still_held(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await backend.cancel(running.id)
        await clock.advance(20)

        await backend.extend([lease_of(running)], lease_ms=30_000)
        await clock.advance(20)

        assert await reap(backend) == []

    async def test_a_lease_that_ran_out_can_be_extended_until_it_is_reaped(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)

        assert await backend.extend([lease_of(running)], lease_ms=30_000) == [Extended.HELD]
        assert await reap(backend) == []

    async def test_the_lease_of_an_earlier_attempt_is_lost(self, backend: Backend, job: Jobs) -> None:
        first = await given_running(backend, job())
        await backend.settle([Release(lease_of(first))])
        second = await start_again(backend, first)

        assert await backend.extend([lease_of(first), lease_of(second)], lease_ms=1_000) == [
            Extended.LOST,
            Extended.HELD,
        ]


class ReapConformance(ConformanceSuite):
    async def test_a_lease_that_runs_is_left_alone(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)

        await clock.advance(30)

        assert await reap(backend) == []
        assert await look(backend, running) == running

    async def test_a_lapsed_lease_counts_as_a_crash(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(30.001)

        [reaped] = await reap(backend, max_crashes=3)

        assert (reaped.id, reaped.status, reaped.lease) == (running.id, Status.PENDING, None)
        assert (reaped.crashes, reaped.attempt, reaped.retry_count, reaped.releases) == (1, 1, 0, 0)
        assert (reaped.error, reaped.death_reason, reaped.finished_at_ms) == (None, None, None)
        assert reaped.run_after_ms == clock.now_ms()
        assert await look(backend, running) == reaped
        assert await counts(backend) == counted(ready=1)
        assert (await start_again(backend, running)).attempt == 2

    async def test_those_with_a_last_chance_come_back_one_after_the_other(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = [job() for _ in range(3)]
        await enqueue(backend, *given)
        together = []
        for _ in range(2):
            await reserve(backend, lease_s=30)
            await clock.advance(31)
            together.append(await reap(backend, max_crashes=3))

        first_time, second_time = together
        taken = []
        for _ in given:
            taken.append(ids(await reserve(backend)))
            await clock.advance(0.5)

        assert [one.run_after_ms - one.updated_at_ms for one in first_time] == [0, 0, 0]
        assert sorted(one.run_after_ms - one.updated_at_ms for one in second_time) == [0, 500, 1_000]
        assert sorted(taken) == sorted([one.id] for one in given)

    async def test_a_lapsed_job_keeps_its_place(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(1)
        younger = job()
        await enqueue(backend, younger)
        await clock.advance(30)

        await reap(backend)

        assert ids(await reserve(backend)) == [running.id, younger.id]

    async def test_the_last_crash_allowed_is_the_death_of_a_job(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(), lease_s=30, worker="host:1")
        for crashes in (1, 2):
            await clock.advance(31)
            [lapsed] = await reap(backend, max_crashes=3)
            running = await start_again(backend, running, lease_s=30, worker="host:9")
            assert (lapsed.status, lapsed.crashes) == (Status.PENDING, crashes)
        await clock.advance(31)

        [dead] = await reap(backend, max_crashes=3)

        assert (dead.status, dead.lease, dead.crashes) == (Status.DEAD, None, 3)
        assert dead.death_reason is DeathReason.WORKER_LOST
        assert dead.error is not None
        assert dead.error.startswith("worker lost:")
        assert "3 times" in dead.error
        assert "host:9" in dead.error
        assert dead.finished_at_ms == clock.now_ms()
        assert await look(backend, running) == dead
        assert await counts(backend) == counted(dead=1)

    async def test_where_one_crash_is_the_limit_there_is_no_second_start(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await given_running(backend, job(), lease_s=30)
        await clock.advance(31)

        [dead] = await reap(backend, max_crashes=1)

        assert dead.status is Status.DEAD
        assert await reserve(backend) == []

    async def test_crashes_are_counted_over_retries(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        await reap(backend)
        running = await start_again(backend, running)
        await backend.settle([Reschedule(lease_of(running), 0, "SMTPError: 421")])
        running = await start_again(backend, running, lease_s=30)
        await clock.advance(31)

        [lapsed] = await reap(backend)

        assert (lapsed.crashes, lapsed.retry_count, lapsed.error) == (2, 1, "SMTPError: 421")

    async def test_no_more_than_the_limit_is_reaped(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, *(job() for _ in range(5)))
        running = await reserve(backend, lease_s=30)
        await clock.advance(31)

        first = await reap(backend, limit=2)
        rest = await reap(backend, limit=9)

        assert (len(first), len(rest)) == (2, 3)
        assert sorted(ids(first + rest)) == sorted(ids(running))
        assert await counts(backend) == counted(ready=5)

    async def test_what_was_reaped_is_not_reaped_again(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        await reap(backend)
        await clock.advance(31)

        assert await reap(backend) == []

    async def test_what_was_settled_is_not_reaped(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        done = await given_running(backend, job(), lease_s=30)
        await backend.settle([Complete(lease_of(done))])
        released = await given_running(backend, job(), lease_s=30)
        await backend.settle([Release(lease_of(released))])
        await clock.advance(3_600)

        assert await reap(backend) == []

    async def test_a_new_attempt_has_a_new_deadline(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=3_600)
        await backend.settle([Release(lease_of(running))])
        await start_again(backend, running, lease_s=10)

        await clock.advance(11)

        assert ids(await reap(backend)) == [running.id]

    async def test_a_job_to_be_cancelled_is_cancelled(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await backend.cancel(running.id)
        await clock.advance(31)

        [reaped] = await reap(backend, max_crashes=3)

        assert (reaped.status, reaped.lease) == (Status.CANCELLED, None)
        assert reaped.finished_at_ms == clock.now_ms()
        assert await look(backend, running) == reaped
        assert await counts(backend) == counted()
        assert await reserve(backend) == []

    async def test_many_reapers_take_each_job_once(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, *(job() for _ in range(20)))
        running = await reserve(backend, lease_s=30)
        await clock.advance(31)

        async with asyncio.TaskGroup() as reapers:
            calls = [reapers.create_task(reap(backend, limit=4)) for _ in range(8)]

        reaped = [one for call in calls for one in call.result()]
        assert sorted(ids(reaped)) == sorted(ids(running))
        assert {one.crashes for one in reaped} == {1}


class LateWorkerConformance(ConformanceSuite):
    async def test_a_late_worker_can_settle_while_nobody_took_the_job(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)

        assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]
        assert await reap(backend) == []

    async def test_a_late_worker_cannot_settle_what_was_reaped(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        [reaped] = await reap(backend)
        lease = lease_of(running)

        settled = await backend.settle([Complete(lease), Reschedule(lease, 0, "late"), Release(lease)])

        assert settled == [Settled.LOST] * 3
        assert await backend.extend([lease], lease_ms=30_000) == [Extended.LOST]
        assert await look(backend, running) == reaped
        assert await counts(backend) == counted(ready=1)

    async def test_a_late_worker_cannot_take_the_job_from_its_successor(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        late = await given_running(backend, job(), worker="late", lease_s=30)
        await clock.advance(31)
        await reap(backend)
        successor = await start_again(backend, late, worker="successor")

        assert await backend.settle([Complete(lease_of(late))]) == [Settled.LOST]
        assert await look(backend, late) == successor
        assert await backend.settle([Complete(lease_of(successor))]) == [Settled.OK]
        assert await backend.settle([Complete(lease_of(late))]) == [Settled.LOST]

    async def test_a_late_worker_cannot_wake_the_dead(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        [dead] = await reap(backend, max_crashes=1)

        assert await backend.settle([Release(lease_of(running))]) == [Settled.LOST]
        assert await look(backend, running) == dead
        assert await walk(backend) == [dead.id]
