"""The decision: every outcome becomes exactly one settlement, within the job's limits."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.jobs import LEASE, NOW_MS, running

from gotaskq import control
from gotaskq.engine.decision import UNHANDLED_GRACE_MS, decide
from gotaskq.errors import IllegalTransitionError
from gotaskq.job import DeathReason, Job, Timeouts
from gotaskq.outcome import (
    Cancel,
    Cancelled,
    Complete,
    DeadLetter,
    Expired,
    Failed,
    Interrupted,
    Outcome,
    Refused,
    Release,
    Reschedule,
    Settlement,
    Snoozed,
    Succeeded,
    Unhandled,
)
from gotaskq.policies.retry import ExponentialBackoff, FixedDelay, NoRetry, Retry, RetryPolicy

FAILED = Failed("ValueError: no luck", ValueError("no luck"))


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [
        (Succeeded(), Complete(LEASE)),
        (Interrupted(), Release(LEASE)),
        (Cancelled(), Cancel(LEASE)),
        (Unhandled(), Release(LEASE, 5_000, is_unhandled=True)),
        (FAILED, Reschedule(LEASE, 70, "ValueError: no luck")),
        (Succeeded(b"250"), Complete(LEASE, b"250")),
        (
            Failed("ValueError: no luck", ValueError("no luck"), "the stack"),
            Reschedule(LEASE, 70, "ValueError: no luck", "the stack"),
        ),
        (Snoozed(30_000), Release(LEASE, 30_000, is_snoozed=True)),
        (
            Refused(DeathReason.CANCELLED, "Cancel: no need"),
            DeadLetter(LEASE, DeathReason.CANCELLED, "Cancel: no need"),
        ),
        (
            Refused(DeathReason.DISCARDED, "Discard: no use"),
            DeadLetter(LEASE, DeathReason.DISCARDED, "Discard: no use"),
        ),
    ],
)
def test_each_outcome_has_its_settlement(rng: Random, outcome: Outcome, settlement: Settlement) -> None:
    decided = decide(running(), outcome, FixedDelay(70), rng=rng)

    assert decided == settlement


@pytest.mark.parametrize(("retry_count", "max_retries"), [(0, 0), (5, 5), (7, 5)])
def test_without_retries_left_a_failure_is_the_end(rng: Random, retry_count: int, max_retries: int) -> None:
    job = running(retry_count=retry_count, max_retries=max_retries)

    decided = decide(job, FAILED, FixedDelay(70), rng=rng)

    assert decided == DeadLetter(LEASE, DeathReason.RETRIES_EXHAUSTED, "ValueError: no luck")


def test_a_job_that_came_too_late_is_told_by_how_much_it_could_wait(rng: Random) -> None:
    decided = decide(running(timeouts=Timeouts(schedule_ms=60_000)), Expired(), FixedDelay(70), rng=rng)

    assert decided == DeadLetter(LEASE, DeathReason.EXPIRED, "not started within 60000 ms of being due")


# ---- what a handler wants


def asked(delay_s: float | None) -> Failed:
    """Return how an attempt ends whose handler asks for a retry."""
    return Failed("Retry: busy", control.Retry(delay_s, "busy"))


@pytest.mark.parametrize("retry", [FixedDelay(70), NoRetry()])
@pytest.mark.parametrize(("delay_s", "delay_ms"), [(0, 0), (0.0004, 0), (1.5, 1_500), (86_400, 86_400_000)])
def test_a_handler_that_says_when_overrides_the_policy(
    rng: Random, retry: RetryPolicy, delay_s: float, delay_ms: int
) -> None:
    assert decide(running(), asked(delay_s), retry, rng=rng) == Reschedule(LEASE, delay_ms, "Retry: busy")


def test_a_handler_that_does_not_say_when_leaves_it_to_the_policy(rng: Random) -> None:
    assert decide(running(), asked(None), FixedDelay(70), rng=rng) == Reschedule(LEASE, 70, "Retry: busy")
    assert decide(running(), asked(None), NoRetry(), rng=rng) == DeadLetter(LEASE, DeathReason.NO_RETRY, "Retry: busy")


@pytest.mark.parametrize("delay_s", [None, 0, 30])
def test_a_handler_cannot_ask_for_more_retries_than_there_are(rng: Random, delay_s: float | None) -> None:
    decided = decide(running(retry_count=5, max_retries=5), asked(delay_s), FixedDelay(70), rng=rng)

    assert decided == DeadLetter(LEASE, DeathReason.RETRIES_EXHAUSTED, "Retry: busy")


@pytest.mark.parametrize("outcome", [Snoozed(0), Refused(DeathReason.CANCELLED, "Cancel: no need"), Expired()])
def test_what_is_no_failure_does_not_ask_the_policy(rng: Random, outcome: Outcome) -> None:
    class Strict:
        def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
            raise AssertionError("nobody should ask")

    decided = decide(running(retry_count=5, max_retries=5), outcome, Strict(), rng=rng)

    assert not isinstance(decided, Reschedule)


# ---- the policy


def test_a_policy_may_give_up_early(rng: Random) -> None:
    decided = decide(running(retry_count=0, max_retries=5), FAILED, NoRetry(), rng=rng)

    assert decided == DeadLetter(LEASE, DeathReason.NO_RETRY, "ValueError: no luck")


def test_the_policy_sees_the_job_and_what_was_raised(rng: Random) -> None:
    asked: list[tuple[Job, BaseException]] = []

    class Curious:
        def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
            asked.append((job, error))
            return FixedDelay(1).decide(job, error, rng=rng)

    job = running()
    decide(job, FAILED, Curious(), rng=rng)

    assert asked == [(job, FAILED.exception)]


def test_a_policy_that_raises_is_stood_in_for(rng: Random, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def decide(self, job: Job, error: BaseException, *, rng: Random) -> Retry:
            raise RuntimeError("the policy is broken")

    decided = decide(running(), FAILED, Broken(), rng=rng)

    assert isinstance(decided, Reschedule)
    assert 100 <= decided.delay_ms <= 140
    assert caplog.messages == ["retry policy failed"]


def test_a_job_without_a_lease_cannot_be_decided_on(rng: Random) -> None:
    with pytest.raises(IllegalTransitionError, match="lease"):
        decide(running(lease=None), Succeeded(), NoRetry(), rng=rng)


# ---- nobody to run it


@pytest.mark.parametrize(
    ("waited_ms", "delay_ms"), [(0, 5_000), (5_000, 10_000), (15_000, 20_000), (35_000, 40_000), (75_000, 60_000)]
)
def test_a_job_nobody_can_run_waits_twice_as_long_each_time(rng: Random, waited_ms: int, delay_ms: int) -> None:
    job = running(unhandled_since_ms=NOW_MS, started_at_ms=NOW_MS + waited_ms)

    decided = decide(job, Unhandled(), NoRetry(), rng=rng)

    assert decided == Release(LEASE, delay_ms, is_unhandled=True)


@pytest.mark.parametrize("beyond_ms", [0, 1, 10**9])
def test_a_job_nobody_can_run_is_given_up_after_ten_minutes(rng: Random, beyond_ms: int) -> None:
    job = running(unhandled_since_ms=NOW_MS, started_at_ms=NOW_MS + UNHANDLED_GRACE_MS + beyond_ms)

    decided = decide(job, Unhandled(), NoRetry(), rng=rng)

    assert decided == DeadLetter(LEASE, DeathReason.NO_HANDLER, "no handler for job type 'email'")


def test_a_clock_that_stepped_back_only_makes_it_wait_longer(rng: Random) -> None:
    job = running(unhandled_since_ms=NOW_MS, started_at_ms=NOW_MS - 60_000)

    decided = decide(job, Unhandled(), NoRetry(), rng=rng)

    assert decided == Release(LEASE, 5_000, is_unhandled=True)


# ---- properties


@given(
    retry_count=st.integers(0, 300),
    max_retries=st.integers(0, 100),
    retry=st.sampled_from([ExponentialBackoff(), FixedDelay(0), NoRetry()]),
    seed=st.integers(0, 2**32),
)
def test_no_policy_retries_beyond_the_jobs_limit(
    retry_count: int, max_retries: int, retry: RetryPolicy, seed: int
) -> None:
    job = running(retry_count=retry_count, max_retries=max_retries)

    decided = decide(job, FAILED, retry, rng=Random(seed))

    assert isinstance(decided, Reschedule | DeadLetter)
    if isinstance(decided, Reschedule):
        assert retry_count < max_retries
        assert 0 <= decided.delay_ms <= 7_000


@given(
    outcome=st.sampled_from([Succeeded(), Interrupted(), Cancelled(), Unhandled(), Snoozed(1), Expired(), FAILED]),
    seed=st.integers(0, 99),
)
def test_the_same_arguments_give_the_same_answer(outcome: Outcome, seed: int) -> None:
    once = decide(running(), outcome, ExponentialBackoff(), rng=Random(seed))
    again = decide(running(), outcome, ExponentialBackoff(), rng=Random(seed))

    assert once == again
