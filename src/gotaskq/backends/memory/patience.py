"""Until when waiting jobs may wait: those that have a schedule timeout.

Invariant: a job that does not wait has no deadline here; entries of those that had stay in the heap until they come up
or are the larger part of it.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from gotaskq.job import Job, JobId

ID_BITS: Final = 63  # an entry is expires_at_ms << ID_BITS | id
ID_MASK: Final = (1 << ID_BITS) - 1
COMPACT_SLACK: Final = 1_000  # stale entries that are not worth a rebuild


class Patience:
    """Deadlines by which waiting jobs must start."""

    def __init__(self) -> None:
        self._deadlines: dict[JobId, int] = {}
        self._heap: list[int] = []

    def watch(self, job: Job) -> None:
        """Remember until when a job that waits from now on may do so, if there is such an instant."""
        expires_at_ms = job.expires_at_ms
        if expires_at_ms is not None:
            self._deadlines[job.id] = expires_at_ms
            heappush(self._heap, expires_at_ms << ID_BITS | job.id)

    def forget(self, job_id: JobId) -> None:
        """Hear that a job waits no more."""
        self._deadlines.pop(job_id, None)
        if len(self._heap) > 2 * len(self._deadlines) + COMPACT_SLACK:
            self._heap = [at_ms << ID_BITS | waiting_id for waiting_id, at_ms in self._deadlines.items()]
            heapify(self._heap)

    def pop_expired(self, *, now_ms: int, limit: int) -> Iterator[JobId]:
        """Forget and yield at most `limit` of those whose instant is past."""
        while limit > 0 and self._heap and self._heap[0] >> ID_BITS < now_ms:
            entry = heappop(self._heap)
            job_id = JobId(entry & ID_MASK)
            if self._deadlines.get(job_id) == entry >> ID_BITS:
                del self._deadlines[job_id]
                limit -= 1
                yield job_id
