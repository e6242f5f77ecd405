"""Acts on many jobs at once: retry, cancel or delete those that a filter admits, or that are named.

`TaskQ.bulk`. An act runs in the background, page by page, and its progress can be looked at; it goes from the newest
job to the oldest, so it meets none that is made meanwhile. `operations` shows it to other processes.
Invariant: at most MAX_RUNNING run and MAX_KEPT are remembered; when the app closes, none runs on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias, Unpack

import msgspec
from msgspec.structs import replace

from gotaskq.backend import JobQuery
from gotaskq.changing import may_retry
from gotaskq.errors import (
    GotaskqError,
    InvalidRequestError,
    JobEndedError,
    JobNotFoundError,
    JobStateError,
    OperationNotFoundError,
    TooManyOperationsError,
    UnavailableError,
)
from gotaskq.filters import JobFilter, query_of
from gotaskq.job import DEAD, DONE, FINAL, Job, JobId
from gotaskq.life import Life
from gotaskq.steering import Steering

BATCH: Final = 100  # jobs acted on between two looks at the rest of the world
MAX_IDS: Final = 1_000
MAX_RUNNING: Final = 2  # each keeps the store busy
MAX_KEPT: Final = 100
MAX_ERRORS: Final = 10  # shown of one operation
COUNT_BATCHES: Final = 500  # a count, which its caller waits for, ends there
ID_BITS: Final = 64
NOT_FOUND: Final = "is not there"

Act: TypeAlias = Callable[[Sequence[Job]], Awaitable["list[JobError]"]]  # returns those that could not be acted on

logger = logging.getLogger(__name__)


class Action(Enum):
    """What is done to each job."""

    RETRY = "retry"  # of those that have failed: replay the dead, let those that wait for their retry be due now
    CANCEL = "cancel"  # of those that wait or run
    DELETE = "delete"  # of all: one that runs is asked to end and stays


class OperationStatus(Enum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # the store was away; what was done stays done
    CANCELLED = "cancelled"  # somebody asked for it, or the app closed
    LOST = "lost"  # nothing has been heard of the process that ran it


class OperationEndedError(GotaskqError):
    """The operation runs no more, so it cannot be cancelled."""


class JobError(msgspec.Struct, frozen=True):
    """Why one job was passed over."""

    job_id: int
    error: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An act on many jobs, as far as it is: `matched` found so far, of which `done` were acted on and `failed` not."""

    id: str
    action: Action
    status: OperationStatus = OperationStatus.RUNNING
    matched: int = 0
    done: int = 0
    failed: int = 0
    errors: tuple[JobError, ...] = ()  # the first of them
    error: str | None = None  # why it failed as a whole
    is_cancel_requested: bool = False  # it ends before its next step
    started_at_ms: int
    finished_at_ms: int | None = None


class Count(msgspec.Struct, frozen=True):
    """How many jobs an act would meet; with `has_more` at least so many, as nobody looked any further."""

    matched: int
    has_more: bool


class Batch(NamedTuple):
    """Jobs to act on, and those that were named and cannot be."""

    jobs: list[Job]
    passed_over: list[JobError]


