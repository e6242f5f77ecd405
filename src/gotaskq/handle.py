"""JobHandle and SyncJobHandle: a job that was enqueued, and what its task will return.

Given out by a task's `enqueue` and `enqueue_sync`. They keep no state of the job: each question is asked of the store.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from gotaskq.engine.endings import FOLLOW_EVERY_S
from gotaskq.errors import JobCancelledError, JobFailedError, ResultUnavailableError
from gotaskq.job import FINAL, DeathReason, Job, JobId, Status

R = TypeVar("R")

NO_RESULT: Final = b"null"


class KeepsJobs(Protocol):
    """What a handle asks of an app."""

    async def get(self, job_id: int) -> Job:
        """Return a job."""
        ...

    async def wait(self, job_id: int, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109
        """Return a job once it has ended."""
        ...

    def follow(self, job_id: int) -> AsyncIterator[Job]:
        """Yield a job each time it has changed."""
        ...

    async def cancel(self, job_id: int) -> Job:
        """Cancel a job."""
        ...


class KeepsJobsSync(Protocol):
    """What a handle for code that cannot await asks of an app."""

    def get_sync(self, job_id: int) -> Job:
        """Return a job."""
        ...

    def wait_sync(self, job_id: int, *, timeout: float | None = None) -> Job:
        """Return a job once it has ended."""
        ...

    def cancel_sync(self, job_id: int) -> Job:
        """Cancel a job."""
        ...


class JobHandle(Generic[R]):
    """One job of a task that returns R."""

    __slots__ = ("_app", "_read", "id", "was_there")

    def __init__(self, app: KeepsJobs, job_id: JobId, read: Callable[[bytes], R], *, was_there: bool = False) -> None:
        self._app = app
        self._read = read
        self.id: JobId = job_id
        self.was_there = was_there  # found by a key: the enqueue stored nothing new

    def __repr__(self) -> str:
        """Show which job this is."""
        return f"<JobHandle {self.id}>"

    async def job(self) -> Job:
        """Return the job as it is now; raises JobNotFoundError."""
        return await self._app.get(self.id)

    async def status(self) -> Status:
        """Return where the job is in its life; raises JobNotFoundError."""
        return (await self.job()).status

    async def cancel(self) -> Job:
        """Cancel the job if it waits, ask it to end if it runs, leave it if it has ended; raises JobNotFoundError."""
        return await self._app.cancel(self.id)

    def events(self) -> AsyncIterator[Job]:
        """Yield the job as it is now, then each time it has changed (its status, an attempt, its progress) to its end.

        It is looked at four times a second: what came and went between two looks is not seen. Raises JobNotFoundError.
        """
        return self._app.follow(self.id)

    async def result(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 - how long is the caller's to say
        """Wait for the job to end, for at most `timeout` seconds, and return what its function returned.

        Raises JobFailedError, JobCancelledError, TimeoutError (the job goes on), ResultUnavailableError, and
        JobNotFoundError once the job's retention time is over.
        """
        return _result_of(await self._app.wait(self.id, timeout=timeout), self._read)


class SyncJobHandle(Generic[R]):
    """One job of a task that returns R, for code that cannot await: scripts, threads, WSGI; any thread may use it."""

    __slots__ = ("_app", "_read", "id")

    def __init__(self, app: KeepsJobsSync, job_id: JobId, read: Callable[[bytes], R]) -> None:
        self._app = app
        self._read = read
        self.id: JobId = job_id

    def __repr__(self) -> str:
        """Show which job this is."""
        return f"<SyncJobHandle {self.id}>"

    def job(self) -> Job:
        """Return the job as it is now; raises JobNotFoundError."""
        return self._app.get_sync(self.id)

    def status(self) -> Status:
        """Return where the job is in its life; raises JobNotFoundError."""
        return self.job().status

    def cancel(self) -> Job:
        """Cancel the job if it waits, ask it to end if it runs, leave it if it has ended; raises JobNotFoundError."""
        return self._app.cancel_sync(self.id)

    def events(self) -> Iterator[Job]:
        """Do as `JobHandle.events`, while this thread waits for each."""
        seen: Job | None = None
        while seen is None or seen.status not in FINAL:
            job = self.job()
            if job != seen:
                seen = job
                yield job
                continue  # whoever looks at it may take long, and much may have happened
            with contextlib.suppress(TimeoutError):
                self._app.wait_sync(self.id, timeout=FOLLOW_EVERY_S)

    def result(self, timeout: float | None = None) -> R:
        """Do as `JobHandle.result`, while this thread waits."""
        return _result_of(self._app.wait_sync(self.id, timeout=timeout), self._read)


def _result_of(job: Job, read: Callable[[bytes], R]) -> R:
    """Return what the function of a job that has ended returned, or raise why there is nothing."""
    if job.status is Status.CANCELLED:
        raise JobCancelledError(job.id)
    if job.status is Status.DEAD:
        reason = job.death_reason or DeathReason.RETRIES_EXHAUSTED
        raise JobFailedError(job.id, error=job.error or "", reason=reason.value)
    try:
        return read(NO_RESULT if job.result_json is None else job.result_json)
    except msgspec.MsgspecError as error:
        raise ResultUnavailableError(
            f"job {job.id} is DONE, but what was kept of its result is not what {job.type!r} returns: {error}"
        ) from error
