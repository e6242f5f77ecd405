"""What may change of a job while it waits, and the one function that changes it (T16).

Made by the engine, which checks each value as at enqueue; carried out by backends.
Invariant: only a PENDING job changes, and it stays PENDING.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from gotaskq.errors import IllegalTransitionError
from gotaskq.job import NO_TIMEOUTS, PENDING, Job, Timeouts


class Amendment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change; a member that is None leaves what is there.

    `rank` goes with `priority`: who names one names the other. Of the timeouts 0 takes the limit away.
    """

    delay_ms: int | None = None  # due so long from now, whatever it was before
    priority: int | None = None
    rank: int | None = None
    max_retries: int | None = None
    execution_ms: int | None = None
    schedule_ms: int | None = None
    payload_json: bytes | None = None


DUE_NOW: Final = Amendment(delay_ms=0)


class Amended(msgspec.Struct, frozen=True, gc=False):
    """What a store says of an amendment: the job as it is then, and whether this call changed it.

    A job that waits is always changed; one that is not changed has a status that says why. A call that is repeated
    after its reply was lost is told that it changed the job, though that may run by now.
    """

    job: Job
    is_amended: bool


def amend(job: Job, amendment: Amendment, *, now_ms: int) -> Job:
    """Change a job that waits; raises IllegalTransitionError for another."""
    if job.status is not PENDING:
        raise IllegalTransitionError(f"job {job.id} is {job.status.value}; only one that waits can be changed")
    return replace(
        job,
        priority=_or(amendment.priority, job.priority),
        rank=_or(amendment.rank, job.rank),
        max_retries=_or(amendment.max_retries, job.max_retries),
        timeouts=_timeouts(job.timeouts, amendment),
        payload_json=job.payload_json if amendment.payload_json is None else amendment.payload_json,
        run_after_ms=job.run_after_ms if amendment.delay_ms is None else now_ms + amendment.delay_ms,
        updated_at_ms=now_ms,
    )


def _or(changed: int | None, before: int) -> int:
    return before if changed is None else changed


def _timeouts(before: Timeouts, amendment: Amendment) -> Timeouts:
    execution_ms = _or(amendment.execution_ms, before.execution_ms)
    schedule_ms = _or(amendment.schedule_ms, before.schedule_ms)
    return Timeouts(execution_ms, schedule_ms) if execution_ms or schedule_ms else NO_TIMEOUTS
