"""One queue's waiting jobs: those that are due in order of rank, and a heap of those that are not yet.

An entry is one integer, the sort key shifted over the id: half the size of a tuple, and compared twice as fast
(benchmarks/questions/memory_per_job.py). Entries of jobs that were cancelled stay until they come up or are compacted.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from gotaskq.backend import QueueCounts
from gotaskq.backends.memory.ready import ID_BITS, ReadyEntries
from gotaskq.job import PENDING, Job, JobId

ID_MASK: Final = (1 << ID_BITS) - 1
COMPACT_SLACK: Final = 1_000  # stale entries that are not worth a rebuild


class WaitingQueue:
    """The entries, and how many of the queue's jobs are where; the counts leave stale entries out."""

    __slots__ = ("_ready", "_scheduled", "dead", "is_paused", "name", "ready", "running", "scheduled")

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready = ReadyEntries()  # rank << 63 | id
        self._scheduled: list[int] = []  # run_after_ms << 63 | id
        self.ready = 0
        self.scheduled = 0
        self.running = 0
        self.dead = 0
        self.is_paused = False

    @property
    def has_work(self) -> bool:
        """Whether jobs wait that may be given out, due or not."""
        return (self.ready > 0 or self.scheduled > 0) and not self.is_paused

    @property
    def next_due_ms(self) -> int | None:
        """When the next scheduled job is due; None when there is none."""
        return self._scheduled[0] >> ID_BITS if self.scheduled else None

    def push_ready(self, job: Job) -> None:
        """Add a job that is due."""
        self._ready.push(job.rank << ID_BITS | job.id)
        self.ready += 1

    def push_scheduled(self, job: Job) -> bool:
        """Add a job that is not due yet; say whether it may be the next to be due."""
        key = job.run_after_ms << ID_BITS | job.id
        heappush(self._scheduled, key)
        self.scheduled += 1
        return self._scheduled[0] == key or self.scheduled == 1  # what is before the only one is stale

    def pop_ready(self, jobs: Mapping[JobId, Job], *, limit: int) -> list[Job]:
        """Take at most `limit` due jobs to run them, the lowest rank first."""
        popped: list[Job] = []
        while self.ready and len(popped) < limit:
            for key in self._ready.pop(limit - len(popped)):
                job = jobs.get(key & ID_MASK)  # type: ignore[call-overload]  # a NewType costs a call, for each job
                if job is not None and job.status is PENDING:
                    popped.append(job)
                    self.ready -= 1
        self.running += len(popped)
        return popped

    def promote(self, jobs: Mapping[JobId, Job], *, now_ms: int, limit: int) -> int:
        """Move at most `limit` jobs that are due by now to the ready ones; return how many."""
        promoted = 0
        while promoted < limit and self._scheduled and self._scheduled[0] >> ID_BITS <= now_ms:
            job = jobs.get(JobId(heappop(self._scheduled) & ID_MASK))
            if job is not None and job.status is PENDING:
                self.push_ready(job)
                self.scheduled -= 1
                promoted += 1
        return promoted

    def promote_all(self, jobs: Mapping[JobId, Job], *, now_ms: int) -> None:
        """Move every job that is due by now to the ready ones."""
        self.promote(jobs, now_ms=now_ms, limit=len(self._scheduled))

    def discard(self, job_id: JobId) -> None:
        """Drop the stale entries of a job that was deleted, because its id comes back."""
        self._ready.keep(lambda key: key & ID_MASK != job_id)
        if any(key & ID_MASK == job_id for key in self._scheduled):
            self._scheduled = [key for key in self._scheduled if key & ID_MASK != job_id]
            heapify(self._scheduled)

    def compact(self, jobs: Mapping[JobId, Job]) -> None:
        """Drop stale entries, once they are the larger part."""

        def is_live(key: int) -> bool:
            job = jobs.get(JobId(key & ID_MASK))
            return job is not None and job.status is PENDING

        if len(self._ready) > 2 * self.ready + COMPACT_SLACK:
            self._ready.keep(is_live)
        if len(self._scheduled) > 2 * self.scheduled + COMPACT_SLACK:
            self._scheduled = list(filter(is_live, self._scheduled))
            heapify(self._scheduled)

    def counts(self) -> QueueCounts:
        """Return the counts as they are now."""
        return QueueCounts(
            ready=self.ready,
            scheduled=self.scheduled,
            running=self.running,
            dead=self.dead,
            is_paused=self.is_paused,
        )
