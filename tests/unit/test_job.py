"""A job's transitions: each does what the table of states says, and nothing else is possible."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from gotaskq import job as transition
from gotaskq.errors import GotaskqError, IllegalTransitionError, PayloadDecodeError
from gotaskq.job import (
    CANCELLED,
    DEAD,
    DONE,
    FINAL,
    PENDING,
    RUNNING,
    TRANSITIONS,
    DeathReason,
    Job,
    JobId,
    Lease,
    Status,
    Timeouts,
    held_lease,
)
from gotaskq.trail import NO_TRAIL, Attempt, Trail

CREATED_MS: Final = 1_795_428_000_000
NOW_MS: Final = CREATED_MS + 5_000
LEASE: Final = Lease(JobId(7), "nonce-1")

WAITING: Final = Job(
    id=JobId(7),
    type="email.send",
    queue="mail",
    payload_json=b'{"to":"a@b.c"}',
    priority=5,
    delay_ms=0,
    max_retries=3,
    rank=12,
    created_at_ms=CREATED_MS,
    updated_at_ms=CREATED_MS,
    run_after_ms=CREATED_MS,
    enqueue_nonce="enqueue-1",
)
STARTED: Final = replace(
    WAITING, status=RUNNING, attempt=1, lease=LEASE, worker="host:1", started_at_ms=CREATED_MS, updated_at_ms=CREATED_MS
)
BURIED: Final = replace(
    STARTED,
    status=DEAD,
    lease=None,
    settled_nonce=LEASE.nonce,
    retry_count=3,
    crashes=1,
    releases=2,
    error="SMTPError: 550",
    death_reason=DeathReason.RETRIES_EXHAUSTED,
    finished_at_ms=CREATED_MS,
    unhandled_since_ms=CREATED_MS,
)
LOST: Final = Attempt(1, CREATED_MS, NOW_MS, "host:1", "worker lost")
NOTED: Final = Trail(attempts=(Attempt(1, 1, 2, "host:0", "E: 1"),), progress=0.5, note="half", checkpoint_json=b"7")
IN_STATUS: Final = {
    PENDING: WAITING,
    RUNNING: STARTED,
    DONE: replace(STARTED, status=DONE, lease=None, finished_at_ms=CREATED_MS),
    Status.FAILED: replace(STARTED, status=Status.FAILED, lease=None),
    DEAD: BURIED,
    CANCELLED: replace(WAITING, status=CANCELLED, finished_at_ms=CREATED_MS),
}

Step = Callable[[Job], Job]

# Every way on: what it is called, where it may begin and where it ends.
STEPS: Final[dict[str, tuple[Step, Status, Status]]] = {
    "start": (lambda job: transition.start(job, lease=LEASE, worker="host:1", now_ms=NOW_MS), PENDING, RUNNING),
    "complete": (lambda job: transition.complete(job, now_ms=NOW_MS), RUNNING, DONE),
    "reschedule": (
        lambda job: transition.reschedule(job, delay_ms=100, error="SMTPError: 421", now_ms=NOW_MS),
        RUNNING,
        PENDING,
    ),
    "dead_letter": (
        lambda job: transition.dead_letter(job, reason=DeathReason.NO_RETRY, error="ValueError: no", now_ms=NOW_MS),
        RUNNING,
        DEAD,
    ),
    "release": (lambda job: transition.release(job, delay_ms=0, unhandled=False, now_ms=NOW_MS), RUNNING, PENDING),
    "lapse": (lambda job: transition.lapse(job, max_crashes=3, now_ms=NOW_MS), RUNNING, PENDING),
    "lapse for the last time": (lambda job: transition.lapse(job, max_crashes=1, now_ms=NOW_MS), RUNNING, DEAD),
    "note": (
        lambda job: transition.note(job, progress=0.5, text="half", checkpoint_json=b"7", now_ms=NOW_MS),
        RUNNING,
        RUNNING,
    ),
    "expire": (lambda job: transition.expire(job, now_ms=NOW_MS), PENDING, DEAD),
    "replay": (lambda job: transition.replay(job, now_ms=NOW_MS), DEAD, PENDING),
}


def changes(before: Job, after: Job) -> dict[str, object]:
    """Return the members that differ, and what they are now."""
    old = asdict(before)
    return {name: value for name, value in asdict(after).items() if value != old[name]}


class TestEveryStep:
    @pytest.mark.parametrize("name", STEPS)
    def test_a_step_leads_where_it_says(self, name: str) -> None:
        step, before, after = STEPS[name]

        assert step(IN_STATUS[before]).status is after
        assert after is before or after in TRANSITIONS[before]

    @pytest.mark.parametrize(
        ("name", "status"),
        [(name, status) for name, (_, before, _) in STEPS.items() for status in Status if status is not before],
    )
    def test_a_step_from_elsewhere_is_illegal(self, name: str, status: Status) -> None:
        step = STEPS[name][0]

        with pytest.raises(IllegalTransitionError, match=f"job 7 is {status.value}"):
            step(IN_STATUS[status])

    @pytest.mark.parametrize("status", Status)
    def test_only_what_waits_or_runs_is_cancelled(self, status: Status) -> None:
        job = IN_STATUS[status]

        if status in (PENDING, RUNNING):
            assert transition.cancel(job, now_ms=NOW_MS).status is CANCELLED
        else:
            with pytest.raises(IllegalTransitionError, match="cannot become CANCELLED"):
                transition.cancel(job, now_ms=NOW_MS)

    @pytest.mark.parametrize("name", ["complete", "reschedule", "dead_letter", "release"])
    def test_nobody_settles_a_job_that_nobody_holds(self, name: str) -> None:
        step = STEPS[name][0]

        with pytest.raises(IllegalTransitionError):
            step(replace(STARTED, lease=None))

    def test_the_table_names_every_status(self) -> None:
        assert set(TRANSITIONS) == set(Status)
        assert {status for status, after in TRANSITIONS.items() if not after - {PENDING}} == FINAL | {Status.FAILED}

    def test_an_illegal_step_is_ours_to_catch(self) -> None:
        assert issubclass(IllegalTransitionError, GotaskqError)

    @given(names=st.lists(st.sampled_from([*STEPS, "cancel", "request_cancel"]), max_size=30))
    def test_no_step_is_outside_the_table(self, names: list[str]) -> None:
        job = WAITING
        for name in names:
            before, job = job, step_or_stay(name, job)

            assert job.status is before.status or job.status in TRANSITIONS[before.status]
            assert (job.lease is not None) == (job.status is RUNNING)
            assert (job.finished_at_ms is not None) == (job.status in FINAL)
            assert (job.death_reason is not None) == (job.status is DEAD)
            assert min(job.attempt, job.retry_count, job.crashes, job.releases, job.replays) >= 0


def step_or_stay(name: str, job: Job) -> Job:
    """Take a step; stay where it is illegal."""
    more: dict[str, Step] = {
        "cancel": lambda job: transition.cancel(job, now_ms=NOW_MS),
        "request_cancel": lambda job: transition.request_cancel(job, now_ms=NOW_MS),
    }
    try:
        return more[name](job) if name in more else STEPS[name][0](job)
    except IllegalTransitionError:
        return job


class TestAttempts:
    def test_start(self) -> None:
        started = transition.start(WAITING, lease=LEASE, worker="host:1", now_ms=NOW_MS)

        assert changes(WAITING, started) == {
            "status": RUNNING,
            "attempt": 1,
            "lease": LEASE,
            "worker": "host:1",
            "started_at_ms": NOW_MS,
            "updated_at_ms": NOW_MS,
        }

    def test_complete(self) -> None:
        assert changes(STARTED, transition.complete(STARTED, now_ms=NOW_MS)) == {
            "status": DONE,
            "lease": None,
            "settled_nonce": "nonce-1",
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    def test_reschedule(self) -> None:
        unhandled = replace(STARTED, unhandled_since_ms=CREATED_MS)

        waiting = transition.reschedule(unhandled, delay_ms=100, error="SMTPError: 421", now_ms=NOW_MS)

        assert changes(unhandled, waiting) == {
            "status": PENDING,
            "lease": None,
            "settled_nonce": "nonce-1",
            "retry_count": 1,
            "error": "SMTPError: 421",
            "trail": Trail(attempts=(Attempt(1, CREATED_MS, NOW_MS, "host:1", "SMTPError: 421"),)),
            "unhandled_since_ms": None,
            "updated_at_ms": NOW_MS,
            "run_after_ms": NOW_MS + 100,
        }

    def test_dead_letter(self) -> None:
        dead = transition.dead_letter(STARTED, reason=DeathReason.NO_HANDLER, error="none", now_ms=NOW_MS)

        assert changes(STARTED, dead) == {
            "status": DEAD,
            "lease": None,
            "settled_nonce": "nonce-1",
            "death_reason": DeathReason.NO_HANDLER,
            "error": "none",
            "trail": Trail(attempts=(Attempt(1, CREATED_MS, NOW_MS, "host:1", "none"),)),
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    def test_complete_with_a_result(self) -> None:
        assert transition.complete(STARTED, result_json=b"7", now_ms=NOW_MS).result == 7

    def test_a_dead_letter_that_expired_was_no_attempt(self) -> None:
        dead = transition.dead_letter(STARTED, reason=DeathReason.EXPIRED, error="too late", now_ms=NOW_MS)

        assert (dead.attempt, dead.trail, dead.error) == (0, NO_TRAIL, "too late")

    def test_release(self) -> None:
        released = transition.release(STARTED, delay_ms=100, unhandled=False, now_ms=NOW_MS)

        assert changes(STARTED, released) == {
            "status": PENDING,
            "lease": None,
            "settled_nonce": "nonce-1",
            "attempt": 0,
            "releases": 1,
            "updated_at_ms": NOW_MS,
            "run_after_ms": NOW_MS + 100,
        }

    def test_release_remembers_since_when_nobody_handles_the_job(self) -> None:
        first = transition.release(STARTED, delay_ms=0, unhandled=True, now_ms=NOW_MS)
        again = transition.start(first, lease=LEASE, worker="host:2", now_ms=NOW_MS + 1)
        second = transition.release(again, delay_ms=0, unhandled=True, now_ms=NOW_MS + 2)
        handled = transition.release(again, delay_ms=0, unhandled=False, now_ms=NOW_MS + 2)

        assert (first.unhandled_since_ms, second.unhandled_since_ms) == (NOW_MS, NOW_MS)
        assert handled.unhandled_since_ms is None


class TestTrail:
    @pytest.mark.parametrize("name", ["reschedule", "release", "lapse"])
    def test_of_an_attempt_that_is_over_the_checkpoint_stays(self, name: str) -> None:
        waiting = STEPS[name][0](replace(STARTED, trail=NOTED))

        assert (waiting.trail.progress, waiting.trail.note, waiting.trail.checkpoint_json) == (None, "", b"7")
        assert waiting.trail.attempts[0] == NOTED.attempts[0]

    @pytest.mark.parametrize("name", ["complete", "dead_letter", "lapse for the last time"])
    def test_a_job_that_ended_shows_how_far_it_was(self, name: str) -> None:
        ended = STEPS[name][0](replace(STARTED, trail=NOTED))

        assert (ended.trail.progress, ended.trail.note) == (0.5, "half")

    def test_five_attempts_are_kept(self) -> None:
        job = STARTED
        for number in range(2, 9):
            waiting = transition.reschedule(job, delay_ms=0, error="E: x", traceback="tb", now_ms=NOW_MS)
            job = transition.start(waiting, lease=LEASE, worker="host:1", now_ms=NOW_MS)
            assert job.attempt == number

        assert [attempt.number for attempt in job.trail.attempts] == [3, 4, 5, 6, 7]
        assert job.trail.attempts[-1] == Attempt(7, NOW_MS, NOW_MS, "host:1", "E: x", "tb")

    def test_what_a_note_does_not_say_stays(self) -> None:
        noted = replace(STARTED, trail=NOTED)

        silent = transition.note(noted, progress=None, text="not heard", checkpoint_json=None, now_ms=NOW_MS)
        further = transition.note(noted, progress=0.75, text="", checkpoint_json=None, now_ms=NOW_MS)
        saved = transition.note(noted, progress=None, text="", checkpoint_json=b"8", now_ms=NOW_MS)

        assert changes(noted, silent) == {"updated_at_ms": NOW_MS}
        assert further.trail == replace(NOTED, progress=0.75, note="")
        assert (saved.trail, saved.checkpoint) == (replace(NOTED, checkpoint_json=b"8"), 8)

    def test_a_replay_keeps_attempts_and_checkpoint(self) -> None:
        replayed = transition.replay(replace(BURIED, trail=NOTED), now_ms=NOW_MS)

        assert replayed.trail == replace(NOTED, progress=None, note="", replayed_at_ms=NOW_MS)


class TestExpire:
    def test_expire(self) -> None:
        waiting = replace(WAITING, timeouts=Timeouts(schedule_ms=1_500))

        assert waiting.expires_at_ms == CREATED_MS + 1_500
        assert changes(waiting, transition.expire(waiting, now_ms=NOW_MS)) == {
            "status": DEAD,
            "death_reason": DeathReason.EXPIRED,
            "error": "not started within 1500 ms of being due",
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    def test_a_job_without_a_schedule_timeout_never_does(self) -> None:
        assert replace(WAITING, timeouts=Timeouts(execution_ms=1)).expires_at_ms is None


class TestLapse:
    def test_a_crash_is_counted(self) -> None:
        lapsed = transition.lapse(STARTED, max_crashes=2, now_ms=NOW_MS)

        assert changes(STARTED, lapsed) == {
            "status": PENDING,
            "lease": None,
            "crashes": 1,
            "trail": Trail(attempts=(LOST,)),
            "updated_at_ms": NOW_MS,
            "run_after_ms": NOW_MS,
        }

    def test_the_last_crash_is_a_death(self) -> None:
        dead = transition.lapse(replace(STARTED, crashes=1), max_crashes=2, now_ms=NOW_MS)

        assert changes(STARTED, dead) == {
            "status": DEAD,
            "lease": None,
            "crashes": 2,
            "death_reason": DeathReason.WORKER_LOST,
            "error": "worker lost: the lease ran out 2 times, last with host:1",
            "trail": Trail(attempts=(LOST,)),
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    @pytest.mark.parametrize("max_crashes", [1, 2])
    def test_a_job_to_be_cancelled_is_cancelled(self, max_crashes: int) -> None:
        wanted = replace(STARTED, is_cancel_requested=True)

        cancelled = transition.lapse(wanted, max_crashes=max_crashes, now_ms=NOW_MS)

        assert changes(wanted, cancelled) == {
            "status": CANCELLED,
            "lease": None,
            "crashes": 1,
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    def test_the_lost_holder_has_settled_nothing(self) -> None:
        settled_before = replace(STARTED, settled_nonce="nonce-0")

        for max_crashes in (1, 2):
            lapsed = transition.lapse(settled_before, max_crashes=max_crashes, now_ms=NOW_MS)
            assert lapsed.settled_nonce != LEASE.nonce


class TestCancel:
    def test_a_waiting_job_is_cancelled(self) -> None:
        cancelled = transition.request_cancel(WAITING, now_ms=NOW_MS)

        assert changes(WAITING, cancelled) == {
            "status": CANCELLED,
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }

    def test_a_running_job_is_marked_once(self) -> None:
        marked = transition.request_cancel(STARTED, now_ms=NOW_MS)
        again = transition.request_cancel(marked, now_ms=NOW_MS + 1)

        assert changes(STARTED, marked) == {"is_cancel_requested": True, "updated_at_ms": NOW_MS}
        assert again == marked

    @pytest.mark.parametrize("status", [status for status in Status if status in FINAL])
    def test_an_ended_job_is_left_alone(self, status: Status) -> None:
        assert transition.request_cancel(IN_STATUS[status], now_ms=NOW_MS) == IN_STATUS[status]

    def test_the_holder_ends_it(self) -> None:
        cancelled = transition.cancel(STARTED, now_ms=NOW_MS)

        assert changes(STARTED, cancelled) == {
            "status": CANCELLED,
            "lease": None,
            "settled_nonce": "nonce-1",
            "updated_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
        }


class TestReplay:
    def test_a_dead_job_comes_back_with_fresh_counts(self) -> None:
        replayed = transition.replay(BURIED, now_ms=NOW_MS)

        assert replayed.status is PENDING
        assert (replayed.retry_count, replayed.crashes, replayed.releases, replayed.replays) == (0, 0, 0, 1)
        assert (replayed.error, replayed.death_reason) == (None, None)
        assert (replayed.started_at_ms, replayed.finished_at_ms, replayed.unhandled_since_ms) == (None, None, None)
        assert (replayed.run_after_ms, replayed.updated_at_ms) == (NOW_MS, NOW_MS)

    def test_what_the_job_is_stays(self) -> None:
        replayed = transition.replay(BURIED, now_ms=NOW_MS)

        for name in ("id", "type", "queue", "payload_json", "priority", "rank", "max_retries", "created_at_ms"):
            assert getattr(replayed, name) == getattr(BURIED, name)

    def test_a_wish_to_cancel_the_former_life_is_forgotten(self) -> None:
        assert not transition.replay(replace(BURIED, is_cancel_requested=True), now_ms=NOW_MS).is_cancel_requested


class TestJob:
    def test_the_payload_is_decoded(self) -> None:
        assert WAITING.payload == {"to": "a@b.c"}

    def test_a_payload_that_python_cannot_hold_is_refused_at_access(self) -> None:
        with pytest.raises(PayloadDecodeError):
            _ = replace(WAITING, payload_json=b"1" * 10_000).payload

    def test_a_held_lease_is_given_out(self) -> None:
        assert held_lease(STARTED) == LEASE
        with pytest.raises(IllegalTransitionError):
            held_lease(WAITING)

    def test_a_job_is_not_changed_in_place(self) -> None:
        with pytest.raises(AttributeError):
            WAITING.status = DONE  # type: ignore[misc]  # that it is forbidden is the point
