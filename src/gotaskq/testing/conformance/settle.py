"""Settle: what was decided is carried out once, and only for the one who holds the lease."""

import asyncio
from collections.abc import Callable

import pytest

from gotaskq.backend import Backend, Settled
from gotaskq.job import DeathReason, Lease, Status
from gotaskq.outcome import Complete, DeadLetter, Release, Reschedule, Settlement
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    die,
    enqueue,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
    start_again,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

KINDS: dict[str, Callable[[Lease], Settlement]] = {
    "complete": Complete,
    "reschedule": lambda lease: Reschedule(lease, 10_000, "TimeoutError: slow"),
    "dead-letter": lambda lease: DeadLetter(lease, DeathReason.NO_RETRY, "ValueError: no"),
    "release": lambda lease: Release(lease),
    "release delayed": lambda lease: Release(lease, delay_ms=10_000, is_unhandled=True),
}

each_kind = pytest.mark.parametrize("settlement", KINDS.values(), ids=list(KINDS))


class SettleConformance(ConformanceSuite):
    async def test_complete_ends_the_job_well(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(2)

        assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]

        done = await look(backend, running)
        assert (done.status, done.lease) == (Status.DONE, None)
        assert (done.attempt, done.retry_count) == (1, 0)
        assert done.finished_at_ms == done.updated_at_ms == clock.now_ms()
        assert (done.error, done.death_reason) == (None, None)
        assert await counts(backend) == counted()
        assert await reserve(backend) == []

    async def test_of_two_settlements_in_one_call_the_first_counts(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        lease = lease_of(running)

        replies = await backend.settle([Complete(lease, b"1"), Complete(lease, b"2"), Release(lease)])

        assert replies == [Settled.OK, Settled.ALREADY, Settled.ALREADY]
        done = await look(backend, running)
        assert (done.status, done.result_json) == (Status.DONE, b"1")
        assert await counts(backend) == counted()

    async def test_reschedule_spends_a_retry(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(2)

        replies = await backend.settle([Reschedule(lease_of(running), 5_000, "SMTPError: 421")])

        waiting = await look(backend, running)
        assert replies == [Settled.OK]
        assert (waiting.status, waiting.lease) == (Status.PENDING, None)
        assert (waiting.attempt, waiting.retry_count, waiting.crashes, waiting.releases) == (1, 1, 0, 0)
        assert waiting.error == "SMTPError: 421"
        assert waiting.run_after_ms == clock.now_ms() + 5_000
        assert waiting.finished_at_ms is None
        assert await counts(backend) == counted(scheduled=1)

    async def test_a_rescheduled_job_comes_back_when_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        first = await given_running(backend, job())
        await backend.settle([Reschedule(lease_of(first), 5_000, "SMTPError: 421")])

        await clock.advance(4.999)
        early = await reserve(backend)
        await clock.advance(0.001)
        second = await start_again(backend, first)

        assert early == []
        assert (second.attempt, second.retry_count, second.error) == (2, 1, "SMTPError: 421")
        assert second.started_at_ms == clock.now_ms()

    async def test_retries_are_counted_on(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        for number in (1, 2, 3):
            await backend.settle([Reschedule(lease_of(running), 0, f"SMTPError: {number}")])
            running = await start_again(backend, running)

            assert (running.attempt, running.retry_count) == (number + 1, number)
            assert running.error == f"SMTPError: {number}"

    async def test_a_rescheduled_job_keeps_its_place(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(priority=5))
        await clock.advance(1)
        low, younger, high = job(priority=4), job(priority=5), job(priority=6)
        await enqueue(backend, low, younger, high)
        await clock.advance(1)

        await backend.settle([Reschedule(lease_of(running), 0, "SMTPError: 421")])

        assert ids(await reserve(backend)) == [high.id, running.id, younger.id, low.id]

    async def test_dead_letter_gives_the_job_up(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(2)

        death = DeadLetter(lease_of(running), DeathReason.RETRIES_EXHAUSTED, "SMTPError: 550")
        assert await backend.settle([death]) == [Settled.OK]

        dead = await look(backend, running)
        assert (dead.status, dead.lease) == (Status.DEAD, None)
        assert (dead.death_reason, dead.error) == (DeathReason.RETRIES_EXHAUSTED, "SMTPError: 550")
        assert dead.finished_at_ms == clock.now_ms()
        assert (dead.attempt, dead.retry_count) == (1, 0)
        assert await counts(backend) == counted(dead=1)
        assert await reserve(backend) == []

    async def test_release_gives_the_attempt_back(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(2)

        assert await backend.settle([Release(lease_of(running))]) == [Settled.OK]

        released = await look(backend, running)
        assert (released.status, released.lease) == (Status.PENDING, None)
        assert (released.attempt, released.releases, released.retry_count, released.crashes) == (0, 1, 0, 0)
        assert released.run_after_ms == clock.now_ms()
        assert (released.error, released.unhandled_since_ms, released.finished_at_ms) == (None, None, None)
        assert await counts(backend) == counted(ready=1)
        assert (await start_again(backend, running)).attempt == 1

    async def test_a_released_job_keeps_its_place(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(1)
        younger = job()
        await enqueue(backend, younger)
        await clock.advance(1)

        await backend.settle([Release(lease_of(running))])

        assert ids(await reserve(backend)) == [running.id, younger.id]

    async def test_a_release_can_be_delayed(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())

        await backend.settle([Release(lease_of(running), delay_ms=5_000)])

        assert await counts(backend) == counted(scheduled=1)
        await clock.advance(4.999)
        assert await reserve(backend) == []
        await clock.advance(0.001)
        assert ids(await reserve(backend)) == [running.id]

    async def test_since_when_nobody_handles_a_job_is_kept(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job())
        first_ms = clock.now_ms()

        for _ in range(3):
            await backend.settle([Release(lease_of(running), is_unhandled=True)])
            released = await look(backend, running)
            await clock.advance(60)
            running = await start_again(backend, running)

            assert released.unhandled_since_ms == first_ms
            assert running.unhandled_since_ms == first_ms

    async def test_a_job_that_found_its_handler_is_not_unhandled_any_more(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.settle([Release(lease_of(running), is_unhandled=True)])
        running = await start_again(backend, running)

        await backend.settle([Reschedule(lease_of(running), 0, "SMTPError: 421")])

        assert (await look(backend, running)).unhandled_since_ms is None

    async def test_a_mixed_batch_is_answered_one_by_one(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, *(job() for _ in range(5)))
        done, retried, dead, released, held = await reserve(backend)
        stranger = Lease(job().id, "no such nonce")

        replies = await backend.settle(
            [
                Complete(lease_of(done)),
                Complete(stranger),
                Reschedule(lease_of(retried), 1_000, "SMTPError: 421"),
                Complete(lease_of(done)),
                DeadLetter(lease_of(dead), DeathReason.NO_RETRY, "ValueError: no"),
                Release(lease_of(released)),
                Release(Lease(held.id, "no such nonce")),
            ]
        )

        assert replies == [
            Settled.OK,
            Settled.LOST,
            Settled.OK,
            Settled.ALREADY,
            Settled.OK,
            Settled.OK,
            Settled.LOST,
        ]
        assert await counts(backend) == counted(ready=1, scheduled=1, running=1, dead=1)
        assert await look(backend, held) == held

    async def test_nothing_to_settle_is_no_trouble(self, backend: Backend) -> None:
        assert await backend.settle([]) == []


class FencingConformance(ConformanceSuite):
    @each_kind
    async def test_a_repeat_is_answered_already_and_changes_nothing(
        self, backend: Backend, job: Jobs, clock: MovableClock, settlement: Callable[[Lease], Settlement]
    ) -> None:
        running = await given_running(backend, job())
        settled = settlement(lease_of(running))
        await backend.settle([settled])
        before = await look(backend, running)
        counted_before = await counts(backend)
        await clock.advance(1)

        again = await backend.settle([settled, settled])

        assert again == [Settled.ALREADY, Settled.ALREADY]
        assert await look(backend, running) == before
        assert await counts(backend) == counted_before

    @each_kind
    async def test_another_nonce_settles_nothing(
        self, backend: Backend, job: Jobs, settlement: Callable[[Lease], Settlement]
    ) -> None:
        running = await given_running(backend, job())

        replies = await backend.settle([settlement(Lease(running.id, "no such nonce"))])

        assert replies == [Settled.LOST]
        assert await look(backend, running) == running
        assert await counts(backend) == counted(running=1)

    async def test_the_nonce_of_another_reservation_settles_nothing(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job(), job())
        [first] = await reserve(backend, limit=1)
        [second] = await reserve(backend, limit=1)

        replies = await backend.settle([Complete(Lease(first.id, lease_of(second).nonce))])

        assert replies == [Settled.LOST]
        assert await look(backend, first) == first

    @each_kind
    async def test_a_job_that_only_waits_cannot_be_settled(
        self, backend: Backend, job: Jobs, settlement: Callable[[Lease], Settlement]
    ) -> None:
        waiting = job()
        await enqueue(backend, waiting)

        replies = await backend.settle([settlement(Lease(waiting.id, "no such nonce"))])

        assert replies == [Settled.LOST]
        assert await look(backend, waiting) == waiting
        assert await counts(backend) == counted(ready=1)

    async def test_an_unknown_job_is_lost(self, backend: Backend, job: Jobs) -> None:
        assert await backend.settle([Complete(Lease(job().id, "no such nonce"))]) == [Settled.LOST]

    async def test_a_repeat_after_the_next_attempt_began_leaves_that_alone(self, backend: Backend, job: Jobs) -> None:
        first = await given_running(backend, job())
        rescheduled = Reschedule(lease_of(first), 0, "SMTPError: 421")
        await backend.settle([rescheduled])
        second = await start_again(backend, first)

        assert await backend.settle([rescheduled]) == [Settled.ALREADY]
        assert await look(backend, first) == second
        assert await backend.settle([Complete(lease_of(second))]) == [Settled.OK]

    async def test_a_repeat_is_known_after_the_job_was_cancelled(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        rescheduled = Reschedule(lease_of(running), 0, "SMTPError: 421")
        await backend.settle([rescheduled])
        await backend.cancel(running.id)

        assert await backend.settle([rescheduled]) == [Settled.ALREADY]

    async def test_a_repeat_is_known_after_the_job_was_replayed(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        death = DeadLetter(lease_of(running), DeathReason.NO_RETRY, "ValueError: no")
        await backend.settle([death])
        await backend.replay([running.id])

        assert await backend.settle([death]) == [Settled.ALREADY]

    async def test_a_repeat_is_known_after_the_next_attempt_was_lost(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job())
        rescheduled = Reschedule(lease_of(running), 0, "SMTPError: 421")
        await backend.settle([rescheduled])
        await start_again(backend, running, lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=1, max_crashes=3)

        assert await backend.settle([rescheduled]) == [Settled.ALREADY]

    async def test_of_many_who_settle_at_once_one_does(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(backend.settle([Complete(lease_of(running))])) for _ in range(5)]

        replies = [reply for call in calls for reply in call.result()]
        assert replies.count(Settled.OK) == 1
        assert replies.count(Settled.ALREADY) == 4

    async def test_a_deleted_job_is_lost(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await die(backend, running)
        await backend.delete([running.id])

        assert await backend.settle([Complete(lease_of(running))]) == [Settled.LOST]
