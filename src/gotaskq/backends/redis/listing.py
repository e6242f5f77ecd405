"""Looking at jobs: one by its id, or many in order, a bounded number a call."""

import heapq
from typing import Any, Final

from gotaskq.backend import PAGE_BYTES, JobQuery, Page, Standing, weight_of
from gotaskq.backends.redis.codec import decode_job, rows_of
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.keys import ID_DIGITS, member
from gotaskq.backends.redis.scripts import Script
from gotaskq.errors import InvalidRequestError
from gotaskq.job import DEAD, Job, JobId
from gotaskq.snowflake import partition_of

PAGE_SCAN: Final = 1_000  # jobs a call looks at before it hands out the page as it is, with a cursor
CHUNK: Final = 100
CHUNK_BYTES: Final = 4 << 20  # so that a hundred of the largest payloads do not hold the server for a moment

Place = int  # an id, or of the dead the stamp of their death


class Listing:
    """The store's jobs in order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        if job_id >= 1 << 63:
            return None
        [row] = rows_of(await self._run(Script.GET, partition_of(job_id), member(job_id)))
        return decode_job(row)

    async def standing(self, job: Job, *, partitions: int) -> Standing:
        """Return where a job stands: exactly in one partition, and where there are more, as their ranks compare."""
        place = (member(job.id), job.queue, job.rank, job.run_after_ms)
        ahead = unplaced = 0
        for partition in range(partitions):
            before, due, lease_left_ms = await self._run(Script.STANDING, partition, *place)
            if lease_left_ms != b"":
                return Standing(lease_left_ms=lease_left_ms)
            if before < 0:
                return Standing()
            ahead, unplaced = ahead + before, unplaced + due
        return Standing(ahead=ahead, is_exact=partitions == 1 and not unplaced)

    async def page(self, query: JobQuery, *, after: str | None, limit: int, partitions: int) -> Page:
        """Return the jobs behind the cursor that the query admits, at most `limit`; raises InvalidRequestError."""
        before = None if after is None else _cursor(after)
        if query.until_ms is not None and query.status is not DEAD:
            before = query.beyond_id if before is None else min(before, query.beyond_id)
        found: list[Job] = []
        weight = 0
        for _ in range(PAGE_SCAN // CHUNK):
            chunk, is_last = await self._chunk(query, before, partitions)
            for place, job in chunk:
                before = place
                if job is not None and query.admits(job):
                    found.append(job)
                    weight += weight_of(job)
                    if len(found) == limit or weight > PAGE_BYTES:
                        return Page(found, str(place))
            if is_last:
                return Page(found, None)
        return Page(found, str(before))

    async def _chunk(
        self, query: JobQuery, before: Place | None, partitions: int
    ) -> tuple[list[tuple[Place, Job | None]], bool]:
        """Return the next jobs of all partitions, in order, at most CHUNK, and whether none is left behind them."""
        is_dead = query.status is DEAD
        start = "" if before is None else str(before).zfill(ID_DIGITS)
        lowest = member(query.lowest_id) if query.since_ms is not None and not is_dead else ""
        lines: list[list[tuple[Place, Job | None]]] = []
        known_to = 0  # down to here we have seen every partition: below may be one that we have not read yet
        for partition in range(partitions):
            is_cut, *reply = await self._run(
                Script.LISTING, partition, "dlq" if is_dead else "ids", start, CHUNK, CHUNK_BYTES, lowest
            )
            line = [(int(place), decode_job(row)) for place, row in zip(reply[::2], reply[1::2], strict=True)]
            if is_cut or len(line) == CHUNK:
                known_to = max(known_to, line[-1][0])
            lines.append(line)
        merged = heapq.merge(*lines, key=lambda line: line[0], reverse=True)
        return [line for line in merged if line[0] >= known_to], known_to == 0

    async def _run(self, script: Script, partition: int, *arguments: str | int) -> Any:
        return await self._connection.run(script, partition, *arguments)


def _cursor(after: str) -> Place:
    if not after.isascii() or not after.isdigit() or len(after) > ID_DIGITS:
        raise InvalidRequestError("cursor must be one that a listing answered with", field="cursor")
    return int(after)
