"""Why a job has not run, or has: reasons that a program can read, the most decisive first.

`TaskQ.explain`. Workers of other processes are known by what they say of themselves (`presence`); where nobody knows of
them, it says so. Invariant: looking changes nothing, and costs the same however many jobs there are.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final, Literal, TypeAlias

import msgspec

from gotaskq.backend import Backend, Standing, TellsStanding
from gotaskq.engine.worker import Worker
from gotaskq.job import DEAD, PENDING, RUNNING, Job, Status
from gotaskq.presence import WorkerPresence

P95_Z: Final = 1.6449  # of the normal distribution

# Whether workers of other processes do what none here does; `workers` of a reason says how many.
Elsewhere: TypeAlias = Literal["unknown", "none", "some"]


class Paused(msgspec.Struct, frozen=True, tag_field="reason", tag="queue_paused"):
    """Its queue gives out no jobs until somebody resumes it."""

    queue: str


class Scheduled(msgspec.Struct, frozen=True, tag_field="reason", tag="scheduled_for"):
    """It is not due yet, and has not failed."""

    due_at_ms: int
    due_in_s: float


class AwaitsRetry(msgspec.Struct, frozen=True, tag_field="reason", tag="retry_at"):
    """It has run, and waits until it may run again."""

    due_at_ms: int
    due_in_s: float
    retry_count: int
    max_retries: int
    error: str | None = None


class NoWorker(msgspec.Struct, frozen=True, tag_field="reason", tag="no_worker"):
    """No worker runs in this process, or those that do were told to fetch no more (`is_quiet`)."""

    is_quiet: bool
    elsewhere: Elsewhere
    workers: int | None = None


class NoWorkerForQueue(msgspec.Struct, frozen=True, tag_field="reason", tag="no_worker_for_queue"):
    """The workers of this process serve other queues, or there are none; elsewhere others may serve it."""

    queue: str
    elsewhere: Elsewhere
    workers: int | None = None


class NoWorkerForType(msgspec.Struct, frozen=True, tag_field="reason", tag="no_worker_for_type"):
    """No worker here handles jobs of its type; `unhandled_since_at_ms` is when a worker found that first.

    Those counted elsewhere serve its queue, too.
    """

    type: str
    elsewhere: Elsewhere
    unhandled_since_at_ms: int | None = None
    workers: int | None = None


class Position(msgspec.Struct, frozen=True, tag_field="reason", tag="position"):
    """It is due and waits for its turn: so many go first; the workers here are busy with `running` jobs."""

    queue: str
    ahead: int
    is_exact: bool
    running: int


class Due(msgspec.Struct, frozen=True, tag_field="reason", tag="due"):
    """It is due and waits for its turn, and its store cannot say how many go first."""

    queue: str
    running: int


class Running(msgspec.Struct, frozen=True, tag_field="reason", tag="running"):
    """An attempt runs; `lease_left_s` is for how long its worker may be silent."""

    worker: str | None
    attempt: int
    started_at_ms: int | None
    running_s: float
    lease_left_s: float | None = None
    is_cancel_requested: bool = False


class LeaseLapsed(msgspec.Struct, frozen=True, tag_field="reason", tag="lease_lapsed"):
    """Its worker has not been heard of for longer than the lease; any worker takes it back soon."""

    worker: str | None
    lapsed_s: float


class Ended(msgspec.Struct, frozen=True, tag_field="reason", tag="ended"):
    """It is DONE, DEAD or CANCELLED; of a dead one, why."""

    status: Status
    finished_at_ms: int | None
    cause: str | None = None
    error: str | None = None


Reason: TypeAlias = (
    Paused
    | Scheduled
    | AwaitsRetry
    | NoWorker
    | NoWorkerForQueue
    | NoWorkerForType
    | Position
    | Due
    | Running
    | LeaseLapsed
    | Ended
)


class Eta(msgspec.Struct, frozen=True):
    """In how many seconds it is expected to have run, in the middle and in nineteen of twenty cases."""

    p50_s: float
    p95_s: float


class Explanation(msgspec.Struct, frozen=True):
    """A job, and why it is where it is; `eta` is None where nothing tells, or something has to be done first."""

    job: Job
    reasons: list[Reason]
    eta: Eta | None = None


class Surroundings(msgspec.Struct, frozen=True):
    """What else there is to know: the workers, what they serve, and how fast the job's queue is emptied."""

    workers: Sequence[Worker]
    serves_queue: bool
    has_handler: bool
    elsewhere: Sequence[WorkerPresence] | None  # the workers of other processes; None: nobody knows
    finished_per_s: float
    now_ms: int

    @property
    def running(self) -> int:
        """How many attempts run here."""
        return sum(worker.busy for worker in self.workers)


