"""Until when jobs that have ended are kept whose queues have a time of their own for them.

Used beside the order of their end, which decides who goes where there are too many.
Invariant: a job is in here from its end until it is forgotten or runs again, whatever becomes of the rule.
"""

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from gotaskq.job import Job, JobId
from gotaskq.queue_rules import QueueRules

SLACK: Final = 1_000  # entries of jobs that have left by other ways; fewer are not worth a rebuild


class OwnTimes:
    """Instants by job, and the order in which they come."""

    def __init__(self, rules: Mapping[str, QueueRules], ttl_ms: Callable[[QueueRules], int | None]) -> None:
        """Go by these rules, of which `ttl_ms` tells how long jobs are kept."""
        self._rules = rules
        self._ttl_ms = ttl_ms
        self._until_ms: dict[JobId, int] = {}
        self._order: list[tuple[int, JobId]] = []

    def __contains__(self, job_id: JobId) -> bool:
        return job_id in self._until_ms

    def add(self, job: Job, *, ended_at_ms: int) -> bool:
        """Keep a job that has ended for as long as its queue says; False where it says nothing."""
        rules = self._rules.get(job.queue)
        ttl_ms = None if rules is None else self._ttl_ms(rules)
        if ttl_ms is None:
            return False
        until_ms = self._until_ms[job.id] = ended_at_ms + ttl_ms
        heappush(self._order, (until_ms, job.id))
        return True

    def remove(self, job_id: JobId) -> None:
        """Hear that a job is gone, or runs again."""
        if self._until_ms.pop(job_id, None) is not None and len(self._order) > 2 * len(self._until_ms) + SLACK:
            self._order = [(until_ms, job_id) for job_id, until_ms in self._until_ms.items()]
            heapify(self._order)

    def pop_due(self, *, now_ms: int, limit: int) -> list[JobId]:
        """Take out at most `limit` jobs that are not kept any longer, the first to go first."""
        due: list[JobId] = []
        while len(due) < limit and self._order and self._order[0][0] <= now_ms:
            until_ms, job_id = heappop(self._order)
            if self._until_ms.get(job_id) == until_ms:  # else it has left, and perhaps come back
                del self._until_ms[job_id]
                due.append(job_id)
        return due
