"""Jobs that have ended, in the order they did, until their retention is over.

Invariant: a job filed here holds no unique key any more.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping

from gotaskq.backends.memory.keys import KeyRing
from gotaskq.backends.memory.own_times import OwnTimes
from gotaskq.job import Job, JobId
from gotaskq.keys import NO_KEYS
from gotaskq.queue_rules import QueueRules


class FinishedJobs:
    """DONE and CANCELLED jobs: forgotten by age, and the oldest first where there are too many."""

    def __init__(
        self,
        jobs: dict[JobId, Job],
        keys: KeyRing,
        rules: Mapping[str, QueueRules],
        *,
        max_count: int,
        ttl_ms: int,
    ) -> None:
        self._jobs = jobs
        self._keys = keys
        self._rules = rules
        self._room = max_count  # for those in order; what was passed over has its place beside them
        self._ttl_ms = ttl_ms
        self._own_times = OwnTimes(rules, lambda one: one.complete_job_ttl_ms)
        # Those that were old enough to go, but for the time of their queue: they ended before all that are in order.
        self._passed: OrderedDict[JobId, None] = OrderedDict()
        self._order: deque[JobId] = deque()
        # Entries of jobs that were deleted: left in place, as finding them would cost a search.
        self._stale: Counter[JobId] = Counter()
        self._stale_count = 0

    def add(self, job: Job) -> None:
        """Remember that a job has ended."""
        if job.keys is not NO_KEYS:
            self._keys.let_go(job)
        if self._rules:
            self._own_times.add(job, ended_at_ms=ended_at_ms(job))
        self._order.append(job.id)
        if len(self._order) > self._room:
            self._make_room()

    def remove(self, job_id: JobId) -> None:
        """Forget that a job has ended."""
        self._own_times.remove(job_id)
        if job_id in self._passed:
            del self._passed[job_id]
            self._room += 1
        else:
            self._stale[job_id] += 1
            self._stale_count += 1

    def prune(self, *, now_ms: int, limit: int) -> int:
        """Forget at most `limit` jobs that ended longer ago than the retention time; return how many."""
        due = self._own_times.pop_due(now_ms=now_ms, limit=limit)
        for job_id in due:
            self.remove(job_id)
            del self._jobs[job_id]
        pruned = len(due)
        while pruned < limit and (oldest := self._oldest()) is not None:
            if ended_at_ms(self._jobs[oldest]) > now_ms - self._ttl_ms:
                break
            self._order.popleft()
            if oldest in self._own_times:
                self._passed[oldest] = None
                self._room -= 1
            else:
                del self._jobs[oldest]
                pruned += 1
        return pruned

    def _make_room(self) -> None:
        while len(self._order) - self._stale_count > self._room and (job_id := self._pop_oldest()) is not None:
            self._own_times.remove(job_id)
            del self._jobs[job_id]

    def _pop_oldest(self) -> JobId | None:
        if self._passed:
            self._room += 1
            return self._passed.popitem(last=False)[0]
        return None if self._oldest() is None else self._order.popleft()

    def _oldest(self) -> JobId | None:
        """Return the job in order that ended first, dropping stale entries before it."""
        while self._order and self._order[0] in self._stale:
            job_id = self._order.popleft()
            self._stale[job_id] -= 1
            self._stale_count -= 1
            if not self._stale[job_id]:
                del self._stale[job_id]
        return self._order[0] if self._order else None


class DeadJobs:
    """DEAD jobs by the number of their death, which orders those that died in one millisecond."""

    def __init__(self, keys: KeyRing, rules: Mapping[str, QueueRules], *, max_count: int, ttl_ms: int) -> None:
        self._keys = keys
        self._max_count = max_count
        self._ttl_ms = ttl_ms
        self._own_times = OwnTimes(rules, lambda one: one.dead_job_ttl_ms)
        self._plain: OrderedDict[JobId, None] = OrderedDict()  # those that have no time of their queue's own
        self._deaths = 0
        self._jobs: OrderedDict[JobId, tuple[int, Job]] = OrderedDict()

    def __contains__(self, job_id: JobId) -> bool:
        return job_id in self._jobs

    def add(self, job: Job) -> Job | None:
        """Remember a death; return the oldest dead job when it has to make room."""
        self._keys.let_go(job)
        self._deaths += 1
        self._jobs[job.id] = (self._deaths, job)
        if not self._own_times.add(job, ended_at_ms=ended_at_ms(job)):
            self._plain[job.id] = None
        return self.remove(next(iter(self._jobs))) if len(self._jobs) > self._max_count else None

    def remove(self, job_id: JobId) -> Job:
        """Forget a death and return its job."""
        self._own_times.remove(job_id)
        self._plain.pop(job_id, None)
        return self._jobs.pop(job_id)[1]

    def expired(self, *, now_ms: int, limit: int) -> list[Job]:
        """Return at most `limit` jobs that have been dead for longer than the retention time."""
        found = [self._jobs[job_id][1] for job_id in self._own_times.pop_due(now_ms=now_ms, limit=limit)]
        for job_id in self._plain:
            job = self._jobs[job_id][1]
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
