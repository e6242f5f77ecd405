"""The Redis backend: jobs in Redis or Valkey, on one server, behind Sentinel or in a Cluster.

Each transition is one script, so it happens whole or not at all; scripts carry nonces, so a repeat does nothing twice.
The server's clock is the only one: we send durations. Keys and records: docs/understand/redis.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import EnqueueReply, Extended, Finding, JobQuery, Note, Page, QueueCounts, Settled, Standing
from gotaskq.backends.redis.amendments import amendment_arguments, read_amended
from gotaskq.backends.redis.board import RedisBoard
from gotaskq.backends.redis.check import CHECKED_SETTINGS, check_server
from gotaskq.backends.redis.codec import LETTERS, decode_job, decode_leased, rows_of
from gotaskq.backends.redis.connection import Connection
from gotaskq.backends.redis.extensions import extensions, read_extended
from gotaskq.backends.redis.governor import RedisGovernor
from gotaskq.backends.redis.happenings import RedisHappenings
from gotaskq.backends.redis.intake import ANSWER_WITHIN_S, Intake
from gotaskq.backends.redis.keeper import Keeper
from gotaskq.backends.redis.keys import Keys, member
from gotaskq.backends.redis.lease_line import RedisLeaseLine
from gotaskq.backends.redis.listing import Listing
from gotaskq.backends.redis.partitions import chunks, parcels, places_of
from gotaskq.backends.redis.registry import Registry
from gotaskq.backends.redis.scripts import Script
from gotaskq.backends.redis.settlements import note_arguments, note_bytes, settlement_arguments, settlement_bytes
from gotaskq.backends.redis.topology import read_url
from gotaskq.backends.redis.wakeups import WakeUps
from gotaskq.board import BoardTerms
from gotaskq.clock import Clock
from gotaskq.errors import GotaskqError, QueueNotFoundError
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.outcome import Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import partition_of
from gotaskq.store_limits import StoreLayout, StoreLimits

T = TypeVar("T")

# A script of a hundred jobs takes about a millisecond of the server, and nobody else is served meanwhile.
RESERVE_JOBS: Final = 256
RESERVE_BYTES: Final = 1 << 20
RESERVE_QUEUES: Final = 128
SETTLE_JOBS: Final = 128
CALL_BYTES: Final = 1 << 20  # of results, tracebacks or checkpoints
NOTES: Final = 256  # in one call
MANY: Final = 100  # replayed, deleted or looked up in one call
NONCE_BITS: Final = 96

KEEP_EVERY_S: Final = 1.0  # a queue that another process made or paused is known within a second

SETTLED: Final = {"O": Settled.OK, "A": Settled.ALREADY, "L": Settled.LOST, "C": Settled.CANCELLED}

logger = logging.getLogger(__name__)


class RedisBackend:
    """Jobs in Redis: shared by every process that names the same server and key prefix. Belongs to one event loop."""

    def __init__(
        self,
        url: str,
        limits: StoreLimits | None = None,
        *,
        clock: Clock,
        rng: Random,
        layout: StoreLayout | None = None,
    ) -> None:
        self._limits = limits or StoreLimits()
        self._layout = layout or StoreLayout()
        self._clock = clock
        self._rng = rng
        keys = self._keys = Keys(self._layout.key_prefix)
        is_test = self._layout.key_prefix.startswith("gtqtest")
        self._test_clock = clock.now_ms if is_test else None
        self._address = read_url(url)
        self._connection = Connection(self._address, keys, rng=rng, test_clock=self._test_clock)
        self._registry = Registry(self._connection, keys, partitions=self._layout.partitions, rng=rng)
        self._wakeups = WakeUps(self._connection, keys.wake, rng=rng)
        self._listing = Listing(self._connection)
        self.happenings = RedisHappenings(self._connection, keys, clock=clock, rng=rng)
        self._wakeups.hear_log = self.happenings.begin
        self.governor = RedisGovernor(
            self._connection,
            keys,
            self._registry,
            counts=self.queues,
            limits=self._limits,
            partitions=self._layout.partitions,
            clock=clock,
            rng=rng,
        )
        self._keeper = Keeper(self._connection, self._registry, self._limits, self._layout, self.governor)
        self._intake = Intake(self._connection, self._registry, self._wakeups, self._limits, self.governor)
        self._lost_claims: dict[tuple[str, int], str] = {}  # nonces of reservations whose fate is not known
        self._first_partition = 0
        self._upkeep: list[asyncio.Task[None]] = []

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, join the store, and register the default queue."""
        try:
            await self._connection.open()
            await self._registry.open()
            await self.happenings.notice(self._registry.log)
            await self.governor.refresh()
        except BaseException:
            await self.close()
            raise
        self._upkeep = [asyncio.create_task(loop) for loop in (self._wakeups.listen(), self._keep())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._wakeups.is_listening.wait()

    async def close(self) -> None:
        """Answer what is under way, then let go of all connections."""
        await self._intake.drained()
        for task in self._upkeep:
            task.cancel()
        if self._upkeep:
            await asyncio.wait(self._upkeep)
        self._upkeep = []
        self.happenings.close()
        await self._connection.close()

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered the last call."""
        return self._connection.is_reachable

    def board(self, terms: BoardTerms) -> RedisBoard:
        """Return a way to a notice board of this store."""
        return RedisBoard(self._connection, terms)

    @property
    def calls_under_way(self) -> int:
        """How many calls the store has not answered yet."""
        return self._connection.calls_under_way + self._intake.calls_under_way

    @property
    def partitions(self) -> int:
        """How many partitions new jobs are spread over."""
        return self._layout.partitions

    async def check(self) -> list[Finding]:
        """Return what is wrong with the server for keeping jobs in; raises BackendUnavailableError."""
        information = await self._connection.information()
        config = await self._connection.configuration(CHECKED_SETTINGS)
        return check_server(
            information, config, host=self._address.hosts[0][0], has_password=self._address.password is not None
        )

    async def _keep(self) -> None:
        """Learn what other processes changed, about once a second."""
        while True:
            await asyncio.sleep(KEEP_EVERY_S * self._rng.uniform(0.5, 1.0))
            with contextlib.suppress(GotaskqError):  # said by the connection, once; the next round tries again
                await self._registry.refresh()
                await self.happenings.notice(self._registry.log)
                await self.governor.refresh()

    # -- queues --------------------------------------------------------------------------------------------------------

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        return await self._registry.add(name)

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        await self._registry.refresh()
        names = sorted(self._registry.paused)
        totals = {name: [0, 0, 0, 0] for name in names}
        for partition in range(self._registry.partitions):
            for some in chunks(names, RESERVE_QUEUES):
                counts = iter(await self._run(Script.COUNTS, partition, *some))
                for name in some:
                    totals[name] = [total + next(counts) for total in totals[name]]
        return {
            name: QueueCounts(
                ready=ready, scheduled=scheduled, running=running, dead=dead, is_paused=self._registry.paused[name]
            )
            for name, (ready, scheduled, running, dead) in totals.items()
        }

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs; other processes hear of it within a second."""
        await self._require((queue,))
        await self._registry.set_paused(queue, paused=paused)
        self._wakeups.wake(queue)

    def is_paused(self, queue: str) -> bool:
        """Say whether a queue is paused, as far as this process knows yet."""
        return self._registry.paused.get(queue, False)

    async def _require(self, queues: Collection[str]) -> None:
        for queue in queues:
            if queue not in self._registry.paused and not await self._registry.knows(queue):
                raise QueueNotFoundError(queue)

    # -- in: enqueue ---------------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        """Store new jobs; each on its own, or with `atomic` all or none (of one partition, at most 1,000)."""
        if atomic:
            return await self._intake.store_together(jobs)
        return await self._intake.store(jobs)

    # -- out: reserve, extend, settle ----------------------------------------------------------------------------------

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs: partition by partition, beginning with another each time; within one, turn by turn.

        Of more than 128 queues, the first 128 that the selector names are asked before the others.
        """
        await self._require([turn.queue for turn in turns])
        served = [turn for turn in turns if not self._registry.paused[turn.queue] and turn.take > 0]
        leased: list[Job] = []
        for partition in self._partitions_in_turn():
            for some in chunks(served, RESERVE_QUEUES):
                while len(leased) < limit:
                    wanted = min(limit - len(leased), RESERVE_JOBS)
                    jobs = await self._claim(partition, some, limit=wanted, lease_ms=lease_ms, worker=worker)
                    leased += jobs
                    if len(jobs) < wanted:
                        break
        return leased

    def _partitions_in_turn(self) -> Iterator[int]:
        count = self._registry.partitions
        first = self._first_partition = (self._first_partition + 1) % count
        yield from range(first, count)
        yield from range(first)

    async def _claim(
        self, partition: int, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str
    ) -> list[Job]:
        """Take jobs of one partition; where an earlier reply was lost, ask again for what it brought."""
        nonce = self._lost_claims.pop((worker, partition), None) or self._nonce()
        arguments = [part for turn in turns for part in turn]
        try:
            reply = await self._connection.run(
                Script.RESERVE, partition, nonce, worker, lease_ms, limit, RESERVE_BYTES, *arguments
            )
        except GotaskqError:
            self._lost_claims[worker, partition] = nonce
            raise
        now_ms, is_repeat, rows = reply[0], reply[1] == b"1", rows_of(reply[2:])
        if is_repeat:
            return [job for row in rows if (job := decode_job(row)) is not None]
        return [decode_leased(row, nonce=nonce, worker=worker, now_ms=now_ms) for row in rows]

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run `lease_ms` from now; a deadline never moves back."""
        replies: list[Extended] = [Extended.LOST] * len(leases)
        for partition, places, arguments in extensions(leases, lease_ms=lease_ms):
            reply = await self._run(Script.EXTEND, partition, *arguments)
            for place, extended in zip(places, read_extended(reply), strict=True):
                replies[place] = extended
        return replies

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves, fenced by the lease."""
        replies: list[Extended] = [Extended.LOST] * len(notes)
        weights = [note_bytes(note) for note in notes]
        for partition, places in places_of([note.lease.job_id for note in notes]):
            for some in parcels(places, weights, size=NOTES, most_bytes=CALL_BYTES):
                arguments = [part for place in some for part in note_arguments(notes[place])]
                reply = await self._run(Script.NOTE, partition, *arguments)
                for place, extended in zip(some, read_extended(reply), strict=True):
                    replies[place] = extended
        return replies

    def lease_line(self, *, timeout_s: float) -> RedisLeaseLine:
        """Return a way to extend leases from a thread, once this is open."""
        script = self._connection.text_of(Script.EXTEND)
        return RedisLeaseLine(
            self._address, self._keys, script=script, timeout_s=timeout_s, test_clock=self._test_clock
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided, fenced by the lease."""
        replies: list[Settled] = [Settled.LOST] * len(settlements)
        limits = (self.governor.completed_terms, self.governor.dead_terms)
        weights = [settlement_bytes(settlement) for settlement in settlements]
        for partition, places in places_of([settlement.lease.job_id for settlement in settlements]):
            for some in parcels(places, weights, size=SETTLE_JOBS, most_bytes=CALL_BYTES):
                arguments = [part for place in some for part in settlement_arguments(settlements[place])]
                # A repeat of ours would hear ALREADY, and the settler would not know that nobody has told of it yet.
                reply = await self._connection.run(Script.SETTLE, partition, *limits, *arguments, is_repeated=False)
                for place, letter in zip(some, reply.decode(), strict=True):
                    replies[place] = SETTLED[letter]
        return replies

    # -- waiting and upkeep --------------------------------------------------------------------------------------------

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Sleep until a job of these queues may be due, or until the timeout."""
        await self._require(queues)
        names = [queue for queue in queues if not self._registry.paused[queue]]
        with self._wakeups.waiting(queues) as woken:  # before the look: what comes in between counts
            due_ms = await self._next_due_ms(names)
            if due_ms == 0 or timeout_s <= 0:
                return
            wait_s = timeout_s if due_ms is None else min(timeout_s, due_ms / 1000)
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(wait_s):
                    await woken

    async def _next_due_ms(self, queues: Sequence[str]) -> int | None:
        """Return in how many milliseconds a job is due, 0 for now; None when none waits."""
        nearest: int | None = None
        for partition in range(self._registry.partitions):
            for some in chunks(queues, RESERVE_QUEUES):
                due_ms: int = await self._run(Script.PEEK, partition, *some)
                if due_ms >= 0 and (nearest is None or due_ms < nearest):
                    nearest = due_ms
        return nearest

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready; return how many."""
        return await self._keeper.promote(limit=limit)

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out, but for a while after an outage."""
        return await self._keeper.reap(limit=limit, max_crashes=max_crashes)

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for longer than their schedule timeout."""
        return await self._keeper.expire(limit=limit)

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention; return how many."""
        return await self._keeper.prune(limit=limit)

    # -- looking and steering ------------------------------------------------------------------------------------------

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return await self._listing.get(job_id)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first (dead ones: latest death first)."""
        return await self._listing.page(query, after=after, limit=limit, partitions=self._registry.partitions)

    async def standing(self, job: Job) -> Standing:
        """Return where a job stands."""
        return await self._listing.standing(job, partitions=self._registry.partitions)

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one."""
        terms = self.governor.completed_terms
        return decode_job(await self._run(Script.CANCEL, partition_of(job_id), member(job_id), terms))

    def hear_cancels(self, hear: Callable[[JobId], None]) -> None:
        """Let `hear` get the id of each running job that any process cancels, from now on."""
        self._wakeups.hear_cancels(hear)

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits."""
        arguments = amendment_arguments(job_id, amendment)
        return read_amended(await self._run(Script.AMEND, partition_of(job_id), self._nonce(), *arguments))

    def hear_losses(self, hear: Callable[[int], None]) -> None:
        """Let `hear` get the number of each partition that lost its jobs."""
        self._registry.hear_loss = hear

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING on their own queue with fresh counts."""
        replayed: list[Job] = []
        for partition, places in places_of(job_ids):
            for some in chunks(places, MANY):
                members = (member(job_ids[place]) for place in some)
                reply = await self._run(Script.REPLAY, partition, self._nonce(), *members)
                replayed += [job for row in rows_of(reply) if (job := decode_job(row)) is not None]
        return replayed

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended; return how many."""
        letter = "" if status is None else LETTERS.get(status, "-")
        deleted = 0
        for partition, places in places_of(job_ids):
            for some in chunks(places, MANY):
                members = (member(job_ids[place]) for place in some)
                deleted += await self._run(Script.DELETE, partition, self._nonce(), letter, *members)
        return deleted

    def _nonce(self) -> str:
        return f"{self._rng.getrandbits(NONCE_BITS):024x}"

    def _run(self, script: Script, partition: int, *arguments: str | bytes | int) -> Coroutine[Any, Any, Any]:
        return self._connection.run(script, partition, *arguments)
