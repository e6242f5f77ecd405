"""Many dead jobs brought back: which are meant, what a patch makes of each, and how fast they go.

Used by `DeadLetters`.
Invariant: a job is brought back as somebody looked at it, with its new payload, or stays dead as it is.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from gotaskq.bulk import Batch, JobError
from gotaskq.clock import Clock
from gotaskq.engine.amending import AmendOptions
from gotaskq.errors import InvalidRequestError, JobNotFoundError
from gotaskq.filters import JobFilter
from gotaskq.fingerprint import death_of
from gotaskq.job import DEAD, Job, JobId
from gotaskq.merge_patch import MergePatch
from gotaskq.steering import Steering

PAGE: Final = 200
MOST_LOOKED_AT: Final = 10_000  # as many as are kept by default
MIN_RATE: Final = 0.01
MAX_RATE: Final = 1_000.0
TICK_S: Final = 0.05  # what is faster than one in a tick goes several at a time
CONFLICT: Final = "another job has its unique key"
NOT_AS_SEEN: Final = "is not dead any more, or died again"


class Refusal(msgspec.Struct, frozen=True):
    """Why the payload of one job cannot be what the patch makes of it, and where."""

    job_id: JobId
    error: str
    field: str | None


class Example(msgspec.Struct, frozen=True):
    """What the patch makes of one job."""

    job_id: JobId
    before: msgspec.Raw
    after: msgspec.Raw


class Selection(NamedTuple):
    """Which dead jobs are meant: at most `limit` of those that filters and fingerprint admit; None is no limit."""

    filters: JobFilter
    fingerprint: str | None = None
    limit: int | None = None


class Meant:
    """Goes through the dead jobs that are meant, the latest death first."""

    def __init__(self, app: Steering, selection: Selection) -> None:
        self._app = app
        self._selection = selection
        self.is_complete = True  # False once it ended before it had seen all

    async def __aiter__(self) -> AsyncIterator[Job]:
        filters, fingerprint, limit = self._selection
        found = looked_at = 0
        async for job in walk(self._app, filters):
            looked_at += 1
            if found == limit or (limit is not None and looked_at > MOST_LOOKED_AT):
                self.is_complete = False
                return
            if fingerprint in (None, death_of(job).fingerprint):
                found += 1
                yield job


class Mender:
    """Brings jobs back, each with its payload as a patch makes it, if there is one."""

    def __init__(self, app: Steering, patch: MergePatch | None, *, check: Callable[[str, bytes], None]) -> None:
        self._app = app
        self._check = check
        self._patch = patch

    @property
    def has_patch(self) -> bool:
        """Whether payloads change."""
        return self._patch is not None

    def patched(self, job: Job) -> bytes:
        """Return what the payload of a job will be; raises InvalidRequestError where its type cannot take it."""
        if self._patch is None:
            return job.payload_json
        payload_json = self._patch.apply(job.payload_json)
        self._check(job.type, payload_json)
        return payload_json

    def refusal(self, job: Job) -> Refusal | None:
        """Return why the patch cannot be of this job; None where it can."""
        try:
            self.patched(job)
        except InvalidRequestError as error:
            return Refusal(job.id, str(error), error.field)
        return None

    async def bring_back(self, job: Job) -> str | None:
        """Bring one job back, and return why not where it could not be; raises InvalidRequestError."""
        options: AmendOptions = {} if self._patch is None else {"payload": msgspec.Raw(self.patched(job))}
        try:
            back = await self._app.revive(job, **options)
        except JobNotFoundError:
            return NOT_AS_SEEN
        if back.is_amended:
            return None
        return CONFLICT if back.job.status is DEAD and back.job.replays == job.replays else NOT_AS_SEEN

    async def bring_back_each(self, jobs: Sequence[Job]) -> list[JobError]:
        """Bring jobs back, and return why those were not that were not."""
        failed: list[JobError] = []
        for job in jobs:
            try:
                reason = await self.bring_back(job)
            except InvalidRequestError as error:
                reason = str(error) if error.field is None else f"{error}, at {error.field}"
            if reason is not None:
                failed.append(JobError(job.id, reason))
        return failed


async def walk(app: Steering, filters: JobFilter) -> AsyncIterator[Job]:
    """Yield the dead jobs that the filters admit, the latest death first."""
    cursor: str | None = None
    dead: JobFilter = {**filters, "status": DEAD}
    while True:
        page = await app.list_jobs(cursor=cursor, limit=PAGE, **dead)
        for job in page.jobs:
            yield job
        cursor = page.next_cursor
        if cursor is None:
            return


def checked_rate(rate: float) -> float:
    """Return how many jobs a second shall come back; raises InvalidRequestError."""
    if type(rate) not in (int, float) or not MIN_RATE <= rate <= MAX_RATE:
        raise InvalidRequestError(f"rate must be between {MIN_RATE} and {MAX_RATE:g} jobs a second", field="rate")
    return rate


async def paced(jobs: Meant, *, rate: float, clock: Clock) -> AsyncIterator[Batch]:
    """Yield so many jobs a second, evenly; what comes late is not caught up, as that would be a burst."""
    at_once = max(1, round(rate * TICK_S))
    due_s = clock.monotonic_s()
    some: list[Job] = []
    async for job in jobs:
        some.append(job)
        if len(some) == at_once:
            await clock.sleep(max(0.0, due_s - clock.monotonic_s()))
            due_s = max(due_s, clock.monotonic_s()) + at_once / rate
            yield Batch(some, [])
            some = []
    if some:
        await clock.sleep(max(0.0, due_s - clock.monotonic_s()))
        yield Batch(some, [])