class Bulk:
    """The acts of one app on many jobs."""

    def __init__(self, app: Steering, life: Life, *, rng: Random) -> None:
        self._app = app
        self._life = life
        self._rng = rng
        self._operations: dict[str, Operation] = {}  # the oldest first
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.hear: Callable[[str], None] = lambda operation_id: None  # of one that began, is to end, or ended

    async def count(self, action: Action, ids: Sequence[int] | None = None, **filters: Unpack[JobFilter]) -> Count:
        """Return how many jobs an act would meet, and do nothing; raises InvalidRequestError."""
        matched = batches = 0
        async for batch in self._batches(action, ids, filters):
            matched += len(batch.jobs)
            batches += 1
            if batches == COUNT_BATCHES:
                return Count(matched, has_more=True)
        return Count(matched, has_more=False)

    def start(self, action: Action, ids: Sequence[int] | None = None, **filters: Unpack[JobFilter]) -> Operation:
        """Begin to act on jobs in the background; raises InvalidRequestError or TooManyOperationsError."""
        return self.begin(action, self._batches(action, ids, filters), partial(ACTS[action], self._app))

    def begin(self, action: Action, batches: AsyncIterator[Batch], act: Act) -> Operation:
        """Begin to do this to batches of jobs, as they come; raises TooManyOperationsError."""
        if len(self._tasks) >= MAX_RUNNING:
            raise TooManyOperationsError(MAX_RUNNING)
        now_ms = self._life.choices.clock.now_ms()
        operation = Operation(id=f"{self._rng.getrandbits(ID_BITS):016x}", action=action, started_at_ms=now_ms)
        self._remember(operation)
        task = asyncio.create_task(self._run(operation.id, batches, act), name="gotaskq-operation")
        self._tasks[operation.id] = task
        task.add_done_callback(partial(self._ended, operation.id))
        self.hear(operation.id)
        return operation

    def get(self, operation_id: str) -> Operation:
        """Return an operation of this process as far as it is; raises OperationNotFoundError."""
        operation = self._operations.get(operation_id)
        if operation is None:
            raise OperationNotFoundError(operation_id)
        return operation

    def known(self) -> list[Operation]:
        """Return the operations of this process that are remembered, the oldest first."""
        return list(self._operations.values())

    def cancel(self, operation_id: str) -> Operation:
        """Let an operation of this process end before its next step; raises as `get`, and OperationEndedError."""
        operation = self.get(operation_id)
        check_cancellable(operation)
        if operation.status is OperationStatus.RUNNING and not operation.is_cancel_requested:
            self._change(operation_id, is_cancel_requested=True)
            self.hear(operation_id)
        return self.get(operation_id)

    async def wait(self, operation_id: str) -> Operation:
        """Return an operation once it has ended; raises OperationNotFoundError."""
        task = self._tasks.get(operation_id)
        if task is not None:
            await asyncio.wait([task])
        return self.get(operation_id)

    async def close(self) -> None:
        """Let what runs end where it is; each says that it was cancelled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- one operation -------------------------------------------------------------------------------------------------

    async def _run(self, operation_id: str, batches: AsyncIterator[Batch], act: Act) -> None:
        try:
            async for batch in batches:
                await asyncio.sleep(0)  # a store in memory never lets go of the loop by itself
                if self.get(operation_id).is_cancel_requested:
                    self._change(operation_id, status=OperationStatus.CANCELLED)
                    break
                await self._act_on(operation_id, batch, act)
            else:
                self._change(operation_id, status=OperationStatus.DONE)
        except UnavailableError:
            error = "the job store is unavailable; ask for the rest again later"
            self._change(operation_id, status=OperationStatus.FAILED, error=error)
        except Exception:
            logger.exception("operation failed", extra={"operation": operation_id})
            self._change(operation_id, status=OperationStatus.FAILED, error="internal")

    def _ended(self, operation_id: str, task: asyncio.Task[None]) -> None:
        """Note the end; here, since a task that is cancelled before its first step never comes to its own."""
        del self._tasks[operation_id]
        if task.cancelled():
            self._change(operation_id, status=OperationStatus.CANCELLED)
        self._change(operation_id, finished_at_ms=self._life.choices.clock.now_ms())
        self.hear(operation_id)

    async def _act_on(self, operation_id: str, batch: Batch, act: Act) -> None:
        before = self.get(operation_id)
        self._change(operation_id, matched=before.matched + len(batch.jobs) + len(batch.passed_over))
        failed = batch.passed_over + await act(batch.jobs)
        self._change(
            operation_id,
            done=before.done + len(batch.jobs) + len(batch.passed_over) - len(failed),
            failed=before.failed + len(failed),
            errors=(*before.errors, *failed)[:MAX_ERRORS],
        )

    def _change(self, operation_id: str, **members: Any) -> None:
        self._operations[operation_id] = replace(self._operations[operation_id], **members)

    def _remember(self, operation: Operation) -> None:
        self._operations[operation.id] = operation
        excess = len(self._operations) - MAX_KEPT
        for oldest in [known for known in self._operations if known not in self._tasks][: max(excess, 0)]:
            del self._operations[oldest]

    # -- which jobs ----------------------------------------------------------------------------------------------------

    def _batches(self, action: Action, ids: Sequence[int] | None, filters: JobFilter) -> AsyncIterator[Batch]:
        # Made once: what is so long ago must not move while the operation goes on.
        query = query_of(filters, now_ms=self._life.choices.clock.now_ms())
        if (ids is None) == (query == JobQuery()):
            raise InvalidRequestError("name either the ids of jobs or a filter that is not empty", field="filter")
        if ids is None:
            return self._admitted(action, query)
        if not 1 <= len(ids) <= MAX_IDS:
            raise InvalidRequestError(f"ids must be 1 to {MAX_IDS}, not {len(ids)}; or name a filter", field="ids")
        return self._named(action, list(dict.fromkeys(ids)))

    async def _admitted(self, action: Action, query: JobQuery) -> AsyncIterator[Batch]:
        after: str | None = None
        while True:
            page = await self._life.parts.backend.list_jobs(query, after=after, limit=BATCH)
            yield Batch([job for job in page.jobs if APPLIES[action](job)], [])
            after = page.next_cursor
            if after is None:
                return

    async def _named(self, action: Action, ids: Sequence[int]) -> AsyncIterator[Batch]:
        for first in range(0, len(ids), BATCH):
            jobs: list[Job] = []
            passed_over: list[JobError] = []
            for job_id in ids[first : first + BATCH]:
                job = await self._life.parts.backend.get(JobId(job_id))
                if job is None:
                    passed_over.append(JobError(job_id, NOT_FOUND))
                elif APPLIES[action](job):
                    jobs.append(job)
                else:
                    passed_over.append(JobError(job_id, f"is {job.status.value}, and cannot be {DONE_TO[action]}"))
            yield Batch(jobs, passed_over)


def check_cancellable(operation: Operation) -> None:
    """Raise OperationEndedError for one that ended otherwise."""
    if operation.status not in (OperationStatus.RUNNING, OperationStatus.CANCELLED):
        status = operation.status.value
        raise OperationEndedError(f"operation {operation.id} is {status}; only one that runs can be cancelled")


async def _retry(app: Steering, jobs: Sequence[Job]) -> list[JobError]:
    dead = [job for job in jobs if job.status is DEAD]
    replayed = {job.id for job in await app.replay_many([job.id for job in dead])}
    failed = [JobError(job.id, "is not DEAD any more") for job in dead if job.id not in replayed]
    return failed + await _each(app.retry, [job for job in jobs if job.status is not DEAD])


async def _cancel(app: Steering, jobs: Sequence[Job]) -> list[JobError]:
    async def cancel(job_id: int) -> None:
        job = await app.cancel(job_id)
        if job.status in (DONE, DEAD):
            raise JobEndedError(job.id, job.status)

    return await _each(cancel, jobs)


async def _delete(app: Steering, jobs: Sequence[Job]) -> list[JobError]:
    ended = [job.id for job in jobs if job.status in FINAL]
    left = await app.delete_ended(ended)
    failed = [JobError(job_id, "came back before it could be deleted") for job_id in left]
    return failed + await _each(app.delete, [job for job in jobs if job.status not in FINAL])


async def _each(act: Callable[[int], Awaitable[object]], jobs: Sequence[Job]) -> list[JobError]:
    failed: list[JobError] = []
    for job in jobs:
        try:
            await act(job.id)
        except JobNotFoundError:
            failed.append(JobError(job.id, NOT_FOUND))
        except (JobStateError, JobEndedError) as error:
            failed.append(JobError(job.id, str(error)))
    return failed


ACTS: Final[dict[Action, Callable[[Steering, Sequence[Job]], Awaitable[list[JobError]]]]] = {
    Action.RETRY: _retry,
    Action.CANCEL: _cancel,
    Action.DELETE: _delete,
}
DONE_TO: Final = {Action.RETRY: "run again", Action.CANCEL: "cancelled", Action.DELETE: "deleted"}
APPLIES: Final[dict[Action, Callable[[Job], bool]]] = {
    Action.RETRY: may_retry,
    Action.CANCEL: lambda job: job.status not in FINAL,
    Action.DELETE: lambda _: True,
}
