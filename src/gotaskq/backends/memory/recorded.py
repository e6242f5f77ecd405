"""The memory backend with a record of each job and queue: which have changed, and how it stands again from all of them.

Used by `JournalledBackend`.
Invariant: the records are all that outlives a process; of a job that ran, its lease does not, as its holder has not.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from gotaskq.backends.memory.backend import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.errors import GotaskqError
from gotaskq.job import FINAL, NO_TIMEOUTS, RUNNING, Job, JobId
from gotaskq.keys import NO_KEYS, Keys
from gotaskq.store_limits import StoreLimits

JOB: Final = "job/"  # before an id
QUEUE: Final = "queue/"  # before a name
LAPSED_MS: Final = 0  # the deadline of a lease that nobody holds


class JobRecord(msgspec.Struct, frozen=True, gc=False):
    """A job, and the number of the change that made it so: jobs that ended in one millisecond keep their order."""

    number: int
    job: Job


class QueueRecord(msgspec.Struct, frozen=True, gc=False):
    """What is known of a queue beside its name."""

    is_paused: bool


class RecordedMemory(MemoryBackend):
    """A memory backend that says what has changed."""

    def __init__(self, limits: StoreLimits | None = None, *, clock: Clock, rng: Random) -> None:
        self._changed = _Changes()
        super().__init__(limits, clock=clock, rng=rng, jobs=_WatchedJobs(self._changed))
        self._number = 0

    @property
    def changes(self) -> int:
        """How many changes there were so far."""
        return self._changed.count

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        is_new = await super().create_queue(name)
        if is_new:
            self._changed.add(QUEUE + name)
        return is_new

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        await super().set_paused(queue, paused=paused)
        self._changed.add(QUEUE + queue)

    def take_changes(self) -> dict[str, bytes | None]:
        """Return the records that have changed since they were taken last, None for what is gone."""
        return {key: self._record(key) for key in self._changed.take()}

    def give_back(self, keys: Iterable[str]) -> None:
        """Hear that these records were taken in vain."""
        self._changed.give_back(keys)

    def restore(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Take up, while empty, what the records of another one say; raises GotaskqError for what is no record."""
        jobs: list[JobRecord] = []
        for key, record in records:
            try:
                if key.startswith(JOB):
                    jobs.append(msgspec.json.decode(record, type=JobRecord))
                else:
                    self._restore_queue(key.removeprefix(QUEUE), msgspec.json.decode(record, type=QueueRecord))
            except msgspec.MsgspecError as error:
                raise GotaskqError(f"the journal's record {key!r} is none of ours: {error}") from error
        jobs.sort(key=lambda kept: kept.number)
        for kept in jobs:
            self._restore_job(kept.job)
            self._number = kept.number
        for job_id in sorted(self._jobs):
            self._listing.add_newest(job_id)
        # What is too much for the limits of today is gone, and that is a change; all else stands as it is recorded.
        self._changed.give_back([key for key in self._changed.take() if key.startswith(JOB) and self._job(key) is None])

    def _record(self, key: str) -> bytes | None:
        if not key.startswith(JOB):
            return msgspec.json.encode(QueueRecord(self._queues[key.removeprefix(QUEUE)].is_paused))
        job = self._job(key)
        if job is None:
            return None
        self._number += 1
        return msgspec.json.encode(JobRecord(self._number, job))

    def _job(self, key: str) -> Job | None:
        return self._jobs.get(JobId(int(key.removeprefix(JOB))))

    def _restore_queue(self, name: str, kept: QueueRecord) -> None:
        queue = self._queues[name] = self._new_queue(name)
        queue.is_paused = kept.is_paused

    def _restore_job(self, job: Job) -> None:
        """File a job as if it had run until now; where it still does, nobody holds it, and the next reap takes it."""
        if job.timeouts == NO_TIMEOUTS:
            job = replace(job, timeouts=NO_TIMEOUTS)  # it is known by its identity
        # Requests are not recorded, so one that comes again after a restart is new; what a job alone tells is kept.
        job = replace(job, keys=Keys(job.unique_key) if job.unique_key else NO_KEYS)
        self._latest_ms = max(self._latest_ms, job.updated_at_ms)
        self._jobs[job.id] = job
        self._deadlines[job.id] = LAPSED_MS
        if job.queue not in self._queues:  # the default one has a record only where it was paused once
            self._restore_queue(job.queue, QueueRecord(is_paused=False))
        if job.status not in FINAL:
            self._keys.take_again(job)
        self._queues[job.queue].running += 1
        if job.status is not RUNNING:
            self._leave_running(job)


class _Changes:
    """The keys of what has changed, in the order of each one's last change."""

    def __init__(self) -> None:
        self.count = 0
        self._keys: dict[str, None] = {}

    def add(self, key: str) -> None:
        self._keys.pop(key, None)
        self._keys[key] = None
        self.count += 1

    def take(self) -> list[str]:
        keys = list(self._keys)
        self._keys.clear()
        return keys

    def give_back(self, keys: Iterable[str]) -> None:
        # What has changed since then has its place behind them.
        self._keys = {**{key: None for key in keys if key not in self._keys}, **self._keys}


class _WatchedJobs(dict[JobId, Job]):
    """The jobs by id; what is put in or taken out is a change."""

    def __init__(self, changed: _Changes) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, job_id: JobId, job: Job) -> None:
        if self.get(job_id) is not job:
            super().__setitem__(job_id, job)
            self._changed.add(f"{JOB}{job_id}")

    def __delitem__(self, job_id: JobId) -> None:
        super().__delitem__(job_id)
        self._changed.add(f"{JOB}{job_id}")
