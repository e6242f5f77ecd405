"""The intake: new jobs on their way into the store, many callers to a call.

Invariant: a job is answered for only after the store confirmed it; a call whose reply is lost is sent again, and the
nonces in the records keep it from storing anything twice.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final, Protocol

from gotaskq.backend import Enqueued, EnqueueReply
from gotaskq.backends.redis.codec import encode_record
from gotaskq.backends.redis.commit import Answer, GroupCommit
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.keys import member
from gotaskq.backends.redis.partitions import chunks, places_of
from gotaskq.backends.redis.registry import Registry
from gotaskq.backends.redis.scripts import Script
from gotaskq.backends.redis.submissions import is_plain, read_enqueued, submission_arguments
from gotaskq.backends.redis.wakeups import WakeUps
from gotaskq.backends.redis.wire import RefusedError
from gotaskq.errors import BackendUnavailableError, InvalidRequestError, UnavailableError
from gotaskq.job import Job
from gotaskq.partly_stored import PartlyStoredError, Told
from gotaskq.snowflake import partition_of
from gotaskq.store_limits import StoreLimits

MAX_JOBS: Final = 100  # in one call: about a millisecond of the server, and nobody else is served meanwhile
MAX_BYTES: Final = 1 << 20
MAX_ATOMIC: Final = 1_000
ANSWER_WITHIN_S: Final = 2.0  # what the store has not confirmed by then is answered with an error


class Limiting(Protocol):
    """What limits the queues have, and what is left of them."""

    def limits(self, jobs: Sequence[Job]) -> int | str:
        """Return the limits of the queues of jobs, as the script reads them."""
        ...

    def hear_rates(self, reply: bytes, partition: int) -> None:
        """Read what the script says of rate limits."""
        ...


class _Call:
    """A call on its way, and who hears of it.

    It must not be part of a cycle: calls would pile up until a garbage collection, and with those one answer in a
    hundred took 14 ms instead of 4 (benchmarks: redis_ingestion).
    """

    __slots__ = ("began_s", "ends_s", "heard", "jobs", "partition")

    def __init__(self, partition: int, jobs: Sequence[Job], heard: Answer, *, patience_s: float) -> None:
        self.partition = partition
        self.jobs = jobs
        self.heard = heard
        self.began_s = asyncio.get_running_loop().time()
        self.ends_s = self.began_s + patience_s

    @property
    def left_s(self) -> float:
        """How long its callers still wait."""
        return self.ends_s - asyncio.get_running_loop().time()


class Intake:
    """Stores new jobs."""

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        wakeups: WakeUps,
        limits: StoreLimits,
        limiting: Limiting,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._wakeups = wakeups
        self._limits = limits
        self._limiting = limiting
        self._commits: dict[int, GroupCommit[Job, EnqueueReply]] = {}
        self._insisting: set[asyncio.Task[None]] = set()
        self._under_way: dict[_Call, None] = {}  # sent, and not answered yet
        self._watch: asyncio.TimerHandle | None = None

    @property
    def calls_under_way(self) -> int:
        """How many calls the store has not answered yet."""
        return sum(commit.calls_under_way for commit in self._commits.values())

    async def drained(self) -> None:
        """Return when every job given so far is answered for."""
        for commit in self._commits.values():
            await commit.drained()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def store(self, jobs: Sequence[Job]) -> list[EnqueueReply]:
        """Store jobs, each on its own, together with those of other callers."""
        if len(jobs) == 1:
            return await self._put(jobs)
        shares = [some for _, places in places_of([job.id for job in jobs]) for some in chunks(places, MAX_JOBS)]
        answers = [self._put([jobs[place] for place in share]) for share in shares]
        if answers:
            await asyncio.wait(answers)
        if any(answered.exception() is not None for answered in answers):
            raise _failure_of(shares, answers)
        replies: list[EnqueueReply] = [Enqueued.OK] * len(jobs)
        for share, answered in zip(shares, answers, strict=True):
            for place, reply in zip(share, answered.result(), strict=True):
                replies[place] = reply
        return replies

    async def store_together(self, jobs: Sequence[Job]) -> list[EnqueueReply]:
        """Store all of these jobs or none, in a call of their own."""
        if not jobs:
            return []
        if len(jobs) > MAX_ATOMIC:
            raise InvalidRequestError(f"an all-or-nothing call holds at most {MAX_ATOMIC} jobs, not {len(jobs)}")
        partitions = {partition_of(job.id) for job in jobs}
        if len(partitions) > 1:
            raise InvalidRequestError(
                f"the jobs of an all-or-nothing call must share a partition, and these keys lie in {len(partitions)}; "
                f"send them one by one"
            )
        return await self._store(partitions.pop(), jobs, ANSWER_WITHIN_S, atomic=True)

    def _put(self, jobs: Sequence[Job]) -> "asyncio.Future[list[EnqueueReply]]":
        """Send jobs of one partition with the next call."""
        answered: asyncio.Future[list[EnqueueReply]] = asyncio.get_running_loop().create_future()

        def hear(replies: list[EnqueueReply] | Exception) -> None:
            if answered.done():  # its caller has gone; the jobs have not
                return
            if isinstance(replies, Exception):
                answered.set_exception(replies)
            else:
                answered.set_result(replies)

        size = sum(len(job.payload_json) for job in jobs)
        self._commit_of(partition_of(jobs[0].id)).put(jobs, hear, size=size)
        return answered

    def _commit_of(self, partition: int) -> GroupCommit[Job, EnqueueReply]:
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

    def _send(self, partition: int, jobs: Sequence[Job], patience_s: float, heard: Answer) -> None:
        """Send a call straight to the wire; only where that is not possible, or fails, a task goes on trying."""
        call = _Call(partition, jobs, heard, patience_s=patience_s)
        is_known = all(job.queue in self._registry.paused for job in jobs)
        if not (is_known and self._send_now(call, *self._one_or_many(jobs))):
            self._go_on(call, may_have_run=False)

    def _send_now(self, call: _Call, script: Script, words: Sequence[str | bytes | int]) -> bool:
        """Send a call; False when no connection is at hand."""
        if not self._connection.run_soon(script, call.partition, words, partial(self._answered, call)):
            return False
        self._under_way[call] = None
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_at(call.ends_s, self._give_up_late)
        return True

    def _answered(self, call: _Call, reply: bytes | Exception) -> None:
        if call not in self._under_way:
            return  # it was given up on
        del self._under_way[call]
        if isinstance(reply, Exception):
            self._go_on(call, may_have_run=not isinstance(reply, RefusedError))
            return
        if not self._connection.is_reachable:
            self._connection.came_back()
        if reply:
            call.heard(self._stored(call.jobs, reply, call.partition))
        elif not self._send_now(call, Script.ENQUEUE, self._arguments(call.jobs)):  # which says why it was not stored
            self._go_on(call, may_have_run=False)

    def _give_up_late(self) -> None:
        """Give up on calls whose time is over; one timer serves all, since a lone call would feel one of its own."""
        now_s = asyncio.get_running_loop().time()
        for call in [call for call in self._under_way if call.ends_s <= now_s]:
            del self._under_way[call]
            self._connection.give_up_on(call.partition, since_s=call.began_s)
            call.heard(BackendUnavailableError())
        self._watch = None
        if self._under_way:
            ends_s = min(call.ends_s for call in self._under_way)
            self._watch = asyncio.get_running_loop().call_at(ends_s, self._give_up_late)

    def _go_on(self, call: _Call, *, may_have_run: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._insist(call, may_have_run=may_have_run))
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def _insist(self, call: _Call, *, may_have_run: bool) -> None:
        try:
            replies = await self._store(call.partition, call.jobs, call.left_s, may_have_run=may_have_run)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            # Without our frames, which hold those who wait: a cycle would keep a refused job for a garbage collection.
            call.heard(error.with_traceback(None))
        else:
            call.heard(replies)

    async def _store(
        self,
        partition: int,
        jobs: Sequence[Job],
        patience_s: float,
        *,
        atomic: bool = False,
        may_have_run: bool = False,
    ) -> list[EnqueueReply]:
        now_s = asyncio.get_running_loop().time
        ends_s = now_s() + patience_s
        known = self._registry.paused
        queues = {job.queue for job in jobs if job.queue not in known}
        unknown = {queue for queue in queues if not await self._registry.knows(queue, patience_s=patience_s)}
        run = partial(self._connection.run, may_have_run=may_have_run)
        arguments = self._arguments(jobs, unknown=unknown, atomic=atomic)
        script, words = (Script.ENQUEUE, arguments) if unknown or atomic else self._one_or_many(jobs)
        reply = await run(script, partition, *words, patience_s=ends_s - now_s())
        if not reply:  # a lone job was not stored, and the script for many says why
            reply = await run(Script.ENQUEUE, partition, *arguments, patience_s=ends_s - now_s())
        return self._stored(jobs, reply, partition)

    def _one_or_many(self, jobs: Sequence[Job]) -> tuple[Script, Sequence[str | bytes | int]]:
        """Return the script for jobs on queues that are registered, and its arguments."""
        if len(jobs) == 1 and is_plain(jobs[0]):
            [job], limits = jobs, self._limiting.limits(jobs)
            if isinstance(limits, int):  # else the queue has some of its own
                return Script.ENQUEUE_ONE, (limits, member(job.id), job.queue, job.rank, encode_record(job))
        return Script.ENQUEUE, self._arguments(jobs)

    def _arguments(
        self, jobs: Sequence[Job], *, unknown: Collection[str] = (), atomic: bool = False
    ) -> list[str | bytes | int]:
        arguments: list[str | bytes | int] = ["1" if atomic else "", self._limiting.limits(jobs)]
        ttl_ms = self._limits.idempotency_ttl_ms
        for job in jobs:
            arguments += submission_arguments(job, is_known=job.queue not in unknown, idempotency_ttl_ms=ttl_ms)
        return arguments

    def _stored(self, jobs: Sequence[Job], reply: bytes, partition: int) -> list[EnqueueReply]:
        """Wake who waits for these jobs, sooner than the store's own message does; return what became of each."""
        if len(reply) != len(jobs):  # else it has nothing beside the letters, as nearly always
            self._limiting.hear_rates(reply, partition)
        for queue in {job.queue for job in jobs}:
            self._wakeups.wake(queue)
        return read_enqueued(reply, len(jobs))


def _failure_of(
    shares: Sequence[Sequence[int]], answers: "Sequence[asyncio.Future[list[EnqueueReply]]]"
) -> BaseException:
    """Return what a call that was sent in shares raises, where some of them failed."""
    errors = [error for answered in answers if (error := answered.exception()) is not None]
    if faults := [error for error in errors if not isinstance(error, UnavailableError)]:
        return faults[0]
    if len(errors) == len(answers) and len({type(error) for error in errors}) == 1:
        return errors[0]
    told: dict[int, Told] = {}
    for share, answered in zip(shares, answers, strict=True):
        error = answered.exception()
        replies = [error] * len(share) if isinstance(error, UnavailableError) else answered.result()
        told |= zip(share, replies, strict=True)
    return PartlyStoredError([told[place] for place in range(len(told))])
