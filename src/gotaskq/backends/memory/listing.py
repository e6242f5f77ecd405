"""The jobs in the order of their ids, to list them: the newest first, a bounded number looked at in a call."""

from bisect import bisect_left
from typing import Final

from gotaskq.backend import PAGE_BYTES, JobQuery, Page, weight_of
from gotaskq.backends.memory.ended import DeadJobs
from gotaskq.errors import InvalidRequestError
from gotaskq.job import DEAD, Job, JobId

LISTING_SCAN: Final = 10_000  # jobs one listing call looks at, so that it never holds the loop for long
PAYLOAD_SCAN_BYTES: Final = 4 << 20  # of payloads it looks into; decoding them takes longest
MAX_CURSOR_DIGITS: Final = 20
COMPACT_SLACK: Final = 1_000  # gaps in the order of ids that are not worth a rebuild


class Listing:
    """The ids of a store's jobs, ascending, with gaps where jobs were deleted."""

    def __init__(self, jobs: dict[JobId, Job], dead: DeadJobs) -> None:
        self._jobs = jobs
        self._dead = dead
        self._ids: list[JobId] = []
        self._newest_id = JobId(0)

    def add_newest(self, job_id: JobId) -> bool:
        """Add an id if it is newer than all before it; ids nearly always are."""
        if job_id <= self._newest_id:
            return False
        self._newest_id = job_id
        self._ids.append(job_id)
        return True

    def insert(self, job_id: JobId) -> None:
        """Give an id its place that is not the newest."""
        place = bisect_left(self._ids, job_id)
        if place == len(self._ids) or self._ids[place] != job_id:
            self._ids.insert(place, job_id)

    def drop_gaps(self) -> None:
        """Forget ids of jobs that are gone, where that is cheap or worth it."""
        # Jobs mostly go in the order they came, so most gaps are at the beginning; a rebuild holds the loop for longer.
        is_there = self._jobs.__contains__
        oldest = next(filter(is_there, self._ids), None)
        del self._ids[: len(self._ids) if oldest is None else bisect_left(self._ids, oldest)]
        if len(self._ids) > 2 * len(self._jobs) + COMPACT_SLACK:
            self._ids = list(filter(is_there, self._ids))

    def page(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """Return the jobs behind the cursor that the query admits, at most `limit`; raises InvalidRequestError."""
        before = None if after is None else _cursor(after)
        if query.status is DEAD:
            return self._page_of_dead(query, before=before, limit=limit)
        first = bisect_left(self._ids, query.lowest_id)
        beyond = query.beyond_id if before is None else min(before, query.beyond_id)
        end = max(first, bisect_left(self._ids, beyond))
        stop = max(first, end - LISTING_SCAN)
        found: list[Job] = []
        weight = looked_into = 0
        for place in range(end - 1, stop - 1, -1):
            job = self._jobs.get(self._ids[place])
            if job is None:
                continue
            if query.admits(job):
                found.append(job)
                weight += weight_of(job)
            if query.payload:
                looked_into += len(job.payload_json)
            if len(found) == limit or weight > PAGE_BYTES or looked_into > PAYLOAD_SCAN_BYTES:
                stop = place
                break
        return Page(found, str(self._ids[stop]) if stop > first else None)

    def _page_of_dead(self, query: JobQuery, *, before: int | None, limit: int) -> Page:
        # At most max_dead_jobs are dead, so a walk from the latest is bounded.
        found: list[Job] = []
        last = weight = 0
        for death, job in self._dead.latest_first(before=before):
            if query.admits(job):
                if len(found) == limit or weight > PAGE_BYTES:
                    return Page(found, str(last))
                found.append(job)
                weight += weight_of(job)
                last = death
        return Page(found, None)


def _cursor(after: str) -> int:
    if not after.isascii() or not after.isdigit() or len(after) > MAX_CURSOR_DIGITS:
        raise InvalidRequestError("cursor must be one that a listing answered with", field="cursor")
    return int(after)
