"""Turns how an attempt ended into what becomes of the job.

Pure: no clock, no I/O (but a line in the log where a policy fails). The settler carries the decision out.
Invariant: every Outcome maps to exactly one Settlement, and no policy can retry a job beyond its max_retries.
"""

import logging
from random import Random
from typing import Final, assert_never

from gotaskq import control
from gotaskq.job import DeathReason, Job, Lease, held_lease, too_late
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
from gotaskq.policies.retry import ExponentialBackoff, GiveUp, Retry, RetryIn, RetryPolicy

# A rolling deploy brings the handler within minutes; a type nobody knows after that is an operator's matter.
UNHANDLED_GRACE_MS: Final = 600_000
UNHANDLED_FIRST_DELAY_MS: Final = 5_000
UNHANDLED_MAX_DELAY_MS: Final = 60_000

FALLBACK: Final = ExponentialBackoff()

logger = logging.getLogger(__name__)


def decide(job: Job, outcome: Outcome, retry: RetryPolicy, *, rng: Random) -> Settlement:
    """Say what becomes of a job after one attempt. Pure: same arguments, same answer."""
    lease = job.lease or held_lease(job)
    match outcome:
        case Succeeded(result_json=result_json):
            return Complete(lease, result_json)
        case Interrupted():  # we stopped it, it did not fail: the attempt does not count
            return Release(lease)
        case Cancelled():
            return Cancel(lease)
        case Unhandled():
            return _wait_for_a_handler(job, lease)
        case Failed(exception=exception):
            return _retry_or_give_up(job, lease, outcome, _ask(retry, job, exception, rng=rng))
        case Refused(reason, error):
            return DeadLetter(lease, reason, error)
        case Snoozed(delay_ms):
            return Release(lease, delay_ms, is_snoozed=True)
        case Expired():
            return DeadLetter(lease, DeathReason.EXPIRED, too_late(job.timeouts.schedule_ms))
        case never:
            assert_never(never)


def _ask(retry: RetryPolicy, job: Job, exception: BaseException, *, rng: Random) -> Retry:
    """Ask the policy, unless the handler said when; one that raises must cost neither the job nor the slot."""
    if isinstance(exception, control.Retry) and exception.delay_s is not None:
        return RetryIn(round(exception.delay_s * 1000))
    try:
        return retry.decide(job, exception, rng=rng)
    except Exception:
        # Ours stands in for it.
        logger.exception("retry policy failed", extra={"policy": repr(retry), "type": job.type})
        return FALLBACK.decide(job, exception, rng=rng)


def _retry_or_give_up(job: Job, lease: Lease, failed: Failed, retry: RetryIn | GiveUp) -> Settlement:
    match retry:
        case GiveUp(reason):
            return DeadLetter(lease, reason, failed.error, failed.traceback)
        case RetryIn() if job.retry_count >= job.max_retries:
            return DeadLetter(lease, DeathReason.RETRIES_EXHAUSTED, failed.error, failed.traceback)
        case RetryIn(delay_ms):
            return Reschedule(lease, delay_ms, failed.error, failed.traceback)
        case never:
            assert_never(never)


def _wait_for_a_handler(job: Job, lease: Lease) -> Settlement:
    """Release with a delay that doubles from 5 s to 60 s; after ten minutes without a handler anywhere, give up."""
    if job.unhandled_since_ms is None or job.started_at_ms is None:
        return Release(lease, UNHANDLED_FIRST_DELAY_MS, is_unhandled=True)
    waited_ms = job.started_at_ms - job.unhandled_since_ms
    if waited_ms >= UNHANDLED_GRACE_MS:
        return DeadLetter(lease, DeathReason.NO_HANDLER, f"no handler for job type {job.type!r}")
    # Waiting as long again as was waited so far is what doubling from the first delay comes to.
    delay_ms = min(max(waited_ms + UNHANDLED_FIRST_DELAY_MS, UNHANDLED_FIRST_DELAY_MS), UNHANDLED_MAX_DELAY_MS)
    return Release(lease, delay_ms, is_unhandled=True)
