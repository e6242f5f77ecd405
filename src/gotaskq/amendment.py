"""What may change of a job while it waits or as it comes back from the dead, and the one function for it (T16).

Made by the engine, which checks each value as at enqueue; carried out by backends.
Invariant: what is changed is PENDING then.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from gotaskq.errors import IllegalTransitionError
from gotaskq.job import DEAD, NO_TIMEOUTS, PENDING, Job, Timeouts, replay


class Amendment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change; a member that is None leaves what is there.

    `rank` goes with `priority`: who names one names the other. Of the timeouts 0 takes the limit away. With `replays`
    it is for a dead job that has come back so many times, and is replayed in the same step: the change was made for
    what it died with, and that is no other while the count is the same. It is due then, or as `delay_ms` says.
    """

    delay_ms: int | None = None  # due so long from now, whatever it was before
    priority: int | None = None
    rank: int | None = None
    max_retries: int | None = None
    execution_ms: int | None = None
    schedule_ms: int | None = None
    payload_json: bytes | None = None
    replays: int | None = None


DUE_NOW: Final = Amendment(delay_ms=0)


class Amended(msgspec.Struct, frozen=True, gc=False):
    """What a store says of an amendment: the job as it is then, and whether this call changed it.

    A job that waits is always changed; one that is not changed has a status that says why. Where a dead one was meant,
    and its count is still the same, another job has its unique key. A call that is repeated after its reply was lost is
    told that it changed the job, though that may run by now.
    """

    job: Job
    is_amended: bool


def may_amend(job: Job, amendment: Amendment) -> bool:
    """Say whether a job is one that the amendment is for; whether its unique key is free is another question."""
    if amendment.replays is None:
        return job.status is PENDING
    return job.status is DEAD and job.replays == amendment.replays


def amend(job: Job, amendment: Amendment, *, now_ms: int) -> Job:
    """Change a job that the amendment is for; raises IllegalTransitionError for another."""
    if not may_amend(job, amendment):
        raise IllegalTransitionError(f"job {job.id} is {job.status.value} and no job that this amendment is for")
    if job.status is DEAD:
        job = replay(job, now_ms=now_ms)
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