async def explain(job: Job, backend: Backend, around: Surroundings) -> Explanation:
    """Say why a job is where it is."""
    if job.status not in (PENDING, RUNNING):
        return Explanation(job, [_ended(job)])
    standing = await backend.standing(job) if isinstance(backend, TellsStanding) else None
    if job.status is RUNNING:
        return Explanation(job, [_running(job, standing, around)])
    is_paused = (await backend.queues())[job.queue].is_paused
    lacking = _lacking(job, around)
    # What others do is no reason to wait, but good to know.
    blocking = [reason for reason in lacking if reason.elsewhere != "some"]
    reasons: list[Reason] = [
        *([Paused(job.queue)] if is_paused else []),
        *blocking,
        _waiting(job, standing, around),
        *(reason for reason in lacking if reason.elsewhere == "some"),
    ]
    is_blocked = is_paused or any(reason.elsewhere == "none" for reason in blocking)
    return Explanation(job, reasons, None if is_blocked else _eta(standing, around.finished_per_s))


def _ended(job: Job) -> Ended:
    cause = job.death_reason.value if job.status is DEAD and job.death_reason else None
    return Ended(job.status, job.finished_at_ms, cause, job.error if job.status is DEAD else None)


def _running(job: Job, standing: Standing | None, around: Surroundings) -> Running | LeaseLapsed:
    left_ms = None if standing is None else standing.lease_left_ms
    if left_ms is not None and left_ms < 0:
        return LeaseLapsed(job.worker, -left_ms / 1000)
    started_at_ms = around.now_ms if job.started_at_ms is None else job.started_at_ms
    return Running(
        job.worker,
        job.attempt,
        job.started_at_ms,
        running_s=max(around.now_ms - started_at_ms, 0) / 1000,
        lease_left_s=None if left_ms is None else left_ms / 1000,
        is_cancel_requested=job.is_cancel_requested,
    )


def _lacking(job: Job, around: Surroundings) -> list[NoWorker | NoWorkerForQueue | NoWorkerForType]:
    """Return what no worker here can do for the job, and whether workers elsewhere can."""
    there = around.elsewhere
    fetching = None if there is None else [worker for worker in there if not worker.is_quiet]
    serving = None if fetching is None else [worker for worker in fetching if worker.serves(job.queue)]
    able = None if serving is None else [worker for worker in serving if worker.handles(job.type)]
    fetches_here = any(not worker.is_quiet for worker in around.workers)
    serves_here = fetches_here and around.serves_queue
    lacking: list[NoWorker | NoWorkerForQueue | NoWorkerForType] = []
    if not fetches_here:
        lacking.append(NoWorker(bool(around.workers), *_count(fetching)))
    if not serves_here and (fetches_here or (fetching and not serving)):
        lacking.append(NoWorkerForQueue(job.queue, *_count(serving)))
    if not around.has_handler or (not serves_here and serving and not able):
        elsewhere, workers = _count(able)
        lacking.append(NoWorkerForType(job.type, elsewhere, job.unhandled_since_ms, workers))
    return lacking


def _count(workers: Sequence[WorkerPresence] | None) -> tuple[Elsewhere, int | None]:
    if workers is None:
        return "unknown", None
    return ("some", len(workers)) if workers else ("none", None)


def _waiting(job: Job, standing: Standing | None, around: Surroundings) -> Reason:
    due_in_s = (job.run_after_ms - around.now_ms) / 1000
    if due_in_s > 0 and (standing is None or standing.ahead is None):
        if job.attempt == 0:
            return Scheduled(job.run_after_ms, due_in_s)
        return AwaitsRetry(job.run_after_ms, due_in_s, job.retry_count, job.max_retries, job.error)
    if standing is None or standing.ahead is None:
        return Due(job.queue, around.running)
    return Position(job.queue, standing.ahead, standing.is_exact, around.running)


def _eta(standing: Standing | None, finished_per_s: float) -> Eta | None:
    """Return when so many jobs and one more will have ended, if ends go on to come at this rate and by chance."""
    if standing is None or standing.ahead is None or not finished_per_s:
        return None
    # The time of the k-th event of a Poisson process has a gamma distribution; its median, and Wilson and Hilferty's
    # approximation of its 95th percentile, are right to a few percent for every k from 1 on.
    k = standing.ahead + 1
    p95 = k * (1 - 1 / (9 * k) + P95_Z / (3 * sqrt(k))) ** 3
    return Eta((k - 1 / 3) / finished_per_s, p95 / finished_per_s)
