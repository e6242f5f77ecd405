"""What an operator changes of a job: when it runs, and with what; run it now, or run it again.

The base of `Steering`. Who wins, the change or a worker, is the store's to say.
Invariant: what changed a job is told on the bus.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Unpack

from msgspec.structs import replace

from gotaskq.amendment import DUE_NOW, Amended, Amendment
from gotaskq.assembly import Opened
from gotaskq.engine.amending import AmendOptions, amendment_of
from gotaskq.engine.bus import EventBus
from gotaskq.errors import JobNotFoundError, JobStateError
from gotaskq.events import JobAmended, JobReplayed
from gotaskq.job import DEAD, PENDING, Job, JobId
from gotaskq.life import Life
from gotaskq.policies.ordering import PriorityFifo

ONLY_WAITING: Final = "only a job that waits can be changed or run now"
ONLY_FAILED: Final = "only a job that is DEAD, or waits for its retry, can be run again"


class Changing:
    """Jobs of an app that is open, and what may still be changed of them."""

    _life: Life
    _bus: EventBus

    async def get(self, job_id: int) -> Job:
        """Return a job; raises JobNotFoundError."""
        job = await self._parts.backend.get(JobId(job_id))
        if job is None:
            raise JobNotFoundError(job_id)
        return job

    async def amend(self, job_id: int, **options: Unpack[AmendOptions]) -> Job:
        """Change a job that waits, each value as checked as at enqueue; what is left out stays.

        Raises JobNotFoundError, InvalidRequestError, or JobStateError for a job that runs or has ended.
        """
        job = await self.get(job_id)
        return await self._amend(job.id, self._amendment(job, options), allowed=ONLY_WAITING)

    async def revive(self, job: Job, **options: Unpack[AmendOptions]) -> Amended:
        """Run a dead job again, changed in the same step, if it is as it was when `job` was looked at.

        Raises JobNotFoundError, InvalidRequestError and InvalidPayloadError, with the job as it was.
        """
        change = self._amendment(job, options) if options else Amendment()
        amended = await self._parts.backend.amend(job.id, replace(change, replays=job.replays))
        if amended is None:
            raise JobNotFoundError(job.id)
        if amended.is_amended:
            self._bus.publish(JobReplayed(amended.job))
        return amended

    async def run_now(self, job_id: int) -> Job:
        """Let a job that waits, for its time or its retry, be due now; raises JobNotFoundError or JobStateError."""
        return await self._amend(JobId(job_id), DUE_NOW, allowed=ONLY_WAITING)

    async def retry(self, job_id: int) -> Job:
        """Run a job again that has failed: replay a dead one, let one that waits for its retry be due now.

        Raises JobNotFoundError or JobStateError.
        """
        job = await self.get(job_id)
        if job.status is DEAD:
            replayed = await self.replay_many([job.id])
            if replayed:
                return replayed[0]
            job = await self.get(job_id)  # somebody was faster
        if not may_retry(job):
            raise JobStateError(job.id, job.status, ONLY_FAILED)
        return await self._amend(job.id, DUE_NOW, allowed=ONLY_FAILED)

    async def replay_many(self, job_ids: Sequence[int]) -> list[Job]:
        """Run dead jobs again, on their own queues with fresh counts; those that are not DEAD are passed over."""
        replayed = await self._parts.backend.replay([JobId(job_id) for job_id in job_ids])
        self._bus.publish_batch([JobReplayed(job) for job in replayed])
        return replayed

    def _amendment(self, job: Job, options: AmendOptions) -> Amendment:
        choices = self._life.choices
        return amendment_of(
            options,
            job,
            ordering=choices.ordering or PriorityFifo(),
            check=partial(self._parts.admission.check_payload_of, job.type),
            now_ms=choices.clock.now_ms(),
        )

    async def _amend(self, job_id: JobId, amendment: Amendment, *, allowed: str) -> Job:
        amended = await self._parts.backend.amend(job_id, amendment)
        if amended is None:
            raise JobNotFoundError(job_id)
        if not amended.is_amended:
            raise JobStateError(job_id, amended.job.status, allowed)
        self._bus.publish(JobAmended(amended.job))
        return amended.job

    @property
    def _parts(self) -> Opened:
        return self._life.parts


def may_retry(job: Job) -> bool:
    """Say whether a job has failed and may run again: it is dead, or waits for its retry."""
    return job.status is DEAD or (job.status is PENDING and job.attempt > 0)
