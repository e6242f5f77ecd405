"""What happened, for those who watch: metrics, logs, a dashboard.

Published by admission, settler and maintenance, and only after the backend confirmed it.
Each event of a job carries it as it was when the engine last saw it.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from gotaskq.job import DeathReason, Job


class JobEnqueued(msgspec.Struct, frozen=True, gc=False):
    """A job was accepted and stored."""

    job: Job


class JobStarted(msgspec.Struct, frozen=True, gc=False):
    """An attempt began."""

    job: Job


class JobDone(msgspec.Struct, frozen=True, gc=False):
    """A job is DONE; its last attempt took `duration_s`."""

    job: Job
    duration_s: float


class JobRetryScheduled(msgspec.Struct, frozen=True, gc=False):
    """An attempt failed; the next is due in `delay_ms`."""

    job: Job
    error: str
    delay_ms: int
    duration_s: float


class JobDied(msgspec.Struct, frozen=True, gc=False):
    """A job is DEAD; `duration_s` is None when no attempt of ours ended with it (a lapsed lease, no handler)."""

    job: Job
    reason: DeathReason
    error: str
    duration_s: float | None


class JobSnoozed(msgspec.Struct, frozen=True, gc=False):
    """A handler asked to be called again in `delay_ms`; no retry was spent."""

    job: Job
    delay_ms: int


class JobProgressed(msgspec.Struct, frozen=True, gc=False):
    """A running attempt said how far it is, from 0 to 1."""

    job: Job
    progress: float
    note: str


class JobReleased(msgspec.Struct, frozen=True, gc=False):
    """A job was given back unharmed; `is_unhandled` says that nobody here has a handler for its type."""

    job: Job
    is_unhandled: bool


class JobCancelled(msgspec.Struct, frozen=True, gc=False):
    """A job is CANCELLED."""

    job: Job


class JobAmended(msgspec.Struct, frozen=True, gc=False):
    """A job that waits was changed: its instant, its priority, its payload, or its limits."""

    job: Job


class JobReplayed(msgspec.Struct, frozen=True, gc=False):
    """A dead job is PENDING again."""

    job: Job


class LeaseLapsed(msgspec.Struct, frozen=True, gc=False):
    """A worker vanished; the job it held is PENDING again."""

    job: Job


class LeaseLost(msgspec.Struct, frozen=True, gc=False):
    """We came too late: the job was taken from us, and what its attempt brought is discarded."""

    job: Job


class QueueCreated(msgspec.Struct, frozen=True, gc=False):
    """A queue was registered."""

    queue: str


class LoopStalled(msgspec.Struct, frozen=True, gc=False):
    """The event loop of a worker stood still for `stalled_s` seconds, and goes on."""

    stalled_s: float


class JobsLost(msgspec.Struct, frozen=True, gc=False):
    """The store has forgotten all jobs of a partition: it is not the one this process knew."""

    partition: int


Event: TypeAlias = (
    JobEnqueued
    | JobStarted
    | JobDone
    | JobRetryScheduled
    | JobDied
    | JobSnoozed
    | JobProgressed
    | JobReleased
    | JobCancelled
    | JobAmended
    | JobReplayed
    | JobsLost
    | LeaseLapsed
    | LeaseLost
    | LoopStalled
    | QueueCreated
)

Observer: TypeAlias = Callable[[Event], None]
