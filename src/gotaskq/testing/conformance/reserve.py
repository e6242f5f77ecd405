"""Reserve: due jobs only, in order, shared out by turns, and never to two callers."""

import asyncio

import pytest

from gotaskq.backend import Backend
from gotaskq.errors import QueueNotFoundError
from gotaskq.job import DEFAULT_QUEUE, Status
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    enqueue,
    fail,
    given_cancelled,
    given_done,
    ids,
    lease_of,
    look,
    reserve,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

LEASE_MS = 30_000


async def shares(backend: Backend, *turns: Turn, limit: int) -> list[str]:
    """Reserve by these turns and return the queue of each job, in the order given out."""
    jobs = await backend.reserve(turns, limit=limit, lease_ms=LEASE_MS, worker="worker-1")
    return [job.queue for job in jobs]


async def given_queues(backend: Backend, job: Jobs, *names: str, depth: int) -> None:
    for name in names:
        await backend.create_queue(name)
        await enqueue(backend, *(job(queue=name) for _ in range(depth)))


class ReserveConformance(ConformanceSuite):
    async def test_a_reserved_job_runs_under_a_lease(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job(priority=3)
        await enqueue(backend, given)
        await clock.advance(2)

        [running] = await reserve(backend, worker="host:42")

        assert running.status is Status.RUNNING
        assert running.attempt == 1
        assert running.worker == "host:42"
        assert running.started_at_ms == clock.now_ms()
        assert (running.retry_count, running.crashes, running.releases) == (0, 0, 0)
        assert (running.id, running.priority, running.rank) == (given.id, 3, given.rank)
        assert running.created_at_ms == given.created_at_ms
        assert lease_of(running).job_id == given.id
        assert lease_of(running).nonce
        assert await look(backend, given) == running
        assert await counts(backend) == counted(running=1)

    async def test_what_is_new_and_what_is_not_are_taken_together(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, *(job() for _ in range(10)))
        retried = [await fail(backend, running) for running in await reserve(backend)]
        delayed = [job(delay_s=1, schedule_s=60) for _ in range(10)]
        new = [job() for _ in range(80)]
        await enqueue(backend, *delayed, *new)
        await clock.advance(2)

        running = await reserve(backend)

        assert set(ids(running)) == {one.id for one in (*retried, *delayed, *new)}
        assert [await look(backend, one) for one in running] == running
        assert {one.id for one in running if one.attempt == 2} == set(ids(retried))
        assert await counts(backend) == counted(running=100)

    async def test_where_nothing_waits_nothing_is_given_out(self, backend: Backend, job: Jobs) -> None:
        await given_done(backend, job())

        assert await reserve(backend) == []

    async def test_a_job_is_given_out_once(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job())
        await reserve(backend)

        assert await reserve(backend) == []

    async def test_no_more_than_the_limit_is_taken(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(5)]
        await enqueue(backend, *given)

        first = await reserve(backend, limit=2)
        nothing = await reserve(backend, limit=0)
        rest = await reserve(backend, limit=9)

        assert ids(first) == ids(given[:2])
        assert nothing == []
        assert ids(rest) == ids(given[2:])

    async def test_every_reservation_has_a_nonce_of_its_own(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job(), job())

        [first] = await reserve(backend, limit=1)
        [second] = await reserve(backend, limit=1)

        assert lease_of(first).nonce != lease_of(second).nonce

    async def test_the_higher_priority_goes_first(self, backend: Backend, job: Jobs) -> None:
        low, high, middle = job(priority=0), job(priority=10), job(priority=5)
        await enqueue(backend, low, high, middle)

        assert ids(await reserve(backend)) == [high.id, middle.id, low.id]

    async def test_within_a_priority_the_older_goes_first(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        young_but_first = job(created_at_ms=clock.now_ms())
        old = job(created_at_ms=clock.now_ms() - 5)
        await enqueue(backend, young_but_first, old)

        assert ids(await reserve(backend)) == [old.id, young_but_first.id]

    async def test_within_a_millisecond_the_lower_id_goes_first(self, backend: Backend, job: Jobs) -> None:
        low, high = job(job_id=9), job(job_id=10)  # 9 > 10 where ids are compared as text
        await enqueue(backend, high, low)

        assert ids(await reserve(backend)) == [low.id, high.id]

    async def test_the_order_holds_over_many_jobs(self, backend: Backend, job: Jobs) -> None:
        given = [job(priority=number * 7 % 11) for number in range(200)]
        await enqueue(backend, *given)

        taken = [one for _ in range(40) for one in await reserve(backend, limit=5)]

        assert ids(taken) == ids(sorted(given, key=lambda one: (one.rank, one.id)))

    async def test_a_delayed_job_is_not_given_out_before_it_is_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = job(delay_s=10, priority=10)
        await enqueue(backend, given)

        await clock.advance(9.999)
        early = await reserve(backend)
        await clock.advance(0.001)
        due = await reserve(backend)

        assert early == []
        assert ids(due) == [given.id]

    async def test_what_is_not_due_holds_nobody_up(self, backend: Backend, job: Jobs) -> None:
        later, now = job(delay_s=10, priority=10), job(priority=0)
        await enqueue(backend, later, now)

        assert ids(await reserve(backend)) == [now.id]

    async def test_among_all_that_is_due_priority_counts(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        waiting, sooner, later = job(priority=1), job(priority=0, delay_s=1), job(priority=2, delay_s=2)
        await enqueue(backend, waiting, sooner, later)

        await clock.advance(2)

        assert ids(await reserve(backend)) == [later.id, waiting.id, sooner.id]

    async def test_among_equals_age_counts_and_not_when_they_fell_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        old = job(delay_s=10)
        await enqueue(backend, old)
        await clock.advance(1)
        young = job(delay_s=1)
        await enqueue(backend, young)

        await clock.advance(60)

        assert ids(await reserve(backend)) == [old.id, young.id]

    async def test_a_cancelled_job_is_passed_over(self, backend: Backend, job: Jobs) -> None:
        cancelled, next_one = job(), job()
        await given_cancelled(backend, cancelled)
        await enqueue(backend, next_one)

        assert ids(await reserve(backend, limit=1)) == [next_one.id]

    async def test_many_callers_never_get_the_same_job(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(60)]
        await enqueue(backend, *given)

        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(reserve(backend, limit=7)) for _ in range(12)]

        taken = [one for call in calls for one in ids(call.result())]
        assert sorted(taken) == sorted(ids(given))


class TurnsConformance(ConformanceSuite):
    async def test_turns_of_one_job_go_round(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", "c", depth=3)

        assert await shares(backend, Turn("a", 1), Turn("b", 1), Turn("c", 1), limit=7) == list("abcabca")

    async def test_the_turns_are_taken_in_the_order_given(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=2)

        assert await shares(backend, Turn("b", 1), Turn("a", 1), limit=3) == list("bab")

    async def test_longer_turns_weigh_more(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=9)

        assert await shares(backend, Turn("a", 3), Turn("b", 1), limit=9) == list("aaabaaaba")

    async def test_a_turn_as_long_as_the_limit_is_strict(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=3)

        assert await shares(backend, Turn("a", 5), Turn("b", 5), limit=5) == list("aaabb")

    async def test_a_queue_that_runs_dry_leaves_its_turns_to_the_others(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "c", depth=1)
        await given_queues(backend, job, "b", depth=4)

        assert await shares(backend, Turn("a", 1), Turn("b", 1), Turn("c", 1), limit=ALL) == list("abcbbb")

    async def test_a_turn_that_takes_nothing_is_passed_over(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=2)

        assert await shares(backend, Turn("a", 0), limit=ALL) == []
        assert await shares(backend, Turn("a", 0), Turn("b", 1), limit=ALL) == ["b", "b"]

    async def test_only_the_queues_named_are_served(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=1)

        assert await shares(backend, Turn("b", 9), limit=ALL) == ["b"]
        assert await shares(backend, limit=ALL) == []

    async def test_each_queue_keeps_its_own_order(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=0)
        a_low, a_high, b_low = job(queue="a"), job(queue="a", priority=9), job(queue="b", priority=1)
        await enqueue(backend, a_low, a_high, b_low)

        taken = await reserve(backend, "a", "b")

        assert ids(taken) == [a_high.id, b_low.id, a_low.id]

    async def test_a_paused_queue_is_passed_over(self, backend: Backend, job: Jobs) -> None:
        await given_queues(backend, job, "a", "b", depth=2)
        await backend.set_paused("a", paused=True)

        while_paused = await shares(backend, Turn("a", 1), Turn("b", 1), limit=ALL)
        await backend.set_paused("a", paused=False)
        resumed = await shares(backend, Turn("a", 1), Turn("b", 1), limit=ALL)

        assert while_paused == ["b", "b"]
        assert resumed == ["a", "a"]

    async def test_a_delayed_job_of_a_paused_queue_waits_too(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await backend.set_paused(DEFAULT_QUEUE, paused=True)
        await enqueue(backend, job(delay_s=1), job())
        await clock.advance(2)

        assert await reserve(backend) == []
        assert await counts(backend) == counted(ready=2, is_paused=True)

    async def test_an_unknown_queue_is_refused_before_anything_is_taken(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job())

        with pytest.raises(QueueNotFoundError):
            await reserve(backend, DEFAULT_QUEUE, "nowhere")

        assert await counts(backend) == counted(ready=1)
