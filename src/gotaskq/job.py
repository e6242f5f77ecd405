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
from gotaskq.headers import decode_headers
from gotaskq.keys import NO_KEYS, Keys
from gotaskq.payload import decode_payload
from gotaskq.trail import NO_TRAIL, Attempt, Trail, brought_back, with_attempt, without_progress

JobId = NewType("JobId", int)

MIN_PRIORITY: Final = 0
MAX_PRIORITY: Final = 10
DEFAULT_QUEUE: Final = "default"
LAST_CHANCES_APART_MS: Final = 500  # longer than most jobs take
LAST_CHANCES_SPREAD_MS: Final = 30_000  # nobody waits longer than a lease for the others
RECORD_VERSION: Final = 1  # of what a store keeps of a job; a worker leaves newer ones to newer workers


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

# What may follow what. RUNNING → PENDING is a retry, a release or a lapsed lease; DEAD → PENDING is a replay; PENDING →
# DEAD is a wait that was too long.
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    PENDING: frozenset({RUNNING, CANCELLED, DEAD}),
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
    EXPIRED = "expired"  # it waited longer than its schedule timeout
    CANCELLED = "cancelled"  # its handler raised Cancel
    DISCARDED = "discarded"  # its handler raised Discard


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """How long a job may run and wait, in milliseconds; 0 is no limit of its own."""

    execution_ms: int = 0  # one attempt, from its start
    schedule_ms: int = 0  # from when it is due until it starts


NO_TIMEOUTS: Final = Timeouts()


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
    timeouts: Timeouts = NO_TIMEOUTS
    headers_json: bytes | None = None
    keys: Keys = NO_KEYS
    trail: Trail = NO_TRAIL
    result_json: bytes | None = None
    version: int = RECORD_VERSION

    @property
    def payload(self) -> Any:
        """The payload as Python values (any JSON value: hence Any), decoded anew at each access.

        Raises PayloadDecodeError for JSON that Python cannot hold, such as an integer of ten thousand digits.
        """
        return decode_payload(self.payload_json)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that came with the job, the same for all its attempts; decoded anew at each access."""
        return {} if self.headers_json is None else decode_headers(self.headers_json)

    @property
    def result(self) -> Any:
        """What the handler returned, as JSON has it; None when it returned nothing or the job is not DONE."""
        return None if self.result_json is None else decode_payload(self.result_json)

    @property
    def checkpoint(self) -> Any:
        """The state an earlier attempt left with `ctx.checkpoint`, as JSON has it; None when none did."""
        saved = self.trail.checkpoint_json
        return None if saved is None else decode_payload(saved)

    @property
    def unique_key(self) -> str:
        """The key of which one job at most waits or runs; empty when it has none."""
        return self.keys.unique

    @property
    def was_there(self) -> bool:
        """Whether the enqueue that returned this found it by a key, and stored nothing new."""
        return self.keys.found_by is not None

    @property
    def expires_at_ms(self) -> int | None:
        """From when on it is too late for a waiting job to start; None when it is never."""
        return self.run_after_ms + self.timeouts.schedule_ms if self.timeouts.schedule_ms else None


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


def complete(job: Job, *, now_ms: int, result_json: bytes | None = None) -> Job:
    """End an attempt well (T4)."""
    if job.status is not RUNNING or job.lease is None:
        raise _illegal(job, DONE)
    return replace(
        job,
        status=DONE,
        lease=None,
        settled_nonce=job.lease.nonce,
        result_json=result_json,
        updated_at_ms=now_ms,
        finished_at_ms=now_ms,
    )


def reschedule(job: Job, *, delay_ms: int, error: str, traceback: str = "", now_ms: int) -> Job:
    """End an attempt badly, with a retry ahead (T5)."""
    _require(job, RUNNING, PENDING)
    return replace(
        job,
        status=PENDING,
        lease=None,
        settled_nonce=held_lease(job).nonce,
        retry_count=job.retry_count + 1,
        error=error,
        trail=without_progress(_with_failure(job, error, traceback, now_ms=now_ms)),
        unhandled_since_ms=None,
        updated_at_ms=now_ms,
        run_after_ms=now_ms + delay_ms,
    )


def dead_letter(job: Job, *, reason: DeathReason, error: str, traceback: str = "", now_ms: int) -> Job:
    """Give the job up (T6); one that expired was taken only to find that it is too late, and that is no attempt."""
    _require(job, RUNNING, DEAD)
    has_run = reason is not DeathReason.EXPIRED
    return replace(
        job,
        status=DEAD,
        lease=None,
        settled_nonce=held_lease(job).nonce,
        attempt=job.attempt if has_run else job.attempt - 1,
        death_reason=reason,
        error=error,
        trail=_with_failure(job, error, traceback, now_ms=now_ms) if has_run else job.trail,
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
        trail=without_progress(job.trail),
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
    trail = _with_failure(job, "worker lost", "", now_ms=now_ms)
    if crashes < max_crashes:
        return replace(
            job,
            status=PENDING,
            lease=None,
            crashes=crashes,
            trail=without_progress(trail),
            updated_at_ms=now_ms,
            run_after_ms=now_ms + delay_ms,
        )
    return replace(
        job,
        status=DEAD,
        lease=None,
        crashes=crashes,
        trail=trail,
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


def expire(job: Job, *, now_ms: int) -> Job:
    """Give up a job that waited for longer than its schedule timeout."""
    _require(job, PENDING, DEAD)
    return replace(
        job,
        status=DEAD,
        death_reason=DeathReason.EXPIRED,
        error=too_late(job.timeouts.schedule_ms),
        updated_at_ms=now_ms,
        finished_at_ms=now_ms,
    )


def too_late(schedule_ms: int) -> str:
    """Return the error of a job that waited for too long."""
    return f"not started within {schedule_ms} ms of being due"


def note(job: Job, *, progress: float | None, text: str, checkpoint_json: bytes | None, now_ms: int) -> Job:
    """Keep what a running attempt says of itself; what is None stays as it was."""
    _require(job, RUNNING, RUNNING)
    trail = job.trail
    if progress is not None:
        trail = replace(trail, progress=progress, note=text)
    if checkpoint_json is not None:
        trail = replace(trail, checkpoint_json=checkpoint_json)
    return replace(job, trail=trail, updated_at_ms=now_ms)


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
        trail=brought_back(job.trail, now_ms=now_ms),
        updated_at_ms=now_ms,
        run_after_ms=now_ms,
        started_at_ms=None,
        finished_at_ms=None,
    )


def _with_failure(job: Job, error: str, traceback: str, *, now_ms: int) -> Trail:
    started_at_ms = now_ms if job.started_at_ms is None else job.started_at_ms
    return with_attempt(job.trail, Attempt(job.attempt, started_at_ms, now_ms, job.worker or "", error, traceback))


def _unhandled_since(job: Job, *, now_ms: int) -> int:
    return now_ms if job.unhandled_since_ms is None else job.unhandled_since_ms


def _require(job: Job, status: Status, after: Status) -> None:
    if job.status is not status:
        raise _illegal(job, after)


def _illegal(job: Job, after: Status) -> IllegalTransitionError:
    return IllegalTransitionError(f"job {job.id} is {job.status.value} and cannot become {after.value}")
