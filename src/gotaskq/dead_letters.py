"""The dead letters as a workbench: by what they died of, and brought back many at once.

Held by `TaskQ.dead_letters`.
Invariant: a call looks at a bounded number of dead jobs and says when there are more.
"""

from collections.abc import AsyncIterator
from typing import Final, Unpack

import msgspec

from gotaskq.filters import JobFilter
from gotaskq.fingerprint import Death, death_of
from gotaskq.job import Job, JobId, Status
from gotaskq.steering import Steering

PAGE: Final = 200
MOST_LOOKED_AT: Final = 10_000  # as many as are kept by default
MOST_REPLAYED: Final = 1_000  # in one call: somebody may have meant fewer


class DeathGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead jobs that died of the same thing, as far as they were looked at."""

    death: Death
    count: int
    first_died_ms: int
    last_died_ms: int
    example: JobId  # the one that died last


class Summary(msgspec.Struct, frozen=True):
    """The groups, the largest first, and whether all dead jobs were looked at."""

    groups: list[DeathGroup]
    is_complete: bool


class Replayed(msgspec.Struct, frozen=True):
    """How many dead jobs were meant, and how many of them wait again; those that were not are passed over."""

    matched: int
    replayed: int
    is_complete: bool  # False: there may be more that were meant


class DeadLetters:
    """The dead jobs of an app that is open."""

    def __init__(self, app: Steering) -> None:
        self._app = app

    async def summary(self, **filters: Unpack[JobFilter]) -> Summary:
        """Group dead jobs by what they died of; the filters are those of `list_jobs`, without the status."""
        groups: dict[Death, DeathGroup] = {}
        looked_at = 0
        async for job in self._walk(filters):
            looked_at += 1
            if looked_at > MOST_LOOKED_AT:
                break
            died_ms, death = job.finished_at_ms or job.updated_at_ms, death_of(job)
            known = groups.get(death)
            groups[death] = DeathGroup(
                death=death,
                count=1 if known is None else known.count + 1,
                first_died_ms=died_ms if known is None else min(known.first_died_ms, died_ms),
                last_died_ms=died_ms if known is None else max(known.last_died_ms, died_ms),
                example=job.id if known is None else known.example,
            )
        largest_first = sorted(groups.values(), key=lambda group: (-group.count, -group.last_died_ms))
        return Summary(largest_first, looked_at <= MOST_LOOKED_AT)

    async def replay(
        self,
        *,
        fingerprint: str | None = None,
        limit: int = MOST_REPLAYED,
        dry_run: bool = False,
        **filters: Unpack[JobFilter],
    ) -> Replayed:
        """Run again at most `limit` of the dead jobs meant, the latest death first; with `dry_run` only count them."""
        meant: list[JobId] = []
        is_complete, looked_at = True, 0
        async for job in self._walk(filters):
            looked_at += 1
            if len(meant) == limit or looked_at > MOST_LOOKED_AT:
                is_complete = False
                break
            if fingerprint in (None, death_of(job).fingerprint):
                meant.append(job.id)
        replayed = 0
        for first in range(0, 0 if dry_run else len(meant), PAGE):
            replayed += len(await self._app.replay_many(meant[first : first + PAGE]))
        return Replayed(len(meant), replayed, is_complete)

    async def _walk(self, filters: JobFilter) -> AsyncIterator[Job]:
        cursor: str | None = None
        dead: JobFilter = {**filters, "status": Status.DEAD}
        while True:
            page = await self._app.list_jobs(cursor=cursor, limit=PAGE, **dead)
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return
