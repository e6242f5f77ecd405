"""What a store tells of the jobs of one call: of each something, even where the store said nothing.

Used by admission, for calls with many jobs.
"""

from collections.abc import Sequence
from typing import TypeAlias

from gotaskq.backend import Backend, Enqueued, Existing
from gotaskq.engine.keying import found
from gotaskq.errors import BackendUnavailableError, GotaskqError, JobGoneError, UnavailableError
from gotaskq.job import Job, JobId
from gotaskq.partly_stored import PartlyStoredError, Told

Known: TypeAlias = Enqueued | Job | GotaskqError


async def enqueue_each(jobs: Sequence[Job], backend: Backend, *, atomic: bool) -> Sequence[Told]:
    """Give jobs to the store in one call, and return what it says of each, or why it says nothing."""
    try:
        return await backend.enqueue(jobs, atomic=atomic)
    except PartlyStoredError as partly:
        return partly.replies
    except UnavailableError as error:
        return [error] * len(jobs)


async def what_is_known(jobs: Sequence[Job], told: Sequence[Told], backend: Backend) -> list[Known]:
    """Return for each job what became of it, the job that is there in its place, or an error with the id to ask for.

    A store that fails to show one of the jobs that are there is not waited for again: there may be a thousand.
    """
    known: list[Known] = []
    away: BackendUnavailableError | None = None
    for job, reply in zip(jobs, told, strict=True):
        if isinstance(reply, Existing):
            shown = await _shown(reply, backend) if away is None else _unknown(reply.job_id, away)
            away = shown if isinstance(shown, BackendUnavailableError) else None
            known.append(shown)
        else:
            known.append(_unknown(job.id, reply) if isinstance(reply, BackendUnavailableError) else reply)
    return known


async def _shown(existing: Existing, backend: Backend) -> Job | GotaskqError:
    try:
        return await found(existing, backend) or JobGoneError(existing.job_id)
    except (JobGoneError, BackendUnavailableError) as error:
        return error


def _unknown(job_id: JobId, error: BackendUnavailableError) -> BackendUnavailableError:
    return BackendUnavailableError(str(error), job_id=job_id)
