"""Jobs that have ended, in the order they did, until their retention is over.

Invariant: a job filed here holds no unique key any more.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

from gotaskq.backends.memory.keys import KeyRing
from gotaskq.job import Job, JobId
from gotaskq.keys import NO_KEYS


class FinishedJobs:
    """DONE and CANCELLED jobs: forgotten by age, and the oldest first where there are too many."""

    def __init__(self, jobs: dict[JobId, Job], keys: KeyRing, *, max_count: int, ttl_ms: int) -> None:
        self._jobs = jobs
        self._keys = keys
        self._max_count = max_count
        self._ttl_ms = ttl_ms
        self._order: deque[JobId] = deque()
        # Entries of jobs that were deleted: left in place, as finding them would cost a search.
        self._stale: Counter[JobId] = Counter()
        self._stale_count = 0

    def add(self, job: Job) -> None:
        """Remember that a job has ended."""
        if job.keys is not NO_KEYS:
            self._keys.let_go(job)
        self._order.append(job.id)
        if len(self._order) > self._max_count:
            self._make_room()

    def remove(self, job_id: JobId) -> None:
        """Forget that a job has ended."""
        self._stale[job_id] += 1
        self._stale_count += 1

    def prune(self, *, now_ms: int, limit: int) -> int:
        """Forget at most `limit` jobs that ended longer ago than the retention time; return how many."""
        pruned = 0
        while pruned < limit and (oldest := self._oldest()) is not None:
            if ended_at_ms(self._jobs[oldest]) > now_ms - self._ttl_ms:
                break
            del self._jobs[self._order.popleft()]
            pruned += 1
        return pruned

    def _make_room(self) -> None:
        while len(self._order) - self._stale_count > self._max_count and self._oldest() is not None:
            del self._jobs[self._order.popleft()]

    def _oldest(self) -> JobId | None:
        """Return the job that ended first, dropping stale entries before it."""
        while self._order and self._order[0] in self._stale:
            job_id = self._order.popleft()
            self._stale[job_id] -= 1
            self._stale_count -= 1
            if not self._stale[job_id]:
                del self._stale[job_id]
        return self._order[0] if self._order else None


class DeadJobs:
    """DEAD jobs by the number of their death, which orders those that died in one millisecond."""

    def __init__(self, keys: KeyRing, *, max_count: int, ttl_ms: int) -> None:
        self._keys = keys
        self._max_count = max_count
        self._ttl_ms = ttl_ms
        self._deaths = 0
        self._jobs: OrderedDict[JobId, tuple[int, Job]] = OrderedDict()

    def __contains__(self, job_id: JobId) -> bool:
        return job_id in self._jobs

    def add(self, job: Job) -> Job | None:
        """Remember a death; return the oldest dead job when it has to make room."""
        self._keys.let_go(job)
        self._deaths += 1
        self._jobs[job.id] = (self._deaths, job)
        if len(self._jobs) > self._max_count:
            return self._jobs.popitem(last=False)[1][1]
        return None

    def remove(self, job_id: JobId) -> Job:
        """Forget a death and return its job."""
        return self._jobs.pop(job_id)[1]

    def expired(self, *, now_ms: int, limit: int) -> list[Job]:
        """Return at most `limit` jobs that have been dead for longer than the retention time."""
        found: list[Job] = []
        for _, job in self._jobs.values():
            if len(found) == limit or ended_at_ms(job) > now_ms - self._ttl_ms:
                break
            found.append(job)
        return found

    def latest_first(self, *, before: int | None) -> Iterator[tuple[int, Job]]:
        """Yield the dead, the latest death first, from behind the death numbered `before`."""
        for death, job in reversed(self._jobs.values()):
            if before is None or death < before:
                yield death, job


def ended_at_ms(job: Job) -> int:
    """Return when the job ended."""
    return job.finished_at_ms if job.finished_at_ms is not None else job.updated_at_ms
