"""A job, its states, and the one function for each way from a state to the next.

Used by every backend and by the engine. Pure: a transition takes a job and an instant and returns the next snapshot.
Invariant: no function here makes a step that `TRANSITIONS` does not list.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, NewType

import msgspec
from msgspec.structs import replace

from gotaskq.errors import IllegalTransitionError
from gotaskq.payload import decode_payload

JobId = NewType("JobId", int)

MIN_PRIORITY: Final = 0
MAX_PRIORITY: Final = 10
DEFAULT_QUEUE: Final = "default"
LAST_CHANCES_APART_MS: Final = 500  # longer than most jobs take
LAST_CHANCES_SPREAD_MS: Final = 30_000  # nobody waits longer than a lease for the others


class Status(Enum):
    """Where a job is in its life; the values are the words on the wire.

    FAILED is passed through and never rested in: a failed attempt leaves the job PENDING again, or DEAD.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"

    __hash__ = object.__hash__  # members are singletons; Enum's own hashes the name, in Python, at every look-up


PENDING, RUNNING, DONE = Status.PENDING, Status.RUNNING, Status.DONE
DEAD, CANCELLED = Status.DEAD, Status.CANCELLED

FINAL: Final = frozenset({DONE, DEAD, CANCELLED})

# What may follow what. RUNNING → PENDING is a retry, a release or a lapsed lease; DEAD → PENDING is a replay.
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    PENDING: frozenset({RUNNING, CANCELLED}),
    RUNNING: frozenset({PENDING, DONE, DEAD, CANCELLED}),
    DONE: frozenset(),
    Status.FAILED: frozenset(),
    DEAD: frozenset({PENDING}),
    CANCELLED: frozenset(),
}


