"""Cancel: a waiting job at once, a running one by its holder, an ended one not at all."""

from gotaskq.backend import Backend, Extended, Settled
from gotaskq.job import DeathReason, Status
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
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
    start_again,
)
from gotaskq.testing.conformance.suite import ConformanceSuite


class CancelConformance(ConformanceSuite):
    async def test_a_waiting_job_is_cancelled_at_once(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = job()
        await enqueue(backend, given)
        await clock.advance(1)

        cancelled = await backend.cancel(given.id)

        assert cancelled is not None
        assert cancelled == await look(backend, given)
        assert (cancelled.status, cancelled.finished_at_ms) == (Status.CANCELLED, clock.now_ms())
        assert await counts(backend) == counted()
        assert await reserve(backend) == []

    async def test_a_delayed_job_is_cancelled_for_good(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        cancelled = await given_cancelled(backend, job(delay_s=10))
        at_once = await counts(backend)
        await clock.advance(11)

        assert cancelled.status is Status.CANCELLED
        assert at_once == await counts(backend) == counted()
        assert await backend.promote(limit=10) == 0
        assert await reserve(backend) == []

    async def test_a_job_that_fell_due_unnoticed_is_cancelled(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given, other = job(delay_s=10), job(delay_s=20)
        await enqueue(backend, given, other)
        await clock.advance(11)

        await backend.cancel(given.id)

        assert await counts(backend) == counted(scheduled=1)

    async def test_a_job_that_waits_for_its_retry_is_cancelled(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.settle([Reschedule(lease_of(running), 10_000, "SMTPError: 421")])

        cancelled = await backend.cancel(running.id)

        assert cancelled is not None
        assert (cancelled.status, cancelled.retry_count) == (Status.CANCELLED, 1)
        assert await counts(backend) == counted()

    async def test_a_running_job_is_marked(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        marked = await backend.cancel(running.id)

        assert marked is not None
        assert marked == await look(backend, running)
        assert (marked.status, marked.is_cancel_requested) == (Status.RUNNING, True)
        assert lease_of(marked) == lease_of(running)
        assert await backend.extend([lease_of(running)], lease_ms=1_000) == [Extended.CANCEL_REQUESTED]
        assert await counts(backend) == counted(running=1)

    async def test_asking_twice_is_asking_once(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running, waiting = await given_running(backend, job()), job()
        marked = await backend.cancel(running.id)
        cancelled = await given_cancelled(backend, waiting)
        await clock.advance(1)

        assert await backend.cancel(running.id) == marked
        assert await backend.cancel(waiting.id) == cancelled
        assert await counts(backend) == counted(running=1)

    async def test_an_ended_job_is_left_alone(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        done, dead = await given_done(backend, job()), await given_dead(backend, job())
        await clock.advance(1)

        assert await backend.cancel(done.id) == done
        assert await backend.cancel(dead.id) == dead
        assert await look(backend, done) == done
        assert await look(backend, dead) == dead
        assert await counts(backend) == counted(dead=1)

    async def test_an_unknown_job_is_none(self, backend: Backend, job: Jobs) -> None:
        assert await backend.cancel(job().id) is None


class CancelRequestedConformance(ConformanceSuite):
    async def test_the_holder_ends_the_job(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)
        await clock.advance(1)

        replies = await backend.settle([Cancel(lease_of(running))])
        again = await backend.settle([Cancel(lease_of(running))])

        cancelled = await look(backend, running)
        assert (replies, again) == ([Settled.OK], [Settled.ALREADY])
        assert (cancelled.status, cancelled.lease) == (Status.CANCELLED, None)
        assert cancelled.finished_at_ms == clock.now_ms()
        assert await counts(backend) == counted()

    async def test_nobody_ends_a_job_that_nobody_wanted_to_end(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(), lease_s=30)

        replies = await backend.settle([Cancel(lease_of(running))])

        assert replies == [Settled.LOST]
        assert await look(backend, running) == running
        assert await counts(backend) == counted(running=1)
        assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]

    async def test_there_is_no_further_attempt_after_a_failure(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)
        rescheduled = Reschedule(lease_of(running), 0, "SMTPError: 421")

        replies = await backend.settle([rescheduled])
        again = await backend.settle([rescheduled])

        assert (replies, again) == ([Settled.CANCELLED], [Settled.ALREADY])
        assert (await look(backend, running)).status is Status.CANCELLED
        assert await counts(backend) == counted()
        assert await reserve(backend) == []

    async def test_there_is_no_further_attempt_after_a_release(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)

        replies = await backend.settle([Release(lease_of(running), delay_ms=5_000)])

        assert replies == [Settled.CANCELLED]
        assert (await look(backend, running)).status is Status.CANCELLED
        assert await counts(backend) == counted()

    async def test_work_that_was_done_is_done(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)

        assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]
        assert (await look(backend, running)).status is Status.DONE

    async def test_a_last_failure_is_a_death(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)

        death = DeadLetter(lease_of(running), DeathReason.RETRIES_EXHAUSTED, "SMTPError: 550")

        assert await backend.settle([death]) == [Settled.OK]
        assert await counts(backend) == counted(dead=1)

    async def test_a_replayed_job_forgets_that_somebody_wanted_its_end(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.cancel(running.id)
        await backend.settle([DeadLetter(lease_of(running), DeathReason.RETRIES_EXHAUSTED, "SMTPError: 550")])

        [replayed] = await backend.replay([running.id])
        second = await start_again(backend, running)

        assert not replayed.is_cancel_requested
        assert await backend.extend([lease_of(second)], lease_ms=1_000) == [Extended.HELD]
        assert await backend.settle([Release(lease_of(second))]) == [Settled.OK]
