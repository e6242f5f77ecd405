"""One queue's waiting jobs: those that are due in order of rank, and a heap of those that are not yet.

An entry is one integer, the sort key shifted over the id: half the size of a tuple, and compared twice as fast
(benchmarks/questions/memory_per_job.py). Entries of jobs that were cancelled or have another place now stay until they
come up or are compacted; a job that comes back to such a place finds its entry there.
Invariant: an entry's job is PENDING and stands there, or the entry is among the stale ones. No entry is there twice.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Final

from gotaskq.backend import QueueCounts, Standing
from gotaskq.backends.memory.ready import ID_BITS, ReadyEntries
from gotaskq.job import Job, JobId
from gotaskq.token_bucket import TokenBucket

ID_MASK: Final = (1 << ID_BITS) - 1
COMPACT_SLACK: Final = 1_000  # stale entries that are not worth a rebuild
PROMOTE_AT_ONCE: Final = 1_000  # due jobs a look at the oldest one promotes
LOOK_AT: Final = 10_000  # entries looked at to find a job's place: a millisecond


class WaitingQueue:
    """The entries, and how many of the queue's jobs are where; the counts leave stale entries out."""

    __slots__ = (
        *("_ready", "_scheduled", "_stale_ready", "_stale_scheduled"),
        *("dead", "is_paused", "max_depth", "name", "rate", "ready", "running", "scheduled"),
    )

    def __init__(self, name: str, *, max_depth: int) -> None:
        self.name = name
        self.max_depth = max_depth
        self.rate: TokenBucket | None = None
        self._stale_ready: set[int] = set()
        self._stale_scheduled: set[int] = set()
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
        entry = job.rank << ID_BITS | job.id
        if self._stale_ready and entry in self._stale_ready:
            self._stale_ready.remove(entry)
        else:
            self._ready.push(entry)
        self.ready += 1

    def push_scheduled(self, job: Job) -> bool:
        """Add a job that is not due yet; say whether it may be the next to be due."""
        entry = job.run_after_ms << ID_BITS | job.id
        if entry in self._stale_scheduled:
            self._stale_scheduled.remove(entry)
        else:
            heappush(self._scheduled, entry)
        self.scheduled += 1
        return self._scheduled[0] == entry or self.scheduled == 1  # what is before the only one is stale

    def pop_ready(self, jobs: Mapping[JobId, Job], *, limit: int) -> list[Job]:
        """Take at most `limit` due jobs to run them, the lowest rank first."""
        popped: list[Job] = []
        limit = min(limit, self.ready)
        while len(popped) < limit:
            for entry in self._ready.pop(limit - len(popped)):
                if self._stale_ready and entry in self._stale_ready:
                    self._stale_ready.remove(entry)
                    continue
                job_id: Any = entry & ID_MASK  # JobId(…) would be a call, for each job
                popped.append(jobs[job_id])
        self.ready -= len(popped)
        self.running += len(popped)
        return popped

    def age_ms(self, jobs: Mapping[JobId, Job], *, now_ms: int) -> int:
        """Return for how long the job that has waited longest has been due, of those next in each priority."""
        self.promote(jobs, now_ms=now_ms, limit=PROMOTE_AT_ONCE)
        heads = self._ready.heads(lambda entry: _is_stale(entry, self._stale_ready))
        return max((now_ms - jobs[JobId(entry & ID_MASK)].run_after_ms for entry in heads), default=0)

    def purge(self, *, limit: int) -> list[JobId]:
        """Drop at most `limit` waiting jobs, those that are due first; return their ids."""
        purged: list[JobId] = []
        while self.ready and len(purged) < limit:
            for entry in self._ready.pop(min(self.ready, limit - len(purged))):
                if not _is_stale(entry, self._stale_ready):
                    self.ready -= 1
                    purged.append(JobId(entry & ID_MASK))
        while self.scheduled and len(purged) < limit:
            entry = heappop(self._scheduled)
            if not _is_stale(entry, self._stale_scheduled):
                self.scheduled -= 1
                purged.append(JobId(entry & ID_MASK))
        return purged

    def promote(self, jobs: Mapping[JobId, Job], *, now_ms: int, limit: int) -> int:
        """Move at most `limit` jobs that are due by now to the ready ones; return how many."""
        promoted = 0
        while promoted < limit and self._scheduled and self._scheduled[0] >> ID_BITS <= now_ms:
            entry = heappop(self._scheduled)
            if entry in self._stale_scheduled:
                self._stale_scheduled.remove(entry)
            else:
                self.push_ready(jobs[JobId(entry & ID_MASK)])
                self.scheduled -= 1
                promoted += 1
        return promoted

    def promote_all(self, jobs: Mapping[JobId, Job], *, now_ms: int) -> None:
        """Move every job that is due by now to the ready ones."""
        self.promote(jobs, now_ms=now_ms, limit=len(self._scheduled))

    def take_out(self, job: Job, *, now_ms: int) -> None:
        """Count a waiting job out and leave its entry, as finding it would cost a search; `promote_all` comes first."""
        if job.run_after_ms > now_ms:
            self._stale_scheduled.add(job.run_after_ms << ID_BITS | job.id)
            self.scheduled -= 1
        else:
            self._stale_ready.add(job.rank << ID_BITS | job.id)
            self.ready -= 1

    def standing(self, job: Job, jobs: Mapping[JobId, Job], *, now_ms: int) -> Standing:
        """Return how many jobs go before one, if it is due; others may be due and have no place yet."""
        if job.run_after_ms > now_ms:
            return Standing()
        self.promote(jobs, now_ms=now_ms, limit=LOOK_AT)
        entry = job.rank << ID_BITS | job.id
        before, is_exact = self._ready.count_before(entry, look_at=LOOK_AT)
        step = len(self._stale_ready) // LOOK_AT + 1
        before -= step * sum(stale < entry for stale in islice(self._stale_ready, None, None, step))
        has_unpromoted = self.scheduled > 0 and self._scheduled[0] >> ID_BITS <= now_ms
        return Standing(ahead=max(before, 0), is_exact=is_exact and step == 1 and not has_unpromoted)

    def compact(self) -> None:
        """Drop stale entries, once they are the larger part."""
        stale = len(self._stale_ready) + len(self._stale_scheduled)
        if stale > self.ready + self.scheduled + COMPACT_SLACK:
            self._ready.keep(lambda entry: entry not in self._stale_ready)
            self._scheduled = [entry for entry in self._scheduled if entry not in self._stale_scheduled]
            heapify(self._scheduled)
            self._stale_ready.clear()
            self._stale_scheduled.clear()

    def counts(self) -> QueueCounts:
        """Return the counts as they are now."""
        return QueueCounts(
            ready=self.ready,
            scheduled=self.scheduled,
            running=self.running,
            dead=self.dead,
            is_paused=self.is_paused,
        )


def _is_stale(entry: int, stale: set[int]) -> bool:
    """Say whether an entry that came up is stale; it is gone then."""
    if entry not in stale:
        return False
    stale.remove(entry)
    return True