class DeathReason(Enum):
    """Why a job was given up on."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    NO_RETRY = "no_retry"
    NO_HANDLER = "no_handler"
    WORKER_LOST = "worker_lost"


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to run and settle one job: its id and the random nonce of the reservation that took it."""

    job_id: JobId
    nonce: str


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One unit of work: a snapshot; every change makes a new one.

    Instants are milliseconds since 1970 (UTC). `attempt` counts starts from 1, `retry_count` only the failures that
    were retried, `crashes` the workers that vanished with the job, `replays` how often it came back from the dead.
    """

    id: JobId
    type: str
    queue: str
    payload_json: bytes
    status: Status = PENDING
    priority: int
    delay_ms: int
    max_retries: int
    retry_count: int = 0
    attempt: int = 0
    crashes: int = 0
    releases: int = 0
    replays: int = 0
    rank: int
    created_at_ms: int
    updated_at_ms: int
    run_after_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    unhandled_since_ms: int | None = None
    error: str | None = None
    death_reason: DeathReason | None = None
    enqueue_nonce: str
    lease: Lease | None = None
    settled_nonce: str | None = None
    worker: str | None = None
    is_cancel_requested: bool = False

    @property
    def payload(self) -> Any:
        """The payload as Python values (any JSON value: hence Any), decoded anew at each access.

        Raises PayloadDecodeError for JSON that Python cannot hold, such as an integer of ten thousand digits.
        """
        return decode_payload(self.payload_json)


def held_lease(job: Job) -> Lease:
    """Return the lease of a job that runs; raises IllegalTransitionError when nobody holds one."""
    if job.lease is None:
        raise IllegalTransitionError(f"job {job.id} is {job.status.value}, and nobody holds its lease")
    return job.lease


def start(job: Job, *, lease: Lease, worker: str, now_ms: int) -> Job:
    """Begin an attempt under a lease (T2)."""
    if job.status is not PENDING:
        raise _illegal(job, RUNNING)
    return replace(
        job,
        status=RUNNING,
        attempt=job.attempt + 1,
        lease=lease,
        worker=worker,
        started_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def complete(job: Job, *, now_ms: int) -> Job:
    """End an attempt well (T4)."""
    if job.status is not RUNNING or job.lease is None:
        raise _illegal(job, DONE)
    return replace(
        job, status=DONE, lease=None, settled_nonce=job.lease.nonce, updated_at_ms=now_ms, finished_at_ms=now_ms
    )


def reschedule(job: Job, *, delay_ms: int, error: str, now_ms: int) -> Job:
    """End an attempt badly, with a retry ahead (T5)."""
    _require(job, RUNNING, PENDING)
    return replace(
        job,
        status=PENDING,
        lease=None,
        settled_nonce=held_lease(job).nonce,
        retry_count=job.retry_count + 1,
        error=error,
        unhandled_since_ms=None,
        updated_at_ms=now_ms,
        run_after_ms=now_ms + delay_ms,
    )


def dead_letter(job: Job, *, reason: DeathReason, error: str, now_ms: int) -> Job:
    """Give the job up (T6)."""
    _require(job, RUNNING, DEAD)
    return replace(
        job,
        status=DEAD,
        lease=None,
        settled_nonce=held_lease(job).nonce,
        death_reason=reason,
        error=error,
        updated_at_ms=now_ms,
        finished_at_ms=now_ms,
    )


def release(job: Job, *, delay_ms: int, unhandled: bool, now_ms: int) -> Job:
    """Give the job back; the attempt does not count (T7)."""
    _require(job, RUNNING, PENDING)
    return replace(
        job,
        status=PENDING,
        lease=None,
        settled_nonce=held_lease(job).nonce,
        attempt=job.attempt - 1,
        releases=job.releases + 1,
        unhandled_since_ms=_unhandled_since(job, now_ms=now_ms) if unhandled else None,
        updated_at_ms=now_ms,
        run_after_ms=now_ms + delay_ms,
    )


def lapse(job: Job, *, max_crashes: int, now_ms: int, delay_ms: int = 0) -> Job:
    """Take the job from a holder that let its lease run out (T8, T9); where it runs again, it is due in `delay_ms`."""
    _require(job, RUNNING, PENDING)
    crashes = job.crashes + 1
    if job.is_cancel_requested:
        return replace(cancel(job, now_ms=now_ms), crashes=crashes, settled_nonce=job.settled_nonce)
    if crashes < max_crashes:
        return replace(
            job,
            status=PENDING,
            lease=None,
            crashes=crashes,
            updated_at_ms=now_ms,
            run_after_ms=now_ms + delay_ms,
        )
    return replace(
        job,
        status=DEAD,
        lease=None,
        crashes=crashes,
        death_reason=DeathReason.WORKER_LOST,
        error=f"worker lost: the lease ran out {crashes} times, last with {job.worker}",
        updated_at_ms=now_ms,
        finished_at_ms=now_ms,
    )


def lapse_together(jobs: Iterable[Job], *, max_crashes: int, now_ms: int) -> list[Job]:
    """Take jobs back whose leases ran out; those whose next crash would be the last come back one after the other.

    One of them may be what ended the worker. Apart from each other, it ends the next one alone.
    """
    lapsed: list[Job] = []
    last_chances = 0
    for job in jobs:
        delay_ms = 0
        if job.crashes + 2 == max_crashes and not job.is_cancel_requested:
            delay_ms = min(last_chances * LAST_CHANCES_APART_MS, LAST_CHANCES_SPREAD_MS)
            last_chances += 1
        lapsed.append(lapse(job, max_crashes=max_crashes, now_ms=now_ms, delay_ms=delay_ms))
    return lapsed


def request_cancel(job: Job, *, now_ms: int) -> Job:
    """Cancel a job that waits, at once (T10); ask the holder of one that runs (T11); leave one that has ended."""
    if job.status is PENDING:
        return cancel(job, now_ms=now_ms)
    if job.status is RUNNING and not job.is_cancel_requested:
        return replace(job, is_cancel_requested=True, updated_at_ms=now_ms)
    return job


def cancel(job: Job, *, now_ms: int) -> Job:
    """End a job because somebody asked for it (T10, T12)."""
    if CANCELLED not in TRANSITIONS[job.status]:
        raise _illegal(job, CANCELLED)
    return replace(
        job,
        status=CANCELLED,
        settled_nonce=job.lease.nonce if job.lease else job.settled_nonce,
        lease=None,
        updated_at_ms=now_ms,
        finished_at_ms=now_ms,
    )


def replay(job: Job, *, now_ms: int) -> Job:
    """Bring a dead job back with a fresh count (T13)."""
    _require(job, DEAD, PENDING)
    return replace(
        job,
        status=PENDING,
        retry_count=0,
        crashes=0,
        releases=0,
        replays=job.replays + 1,
        is_cancel_requested=False,
        unhandled_since_ms=None,
        error=None,
        death_reason=None,
        updated_at_ms=now_ms,
        run_after_ms=now_ms,
        started_at_ms=None,
        finished_at_ms=None,
    )


def _unhandled_since(job: Job, *, now_ms: int) -> int:
    return now_ms if job.unhandled_since_ms is None else job.unhandled_since_ms


def _require(job: Job, status: Status, after: Status) -> None:
    if job.status is not status:
        raise _illegal(job, after)


def _illegal(job: Job, after: Status) -> IllegalTransitionError:
    return IllegalTransitionError(f"job {job.id} is {job.status.value} and cannot become {after.value}")
