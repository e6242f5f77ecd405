"""One queue's waiting jobs: those that are due in order of rank, and a heap of those that are not yet.

An entry is one integer, the sort key shifted over the id: half the size of a tuple, and compared twice as fast
(benchmarks/questions/memory_per_job.py). Entries of jobs that were cancelled stay until they come up or are compacted.
Invariant: an entry's job is PENDING, or its id is among the stale ones, which the queues of a store share.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Any, Final

from gotaskq.backend import QueueCounts
from gotaskq.backends.memory.ready import ID_BITS, ReadyEntries
from gotaskq.job import Job, JobId

ID_MASK: Final = (1 << ID_BITS) - 1
COMPACT_SLACK: Final = 1_000  # stale entries that are not worth a rebuild
PROMOTE_AT_ONCE: Final = 1_000  # due jobs a look at the oldest one promotes


class WaitingQueue:
    """The entries, and how many of the queue's jobs are where; the counts leave stale entries out."""

    __slots__ = (
        "_ready",
        "_scheduled",
        "_stale",
        "dead",
        "is_paused",
        "max_depth",
        "name",
        "ready",
        "running",
        "scheduled",
    )

    def __init__(self, name: str, *, stale: set[JobId], max_depth: int) -> None:
        self.name = name
        self.max_depth = max_depth
        self._stale = stale
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
        limit = min(limit, self.ready)
        while len(popped) < limit:
            for entry in self._ready.pop(limit - len(popped)):
                job_id: Any = entry & ID_MASK  # JobId(…) would be a call, for each job
                if not self._stale or not self._is_stale(job_id):
                    popped.append(jobs[job_id])
        self.ready -= len(popped)
        self.running += len(popped)
        return popped

    def age_ms(self, jobs: Mapping[JobId, Job], *, now_ms: int) -> int:
        """Return for how long the job that has waited longest has been due, of those next in each priority."""
        self.promote(jobs, now_ms=now_ms, limit=PROMOTE_AT_ONCE)
        heads = self._ready.heads(lambda entry: self._is_stale(JobId(entry & ID_MASK)))
        return max((now_ms - jobs[JobId(entry & ID_MASK)].run_after_ms for entry in heads), default=0)

    def purge(self, *, limit: int) -> list[JobId]:
        """Drop at most `limit` waiting jobs, those that are due first; return their ids."""
        purged: list[JobId] = []
        while self.ready and len(purged) < limit:
            for entry in self._ready.pop(min(self.ready, limit - len(purged))):
                if not self._is_stale(job_id := JobId(entry & ID_MASK)):
                    self.ready -= 1
                    purged.append(job_id)
        while self.scheduled and len(purged) < limit:
            if not self._is_stale(job_id := JobId(heappop(self._scheduled) & ID_MASK)):
                self.scheduled -= 1
                purged.append(job_id)
        return purged

    def promote(self, jobs: Mapping[JobId, Job], *, now_ms: int, limit: int) -> int:
        """Move at most `limit` jobs that are due by now to the ready ones; return how many."""
        promoted = 0
        while promoted < limit and self._scheduled and self._scheduled[0] >> ID_BITS <= now_ms:
            job_id = JobId(heappop(self._scheduled) & ID_MASK)
            if not self._is_stale(job_id):
                self.push_ready(jobs[job_id])
                self.scheduled -= 1
                promoted += 1
        return promoted

    def promote_all(self, jobs: Mapping[JobId, Job], *, now_ms: int) -> None:
        """Move every job that is due by now to the ready ones."""
        self.promote(jobs, now_ms=now_ms, limit=len(self._scheduled))

    def cancel(self, job: Job, *, now_ms: int) -> None:
        """Count a waiting job out and leave its entry, as finding it would cost a search; `promote_all` comes first."""
        self._stale.add(job.id)
        if job.run_after_ms > now_ms:
            self.scheduled -= 1
        else:
            self.ready -= 1

    def drop_stale(self, job_ids: AbstractSet[int]) -> None:
        """Drop the entries of these jobs, which are stale."""
        self._ready.keep(lambda entry: entry & ID_MASK not in job_ids)
        self._scheduled = [entry for entry in self._scheduled if entry & ID_MASK not in job_ids]
        heapify(self._scheduled)

    def compact(self) -> None:
        """Drop stale entries, once they are the larger part."""
        entries = len(self._ready) + len(self._scheduled)
        if entries > 2 * (self.ready + self.scheduled) + COMPACT_SLACK:
            stale = {job_id for job_id in self._entry_ids() if job_id in self._stale}
            self.drop_stale(stale)
            self._stale -= stale

    def _entry_ids(self) -> Iterator[JobId]:
        return (JobId(entry & ID_MASK) for entry in chain(self._ready, self._scheduled))

    def _is_stale(self, job_id: JobId) -> bool:
        """Say whether an entry that came up is stale; it is gone then."""
        if job_id not in self._stale:
            return False
        self._stale.remove(job_id)
        return True

    def counts(self) -> QueueCounts:
        """Return the counts as they are now."""
        return QueueCounts(
            ready=self.ready,
            scheduled=self.scheduled,
            running=self.running,
            dead=self.dead,
            is_paused=self.is_paused,
        )
