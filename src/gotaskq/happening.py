"""A happening: one event of one job as those hear of it who watch from outside, small and without the payload.

Made from the events of the bus; read by event streams, and by other processes where the store is shared.
Invariant: what one process has written another of a later version can read.
"""

from typing import Any, Final

import msgspec

from gotaskq.events import (
    Event,
    JobCancelled,
    JobDied,
    JobDone,
    JobEnqueued,
    JobProgressed,
    JobReleased,
    JobReplayed,
    JobRetryScheduled,
    JobSnoozed,
    JobStarted,
    LeaseLapsed,
)
from gotaskq.job import JobId, Status

# An event carries its job as it was when the engine last saw it, so what it became is said here.
NAMES: Final[dict[type[Event], tuple[str, Status]]] = {
    JobEnqueued: ("job.enqueued", Status.PENDING),
    JobStarted: ("job.started", Status.RUNNING),
    JobProgressed: ("job.progressed", Status.RUNNING),
    JobDone: ("job.done", Status.DONE),
    JobRetryScheduled: ("job.retrying", Status.PENDING),
    JobDied: ("job.dead", Status.DEAD),
    JobSnoozed: ("job.snoozed", Status.PENDING),
    JobReleased: ("job.released", Status.PENDING),
    JobCancelled: ("job.cancelled", Status.CANCELLED),
    JobReplayed: ("job.replayed", Status.PENDING),
    LeaseLapsed: ("job.lapsed", Status.PENDING),
}


class Happening(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One event of one job; it keeps no job from being forgotten. New members go last."""

    name: str
    job_id: JobId
    type: str
    queue: str
    status: Status
    attempt: int
    error: str | None = None


def happening_of(event: Any) -> Happening:
    """Return what is told of an event, which is of one of the types in NAMES."""
    name, status = NAMES[type(event)]
    job = event.job
    return Happening(name, job.id, job.type, job.queue, status, job.attempt, getattr(event, "error", None))
