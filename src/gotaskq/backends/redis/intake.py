"""The intake: new jobs on their way into the store, many callers to a call.

Invariant: a job is answered for only after the store confirmed it; a call whose reply is lost is sent again, and the
nonces in the records keep it from storing anything twice.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from gotaskq.backend import Enqueued
from gotaskq.backends.redis.codec import encode_record
from gotaskq.backends.redis.commit import GroupCommit
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.keys import member
from gotaskq.backends.redis.partitions import chunks, places_of
from gotaskq.backends.redis.registry import Registry
from gotaskq.backends.redis.scripts import Script
from gotaskq.backends.redis.wakeups import WakeUps
from gotaskq.errors import BackendUnavailableError, InvalidRequestError
from gotaskq.job import Job
from gotaskq.snowflake import partition_of

MAX_JOBS: Final = 100  # in one call: about a millisecond of the server, and nobody else is served meanwhile
MAX_BYTES: Final = 1 << 20
MAX_ATOMIC: Final = 1_000
ANSWER_WITHIN_S: Final = 2.0  # what the store has not confirmed by then is answered with an error

ENQUEUED: Final = {
    "O": Enqueued.OK,
    "D": Enqueued.DUPLICATE,
    "C": Enqueued.COLLISION,
    "F": Enqueued.FULL,
    "N": Enqueued.NO_QUEUE,
    "W": Enqueued.WITHHELD,
}


class Intake:
    """Stores new jobs."""

    def __init__(self, connection: Connection, registry: Registry, wakeups: WakeUps, *, max_depth: int) -> None:
        self._connection = connection
        self._registry = registry
        self._wakeups = wakeups
        self._max_depth = max_depth
        self._commits: dict[int, GroupCommit[Job, Enqueued]] = {}

    @property
    def calls_under_way(self) -> frozenset[asyncio.Task[Any]]:
        """The calls that the store has not answered yet."""
        return frozenset[asyncio.Task[Any]]().union(*(commit.calls_under_way for commit in self._commits.values()))

    async def drained(self) -> None:
        """Return when every job given so far is answered for."""
        for commit in self._commits.values():
            await commit.drained()

    async def store(self, jobs: Sequence[Job]) -> list[Enqueued]:
        """Store jobs, each on its own, together with those of other callers."""
        replies: list[Enqueued] = [Enqueued.OK] * len(jobs)
        some_places = [some for _, places in places_of([job.id for job in jobs]) for some in chunks(places, MAX_JOBS)]
        answers = [self._put(jobs, some, replies) for some in some_places]
        if len(answers) == 1:
            await answers[0]
        elif answers:
            await asyncio.wait(answers)
            errors = [error for answered in answers if (error := answered.exception()) is not None]
            if errors:
                raise errors[0]
        return replies

    async def store_together(self, jobs: Sequence[Job]) -> list[Enqueued]:
        """Store all of these jobs or none, in a call of their own."""
        if not jobs:
            return []
        if len(jobs) > MAX_ATOMIC:
            raise InvalidRequestError(f"an all-or-nothing call holds at most {MAX_ATOMIC} jobs, not {len(jobs)}")
        partitions = {partition_of(job.id) for job in jobs}
        if len(partitions) > 1:
            raise InvalidRequestError(f"the jobs of an all-or-nothing call must share a partition, not {partitions}")
        return await self._send(partitions.pop(), jobs, ANSWER_WITHIN_S, atomic=True)

    def _put(self, jobs: Sequence[Job], places: Sequence[int], replies: list[Enqueued]) -> asyncio.Future[None]:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(heard: Sequence[Enqueued] | Exception) -> None:
            if answered.done():  # its caller has gone; the jobs have not
                return
            if isinstance(heard, Exception):
                answered.set_exception(heard)
                return
            for place, reply in zip(places, heard, strict=True):
                replies[place] = reply
            answered.set_result(None)

        some = [jobs[place] for place in places]
        size = sum(len(job.payload_json) for job in some)
        self._commit_of(partition_of(some[0].id)).put(some, hear, size=size)
        return answered

    def _commit_of(self, partition: int) -> GroupCommit[Job, Enqueued]:
        commit = self._commits.get(partition)
        if commit is None:
            commit = self._commits[partition] = GroupCommit(
                partial(self._send, partition),
                max_items=MAX_JOBS,
                max_bytes=MAX_BYTES,
                patience_s=ANSWER_WITHIN_S,
                give_up=BackendUnavailableError,
            )
        return commit

    async def _send(
        self, partition: int, jobs: Sequence[Job], patience_s: float, *, atomic: bool = False
    ) -> list[Enqueued]:
        unknown = await self._unknown_queues(jobs, patience_s)
        arguments: list[str | bytes | int] = ["1" if atomic else "", self._max_depth]
        for job in jobs:
            queue = "" if job.queue in unknown else job.queue
            arguments += (member(job.id), queue, job.delay_ms, encode_record(job))
        reply: bytes = await self._connection.run(Script.ENQUEUE, partition, *arguments, patience_s=patience_s)
        for queue in {job.queue for job in jobs}:
            self._wakeups.wake(queue)
        return [ENQUEUED[letter] for letter in reply.decode()]

    async def _unknown_queues(self, jobs: Sequence[Job], patience_s: float) -> set[str]:
        paused = self._registry.paused
        return {
            queue
            for queue in {job.queue for job in jobs}
            if queue not in paused and not await self._registry.knows(queue, patience_s=patience_s)
        }
