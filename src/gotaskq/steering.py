"""What an operator does with jobs and queues: look, wait, cancel, replay, delete, pause.

The base of `TaskQ`, apart from it so that each half can be read at once.
Invariant: what changed a job is told on the bus.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Unpack

from msgspec import Raw

from gotaskq.backend import Page, QueueCounts
from gotaskq.changing import Changing
from gotaskq.engine.endings import Endings
from gotaskq.engine.rates import FinishRates
from gotaskq.errors import DeadJobNotFoundError, JobExistsError, JobNotFoundError
from gotaskq.events import JobCancelled
from gotaskq.explaining import Explanation, explain
from gotaskq.filters import JobFilter, query_of
from gotaskq.governing import QueueStats
from gotaskq.job import Job, JobId, Status
from gotaskq.merge_patch import MergePatch
from gotaskq.names import check_queue_name
from gotaskq.presence import Fleet
from gotaskq.queue_handle import QueueHandle, stats_of


class Steering(Changing):
    """Jobs and queues of an app that is open."""

    _endings: Endings
    rates: FinishRates

    # -- jobs ----------------------------------------------------------------------------------------------------------

    async def wait(self, job_id: int, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109
        """Return a job once it has ended; raises TimeoutError after `timeout` seconds, and JobNotFoundError."""
        return await self._endings.wait(JobId(job_id), self.get, timeout_s=timeout)

    def wait_sync(self, job_id: int, *, timeout: float | None = None) -> Job:
        """Do what `wait` does, for code that cannot await; raises as `wait`, and ConfigError as `enqueue_sync`."""
        wait = partial(self.wait, job_id, timeout=timeout)
        return self._life.sync.wait(JobId(job_id), self._life.settings, timeout_s=timeout, on_loop=wait)

    def follow(self, job_id: int) -> AsyncIterator[Job]:
        """Yield a job as it is, then each time it has changed, until it has ended; raises JobNotFoundError."""
        return self._endings.follow(JobId(job_id), self.get)

    async def list_jobs(self, *, cursor: str | None = None, limit: int = 100, **filters: Unpack[JobFilter]) -> Page:
        """List jobs, newest first (dead ones: latest death first), from behind a page's `next_cursor`.

        A page may be short, even empty, and still have a cursor. Raises InvalidRequestError.
        """
        query = query_of(filters, now_ms=self._life.choices.clock.now_ms())
        return await self._parts.backend.list_jobs(query, after=cursor, limit=limit)

    async def cancel(self, job_id: int) -> Job:
        """Cancel a waiting job, ask a running one to end, leave an ended one as it is; raises JobNotFoundError."""
        before = await self.get(job_id)
        job = await self._parts.backend.cancel(before.id)
        if job is None:
            raise JobNotFoundError(job_id)
        if job.is_cancel_requested and job.status is Status.RUNNING:
            self._life.end_attempt(job.id)
        elif job.status is Status.CANCELLED and before.status is not Status.CANCELLED:
            self._bus.publish(JobCancelled(job))
        return job

    def cancel_sync(self, job_id: int) -> Job:
        """Do what `cancel` does, for code that cannot await; raises as `cancel`, and ConfigError as `enqueue_sync`."""
        return self._life.sync.cancel(JobId(job_id), self._life.settings, on_loop=partial(self.cancel, job_id))

    async def replay(self, job_id: int, *, patch: object = None) -> Job:
        """Run a dead job again, on its own queue with a fresh count; with `patch`, a merge patch, of its payload too.

        Raises DeadJobNotFoundError, and JobExistsError where another job has its unique key by now; InvalidRequestError
        and InvalidPayloadError for a patch that is none, or not of this job, which stays dead as it is.
        """
        if patch is not None:
            return await self._replay_patched(job_id, MergePatch(patch))
        replayed = await self.replay_many([job_id])
        if not replayed:
            job = await self._parts.backend.get(JobId(job_id))
            if job is not None and job.status is Status.DEAD and job.unique_key:
                raise JobExistsError(job.id, job.unique_key)
            raise DeadJobNotFoundError(job_id)
        return replayed[0]

    async def _replay_patched(self, job_id: int, patch: MergePatch) -> Job:
        while True:
            job = await self._parts.backend.get(JobId(job_id))
            if job is None or job.status is not Status.DEAD:
                raise DeadJobNotFoundError(job_id)
            try:
                back = await self.revive(job, payload=Raw(patch.apply(job.payload_json)))
            except JobNotFoundError:
                raise DeadJobNotFoundError(job_id) from None
            if back.is_amended:
                return back.job
            if back.job.status is Status.DEAD and back.job.replays == job.replays:
                raise JobExistsError(job.id, job.unique_key)
            # Somebody was faster; where it has died again, the patch is for what it died with then.

    async def delete(self, job_id: int) -> Job:
        """Forget a job: one that waits is cancelled first, one that runs is asked to end and stays until it has.

        Return the job as it was last; raises JobNotFoundError.
        """
        job = await self.cancel(job_id)
        if job.status is not Status.RUNNING:
            await self._parts.backend.delete([job.id])
        return job

    async def delete_ended(self, job_ids: Sequence[int]) -> list[int]:
        """Forget jobs that have ended, in one call; return those that are there still, having come back meanwhile."""
        backend = self._parts.backend
        deleted = await backend.delete([JobId(job_id) for job_id in job_ids])
        if deleted == len(job_ids):
            return []
        return [job_id for job_id in job_ids if await backend.get(JobId(job_id)) is not None]

    async def delete_dead(self, job_id: int) -> None:
        """Delete a dead job; raises DeadJobNotFoundError."""
        if not await self._parts.backend.delete([JobId(job_id)], status=Status.DEAD):
            raise DeadJobNotFoundError(job_id)

    async def explain(self, job_id: int) -> Explanation:
        """Say why a job has not run yet, or what became of it; raises JobNotFoundError."""
        job = await self.get(job_id)
        return await explain(job, self._parts.backend, await self._life.surroundings(job, self.rates))

    async def fleet(self) -> Fleet:
        """Return the workers of every process on the store, as they were heard of last; raises as `get`."""
        return await self._parts.presence.fleet()

    # -- queues --------------------------------------------------------------------------------------------------------

    async def create_queue(self, name: str) -> str:
        """Register a queue and return its (lower-cased) name; raises InvalidRequestError or QueueExistsError."""
        return await self._parts.admission.create_queue(name)

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every queue with its counts, sorted by name."""
        return await self._parts.backend.queues()

    def queue(self, name: str) -> QueueHandle:
        """Return what steers one queue; raises InvalidRequestError for a name no queue can have."""
        return QueueHandle(self._parts.backend, check_queue_name(name))

    async def queue_stats(self) -> list[QueueStats]:
        """Return the figures of every queue, sorted by name."""
        return await stats_of(self._parts.backend)

    async def pause(self, queue: str) -> None:
        """Stop giving out the queue's jobs; raises QueueNotFoundError."""
        await self.queue(queue).pause()

    async def resume(self, queue: str) -> None:
        """Give out the queue's jobs again, and take new ones; raises QueueNotFoundError."""
        await self.queue(queue).resume()
