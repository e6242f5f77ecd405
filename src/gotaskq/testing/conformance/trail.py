"""The trail: what attempts leave behind on a job, which is how the last five failed, and what was returned."""

import json

import pytest

from gotaskq.backend import Backend, JobQuery, Settled
from gotaskq.job import DeathReason, Job, Status
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    WORKER,
    Jobs,
    die,
    enqueue,
    fail,
    given_dead,
    given_running,
    lease_of,
    look,
    reserve,
    start_again,
    walk,
)
from gotaskq.testing.conformance.suite import ConformanceSuite
from gotaskq.trail import KEPT_ATTEMPTS, MAX_STATE_BYTES, MAX_TRACEBACK_BYTES, NO_TRAIL, Attempt

RESULTS = (b"0", b"false", b'""', b"{}", b'{"sent":[1,2.5,null]}', '"žluťoučký\\t\\u0007"'.encode(), b'" \x7f"')
LARGEST = json.dumps("x" * (MAX_STATE_BYTES - 2)).encode()


def numbers(job: Job) -> list[int]:
    return [attempt.number for attempt in job.trail.attempts]


class ResultConformance(ConformanceSuite):
    @pytest.mark.parametrize("result", [*RESULTS, LARGEST], ids=lambda result: repr(result[:20]))
    async def test_what_was_returned_stays_to_the_byte(self, backend: Backend, job: Jobs, result: bytes) -> None:
        running = await given_running(backend, job())

        assert await backend.settle([Complete(lease_of(running), result)]) == [Settled.OK]

        done = await look(backend, running)
        assert (done.status, done.result_json) == (Status.DONE, result)
        assert done.result == json.loads(result)
        assert (await backend.list_jobs(JobQuery(), after=None, limit=1)).jobs == [done]

    async def test_nothing_returned_is_no_result(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        await backend.settle([Complete(lease_of(running))])

        done = await look(backend, running)
        assert (done.result_json, done.result, done.trail) == (None, None, NO_TRAIL)

    async def test_the_first_result_counts(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.settle([Complete(lease_of(running), b"1")])

        assert await backend.settle([Complete(lease_of(running), b"2")]) == [Settled.ALREADY]
        assert (await look(backend, running)).result == 1

    async def test_a_late_worker_brings_no_result(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        late = await given_running(backend, job(), lease_s=30)
        await clock.advance(31)
        await backend.reap(limit=1, max_crashes=3)
        successor = await start_again(backend, late)

        assert await backend.settle([Complete(lease_of(late), b"1")]) == [Settled.LOST]
        assert await backend.settle([Complete(lease_of(successor), b"2")]) == [Settled.OK]
        assert (await look(backend, late)).result == 2

    async def test_each_job_of_a_batch_has_its_own_result(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, *(job() for _ in range(6)))
        running = await reserve(backend)
        results = [b"1", None, b'"two"', None, b"[3]", b"1"]
        settlements = [Complete(lease_of(one), result) for one, result in zip(running, results, strict=True)]

        assert await backend.settle(settlements) == [Settled.OK] * 6

        assert [(await look(backend, one)).result_json for one in running] == results

    async def test_many_large_results_at_once(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(40)]
        await enqueue(backend, *given)
        running = await reserve(backend)

        replies = await backend.settle([Complete(lease_of(one), LARGEST) for one in running])

        assert replies == [Settled.OK] * 40
        assert {(await look(backend, one)).result_json for one in given} == {LARGEST}
        assert len(await walk(backend)) == 40


class AttemptsConformance(ConformanceSuite):
    async def test_a_job_that_never_failed_has_none(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        assert (running.trail, (await look(backend, running)).trail) == (NO_TRAIL, NO_TRAIL)

    async def test_a_retry_leaves_an_entry(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), worker="host:7")
        began_ms = clock.now_ms()
        await clock.advance(2)
        traceback = 'Traceback (most recent call last):\n\tFile "a.py", line 1\n\nSMTPError: 421 ž'

        await backend.settle([Reschedule(lease_of(running), 0, "SMTPError: 421 ž", traceback)])

        waiting = await look(backend, running)
        entry = Attempt(1, began_ms, clock.now_ms(), "host:7", "SMTPError: 421 ž", traceback)
        assert waiting.trail.attempts == (entry,)
        assert waiting.error == "SMTPError: 421 ž"
        assert (await start_again(backend, running)).trail == waiting.trail

    async def test_a_death_leaves_an_entry(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        began_ms = clock.now_ms()
        await clock.advance(2)

        await backend.settle([DeadLetter(lease_of(running), DeathReason.DISCARDED, "Discard: no use", "line\nline\n")])

        dead = await look(backend, running)
        entry = Attempt(1, began_ms, clock.now_ms(), WORKER, "Discard: no use", "line\nline\n")
        assert (dead.trail.attempts, dead.error) == ((entry,), "Discard: no use")

    async def test_an_error_without_a_traceback_has_none(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())

        await backend.settle([DeadLetter(lease_of(running), DeathReason.NO_RETRY, "ValueError: no")])

        [entry] = (await look(backend, running)).trail.attempts
        assert (entry.error, entry.traceback) == ("ValueError: no", "")

    async def test_a_long_traceback_is_kept_whole(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        traceback = "x\n" * (MAX_TRACEBACK_BYTES // 2)

        await backend.settle([Reschedule(lease_of(running), 0, "E: x", traceback)])

        assert (await look(backend, running)).trail.attempts[0].traceback == traceback

    async def test_the_last_five_are_kept_the_oldest_first(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(max_retries=99))

        for number in range(1, 13):
            waiting = await fail(backend, running, f"SMTPError: {number}")
            kept = list(range(max(1, number - KEPT_ATTEMPTS + 1), number + 1))
            assert numbers(waiting) == kept
            assert [attempt.error for attempt in waiting.trail.attempts] == [f"SMTPError: {kept}" for kept in kept]
            await clock.advance(1)
            running = await start_again(backend, running)

        instants = [attempt.ended_at_ms for attempt in running.trail.attempts]
        assert instants == sorted(set(instants))

    async def test_a_lapse_leaves_an_entry(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job(), lease_s=30, worker="host:7")
        began_ms = clock.now_ms()
        await clock.advance(31)

        [lapsed] = await backend.reap(limit=ALL, max_crashes=3)

        assert lapsed.trail.attempts == (Attempt(1, began_ms, clock.now_ms(), "host:7", "worker lost"),)
        assert (await look(backend, running)).trail == lapsed.trail
        assert lapsed.error is None

    async def test_the_last_lapse_leaves_an_entry_too(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await fail(backend, await given_running(backend, job()))
        await reserve(backend, lease_s=30)
        await clock.advance(31)

        [dead] = await backend.reap(limit=ALL, max_crashes=1)

        assert dead.status is Status.DEAD
        assert [attempt.error for attempt in dead.trail.attempts] == ["SMTPError: 421", "worker lost"]
        assert numbers(dead) == [1, 2]

    async def test_a_release_leaves_none(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        await backend.settle([Release(lease_of(running), is_snoozed=True)])
        released = await look(backend, running)

        waiting = await fail(backend, await start_again(backend, running))
        again = await start_again(backend, running)
        await backend.settle([Release(lease_of(again), is_unhandled=True)])

        assert numbers(released) == []
        assert numbers(waiting) == numbers(await look(backend, running)) == [1]

    async def test_what_was_cancelled_leaves_none(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        cancelled, retried, lapsed = job(), job(), job()
        await enqueue(backend, cancelled, retried, lapsed)
        running = await reserve(backend, lease_s=30)
        for one in running:
            await backend.cancel(one.id)

        await backend.settle([Cancel(lease_of(running[0])), Reschedule(lease_of(running[1]), 0, "SMTPError: 421")])
        await clock.advance(31)
        await backend.reap(limit=ALL, max_crashes=3)

        ended = [await look(backend, one) for one in (cancelled, retried, lapsed)]
        assert [one.status for one in ended] == [Status.CANCELLED] * 3
        assert [one.trail for one in ended] == [NO_TRAIL] * 3

    async def test_a_job_that_ended_well_keeps_them(self, backend: Backend, job: Jobs) -> None:
        waiting = await fail(backend, await given_running(backend, job()))
        running = await start_again(backend, waiting)

        await backend.settle([Complete(lease_of(running), b"1")])

        assert (await look(backend, running)).trail == waiting.trail

    async def test_they_are_kept_across_a_replay(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job())
        [replayed] = await backend.replay([dead.id])

        waiting = await fail(backend, await start_again(backend, dead), "SMTPError: 2")

        assert replayed.trail.attempts == dead.trail.attempts
        assert [attempt.error for attempt in waiting.trail.attempts] == ["SMTPError: 550", "SMTPError: 2"]
        assert numbers(waiting) == [1, 2]


class TimeoutsConformance(ConformanceSuite):
    @pytest.mark.parametrize(("execution_s", "schedule_s"), [(0, 0), (0.001, 0), (0, 0.001), (86_400, 31_536_000)])
    async def test_they_are_read_as_they_were_given(
        self, backend: Backend, job: Jobs, execution_s: float, schedule_s: float
    ) -> None:
        given = job(execution_s=execution_s, schedule_s=schedule_s)
        await enqueue(backend, given)

        assert await look(backend, given) == given
        assert (await start_again(backend, given)).timeouts == given.timeouts

    async def test_a_later_version_is_known_as_such(self, backend: Backend, job: Jobs) -> None:
        given = job(version=7, execution_s=9)
        await enqueue(backend, given)

        assert await look(backend, given) == given
        assert (await start_again(backend, given)).version == 7


class HeadersConformance(ConformanceSuite):
    async def test_headers_are_read_as_they_were_given(self, backend: Backend, job: Jobs) -> None:
        given = job(headers={"traceparent": "00-0af7-b7ad-01", "tenant": 'größe "1"\\t', "empty": ""}, schedule_s=60)
        await enqueue(backend, given)

        assert (await look(backend, given)).headers == given.headers
        assert (await start_again(backend, given)).headers_json == given.headers_json

    async def test_they_are_kept_through_retries_death_and_replay(self, backend: Backend, job: Jobs) -> None:
        given = job(headers={"tenant": "blue"})
        waiting = await fail(backend, await given_running(backend, given))
        await die(backend, await start_again(backend, waiting))
        dead = await look(backend, given)
        [replayed] = await backend.replay([dead.id])

        assert [each.headers for each in (waiting, dead, replayed)] == [{"tenant": "blue"}] * 3

    async def test_jobs_with_and_without_are_told_apart(self, backend: Backend, job: Jobs) -> None:
        given = [job(), job(headers={"a": "1"}), job(headers={"a": "2"})]
        await enqueue(backend, *given)

        taken = await reserve(backend)

        assert {each.id: each.headers for each in taken} == {each.id: each.headers for each in given}
