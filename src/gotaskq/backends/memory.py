"""The memory backend: heaps and dicts in this process; a real backend and the executable specification of the contract.

Every method runs without suspending (but `wait_for_ready`), so each is atomic on its event loop.
Invariant: a PENDING job has one live entry, in `ready` or `scheduled` of its queue; a RUNNING one has a deadline in
`_deadlines`; a DEAD one stands in `_dead`; a DONE or CANCELLED one in `_finished`. The clock of this store never runs
back.

A heap entry is one integer, the sort key shifted over the id: half the size of a tuple, and compared twice as fast
(benchmarks/questions/memory_per_job.py). Entries of jobs that were cancelled stay until they come up or are compacted.
"""

import asyncio
from bisect import bisect_left, insort
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from random import Random
from typing import Final, assert_never

from gotaskq import job as transition
from gotaskq.backend import (
    Enqueued,
    Extended,
    JobQuery,
    Page,
    QueueCounts,
    Settled,
    StoreLimits,
)
from gotaskq.clock import Clock
from gotaskq.errors import InvalidRequestError, QueueNotFoundError
from gotaskq.job import DEFAULT_QUEUE, FINAL, Job, JobId, Lease, Status
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement
from gotaskq.policies.scheduling import Turn

ID_BITS: Final = 63
ID_MASK: Final = (1 << ID_BITS) - 1
NONCE_BITS: Final = 96
LISTING_SCAN: Final = 10_000  # jobs one listing call looks at, so that it never holds the loop for long
PROMOTE_BATCH: Final = 1_000  # due jobs a reservation promotes, so that a million due at once do not hold the loop
MAX_CURSOR_DIGITS: Final = 20
COMPACT_SLACK: Final = 1_000  # stale entries that are not worth a rebuild


class _Queue:
    """One queue's waiting jobs, and how many of its jobs are where."""

    __slots__ = (
        "dead",
        "is_paused",
        "name",
        "ready",
        "ready_count",
        "running",
        "scheduled",
        "scheduled_count",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: list[int] = []  # heap of rank << 63 | id
        self.scheduled: list[int] = []  # heap of run_after_ms << 63 | id
        self.ready_count = 0
        self.scheduled_count = 0
        self.running = 0
        self.dead = 0
        self.is_paused = False

    @property
    def has_work(self) -> bool:
        return (self.ready_count > 0 or self.scheduled_count > 0) and not self.is_paused

    def counts(self) -> QueueCounts:
        return QueueCounts(
            ready=self.ready_count,
            scheduled=self.scheduled_count,
            running=self.running,
            dead=self.dead,
            is_paused=self.is_paused,
        )


class MemoryBackend:
    """Jobs in the memory of this process: fast, and gone when it ends. Belongs to one event loop."""

    def __init__(self, limits: StoreLimits | None = None, *, clock: Clock, rng: Random) -> None:
        self._limits = limits or StoreLimits()
        self._clock = clock
        self._rng = rng
        self._jobs: dict[JobId, Job] = {}
        self._ids: list[JobId] = []  # ascending, with gaps where jobs were deleted; for listing
        self._queues: dict[str, _Queue] = {}
        self._deadlines: dict[JobId, int] = {}
        self._dead: OrderedDict[JobId, int] = OrderedDict()  # in order of death; the value is the death's number
        self._deaths = 0
        self._finished: deque[JobId] = deque()  # DONE and CANCELLED, in order of their end; some may be deleted by now
        self._latest_ms = 0
        self._waiting: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        """Register the default queue."""
        self._queues.setdefault(DEFAULT_QUEUE, _Queue(DEFAULT_QUEUE))

    async def close(self) -> None:
        """Wake whoever waits; the jobs stay as long as this object."""
        self._wake()

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        if name in self._queues:
            return False
        self._queues[name] = _Queue(name)
        self._wake()
        return True

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        self._promote_due(self._queues.values(), now_ms=self._now_ms())
        return {name: self._queues[name].counts() for name in sorted(self._queues)}

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        self._queue(queue).is_paused = paused
        self._wake()

    # -- in: enqueue ---------------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[Enqueued]:
        """Store new jobs; each on its own, or with `atomic` all or none."""
        if atomic and (refusals := self._refusals(jobs)):
            return [refusals.get(place, Enqueued.WITHHELD) for place in range(len(jobs))]
        return [self._enqueue(job) for job in jobs]

    def _refusals(self, jobs: Sequence[Job]) -> dict[int, Enqueued]:
        """Say which jobs cannot be stored beside the others, by their place in the call."""
        taken: Counter[str] = Counter()
        refusals: dict[int, Enqueued] = {}
        for place, job in enumerate(jobs):
            reply = self._check(job, beside=taken[job.queue])
            if reply is Enqueued.OK:
                taken[job.queue] += 1
            elif reply is not Enqueued.DUPLICATE:
                refusals[place] = reply
        return refusals

    def _check(self, job: Job, *, beside: int = 0) -> Enqueued:
        known = self._jobs.get(job.id)
        if known is not None:
            return Enqueued.DUPLICATE if known.enqueue_nonce == job.enqueue_nonce else Enqueued.COLLISION
        queue = self._queues.get(job.queue)
        if queue is None:
            return Enqueued.NO_QUEUE
        if queue.ready_count + queue.scheduled_count + beside >= self._limits.max_queue_depth:
            return Enqueued.FULL
        return Enqueued.OK

    def _enqueue(self, job: Job) -> Enqueued:
        reply = self._check(job)
        if reply is Enqueued.OK:
            # An instant once stored is past: else a clock that steps back would hide which heap a job stands in.
            self._latest_ms = max(self._latest_ms, job.created_at_ms)
            self._jobs[job.id] = job
            if not self._ids or job.id > self._ids[-1]:
                self._ids.append(job.id)
            else:
                insort(self._ids, job.id)
            self._file_pending(self._queues[job.queue], job, is_due=job.delay_ms == 0)
        return reply

    def _file_pending(self, queue: _Queue, job: Job, *, is_due: bool) -> None:
        """Put a PENDING job where it belongs, and wake a fetcher when that changes what it should do next."""
        if is_due:
            heappush(queue.ready, job.rank << ID_BITS | job.id)
            queue.ready_count += 1
            if self._waiting:
                self._wake()
        else:
            key = job.run_after_ms << ID_BITS | job.id
            heappush(queue.scheduled, key)
            queue.scheduled_count += 1
            if self._waiting and queue.scheduled[0] == key:
                self._wake()

    # -- out: reserve, extend, settle ----------------------------------------------------------------------------------

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs, going round the turns until `limit` are taken or none is left."""
        now_ms = self._now_ms()
        served = [(queue, turn.take) for turn in turns if (queue := self._queue(turn.queue)).has_work]
        self._promote_due((queue for queue, _ in served), now_ms=now_ms)
        nonce = f"{self._rng.getrandbits(NONCE_BITS):024x}"
        leased: list[Job] = []
        while served and len(leased) < limit:
            if len(served) == 1:
                served = [(served[0][0], limit)]  # nobody else's turn to wait for
            for queue, take in served:
                for _ in range(min(take, limit - len(leased))):
                    job = self._next_ready(queue)
                    if job is None:
                        break
                    leased.append(self._lease(queue, job, nonce, worker, now_ms=now_ms, lease_ms=lease_ms))
            served = [(queue, take) for queue, take in served if queue.ready_count]
        return leased

    def _next_ready(self, queue: _Queue) -> Job | None:
        while queue.ready:
            key = heappop(queue.ready)
            job = self._jobs.get(JobId(key & ID_MASK))
            if job is not None and job.status is Status.PENDING:
                queue.ready_count -= 1
                return job
        return None

    def _lease(self, queue: _Queue, job: Job, nonce: str, worker: str, *, now_ms: int, lease_ms: int) -> Job:
        started = transition.start(job, lease=Lease(job.id, nonce), worker=worker, now_ms=now_ms)
        self._jobs[job.id] = started
        self._deadlines[job.id] = now_ms + lease_ms
        queue.running += 1
        return started

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run `lease_ms` from now; a deadline never moves back."""
        deadline_ms = self._now_ms() + lease_ms
        return [self._extend(lease, deadline_ms) for lease in leases]

    def _extend(self, lease: Lease, deadline_ms: int) -> Extended:
        job = self._jobs.get(lease.job_id)
        if job is None or job.lease != lease:
            return Extended.LOST
        self._deadlines[job.id] = max(self._deadlines[job.id], deadline_ms)
        return Extended.CANCEL_REQUESTED if job.is_cancel_requested else Extended.HELD

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided, fenced by the lease."""
        now_ms = self._now_ms()
        return [self._settle(settlement, now_ms) for settlement in settlements]

    def _settle(self, settlement: Settlement, now_ms: int) -> Settled:
        lease = settlement.lease
        job = self._jobs.get(lease.job_id)
        if job is None:
            return Settled.LOST
        if job.lease is None or job.lease.nonce != lease.nonce:
            return Settled.ALREADY if job.settled_nonce == lease.nonce else Settled.LOST
        settled = _apply(job, settlement, now_ms=now_ms)
        self._leave_running(settled)
        if settled.status is Status.CANCELLED and not isinstance(settlement, Cancel):
            return Settled.CANCELLED
        return Settled.OK

    def _leave_running(self, job: Job) -> None:
        """File a job that was RUNNING until now by its new status."""
        queue = self._queues[job.queue]
        queue.running -= 1
        del self._deadlines[job.id]
        self._jobs[job.id] = job
        if job.status is Status.DONE or job.status is Status.CANCELLED:
            self._finish(job)
        elif job.status is Status.PENDING:
            self._file_pending(queue, job, is_due=job.run_after_ms <= job.updated_at_ms)
        else:
            self._bury(queue, job)

    def _finish(self, job: Job) -> None:
        self._finished.append(job.id)
        if len(self._finished) > self._limits.max_completed_jobs:
            self._jobs.pop(self._finished.popleft(), None)

    def _bury(self, queue: _Queue, job: Job) -> None:
        queue.dead += 1
        self._deaths += 1
        self._dead[job.id] = self._deaths
        if len(self._dead) > self._limits.max_dead_jobs:
            self._forget_dead(self._jobs[next(iter(self._dead))])

    def _forget_dead(self, job: Job) -> None:
        del self._jobs[job.id]
        del self._dead[job.id]
        self._queues[job.queue].dead -= 1

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Sleep until a job is enqueued, exactly until the next one is due, or until the timeout."""
        open_queues = [queue for name in queues if not (queue := self._queue(name)).is_paused]
        if any(queue.ready_count for queue in open_queues):
            return
        due_ms = min((queue.scheduled[0] >> ID_BITS for queue in open_queues if queue.scheduled_count), default=None)
        if due_ms is not None:
            timeout_s = min(timeout_s, (due_ms - self._now_ms()) / 1000)
        if timeout_s <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        try:
            async with self._clock.timeout(timeout_s):
                await woken
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(woken)

    def _wake(self) -> None:
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)
        self._waiting.clear()

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready; return how many."""
        now_ms = self._now_ms()
        promoted = 0
        for queue in self._queues.values():
            promoted += self._promote(queue, now_ms=now_ms, limit=limit - promoted)
        if promoted:
            self._wake()
        return promoted

    def _promote_due(self, queues: Iterable[_Queue], *, now_ms: int) -> None:
        for queue in queues:
            if queue.scheduled and queue.scheduled[0] >> ID_BITS <= now_ms:
                self._promote(queue, now_ms=now_ms, limit=PROMOTE_BATCH)

    def _promote(self, queue: _Queue, *, now_ms: int, limit: int) -> int:
        promoted = 0
        while promoted < limit and queue.scheduled and queue.scheduled[0] >> ID_BITS <= now_ms:
            job = self._jobs.get(JobId(heappop(queue.scheduled) & ID_MASK))
            if job is not None and job.status is Status.PENDING:
                heappush(queue.ready, job.rank << ID_BITS | job.id)
                queue.scheduled_count -= 1
                queue.ready_count += 1
                promoted += 1
        return promoted

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out."""
        now_ms = self._now_ms()
        lapsed = [job_id for job_id, deadline_ms in self._deadlines.items() if deadline_ms < now_ms][:limit]
        reaped = [transition.lapse(self._jobs[job_id], max_crashes=max_crashes, now_ms=now_ms) for job_id in lapsed]
        for job in reaped:
            self._leave_running(job)
        return reaped

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention; return how many."""
        now_ms = self._now_ms()
        pruned = self._prune_finished(before_ms=now_ms - self._limits.complete_job_ttl_ms, limit=limit)
        pruned += self._prune_dead(before_ms=now_ms - self._limits.dead_job_ttl_ms, limit=limit - pruned)
        self._compact()
        return pruned

    def _prune_finished(self, *, before_ms: int, limit: int) -> int:
        pruned = 0
        while self._finished and pruned < limit:
            job = self._jobs.get(self._finished[0])
            if job is not None and _ended_at_ms(job) > before_ms:
                break
            self._finished.popleft()
            if job is not None:
                del self._jobs[job.id]
                pruned += 1
        return pruned

    def _prune_dead(self, *, before_ms: int, limit: int) -> int:
        pruned = 0
        while self._dead and pruned < limit:
            job = self._jobs[next(iter(self._dead))]
            if _ended_at_ms(job) > before_ms:
                break
            self._forget_dead(job)
            pruned += 1
        return pruned

    def _compact(self) -> None:
        """Drop entries that stand for nothing any more, once they are the larger part."""
        if len(self._ids) > 2 * len(self._jobs) + COMPACT_SLACK:
            self._ids = [job_id for job_id in self._ids if job_id in self._jobs]
        for queue in self._queues.values():
            if len(queue.ready) > 2 * queue.ready_count + COMPACT_SLACK:
                queue.ready = self._live(queue.ready)
            if len(queue.scheduled) > 2 * queue.scheduled_count + COMPACT_SLACK:
                queue.scheduled = self._live(queue.scheduled)

    def _live(self, heap: list[int]) -> list[int]:
        jobs = self._jobs
        live = [key for key in heap if (job := jobs.get(JobId(key & ID_MASK))) and job.status is Status.PENDING]
        heapify(live)
        return live

    # -- looking and steering ------------------------------------------------------------------------------------------

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return self._jobs.get(job_id)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first (dead ones: latest death first)."""
        if query.status is Status.DEAD:
            return self._list_dead(query, after=after, limit=limit)
        end = len(self._ids) if after is None else bisect_left(self._ids, _cursor(after))
        found: list[Job] = []
        for place in range(end - 1, max(-1, end - 1 - LISTING_SCAN), -1):
            job = self._jobs.get(self._ids[place])
            if job is not None and _matches(job, query):
                found.append(job)
                if len(found) == limit:
                    return Page(found, str(self._ids[place]) if place else None)
        place = max(0, end - LISTING_SCAN)
        return Page(found, str(self._ids[place]) if place else None)

    def _list_dead(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        # At most max_dead_jobs are dead, so a walk from the latest is bounded.
        found: list[Job] = []
        before = self._deaths + 1 if after is None else _cursor(after)
        for job_id, death in reversed(self._dead.items()):
            job = self._jobs[job_id]
            if death < before and _matches(job, query):
                if len(found) == limit:
                    return Page(found, str(self._dead[found[-1].id]))
                found.append(job)
        return Page(found, None)

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        now_ms = self._now_ms()
        queue = self._queues[job.queue]
        self._promote(queue, now_ms=now_ms, limit=len(queue.scheduled))  # so that `run_after` tells which heap it is in
        cancelled = self._jobs[job_id] = transition.request_cancel(job, now_ms=now_ms)
        if job.status is Status.PENDING:
            if job.run_after_ms > now_ms:
                queue.scheduled_count -= 1
            else:
                queue.ready_count -= 1
            self._finish(cancelled)
        return cancelled

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING on their own queue with fresh counts."""
        now_ms = self._now_ms()
        return [self._replay(job_id, now_ms) for job_id in job_ids if job_id in self._dead]

    def _replay(self, job_id: JobId, now_ms: int) -> Job:
        job = self._jobs[job_id] = transition.replay(self._jobs[job_id], now_ms=now_ms)
        queue = self._queues[job.queue]
        del self._dead[job_id]
        queue.dead -= 1
        self._file_pending(queue, job, is_due=True)
        return job

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended; return how many."""
        deleted = 0
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is not None and job.status in FINAL and status in (None, job.status):
                if job.status is Status.DEAD:
                    self._forget_dead(job)
                else:
                    del self._jobs[job_id]
                deleted += 1
        return deleted

    def _now_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self._clock.now_ms())
        return self._latest_ms

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise QueueNotFoundError(name)
        return queue


def _apply(job: Job, settlement: Settlement, *, now_ms: int) -> Job:
    match settlement:
        case Complete():
            return transition.complete(job, now_ms=now_ms)
        case DeadLetter(reason=reason, error=error):
            return transition.dead_letter(job, reason=reason, error=error, now_ms=now_ms)
        case Cancel():
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule() | Release() if job.is_cancel_requested:
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule(delay_ms=delay_ms, error=error):
            return transition.reschedule(job, delay_ms=delay_ms, error=error, now_ms=now_ms)
        case Release(delay_ms=delay_ms, is_unhandled=unhandled):
            return transition.release(job, delay_ms=delay_ms, unhandled=unhandled, now_ms=now_ms)
        case never:
            assert_never(never)


def _matches(job: Job, query: JobQuery) -> bool:
    return query.status in (None, job.status) and query.queue in (None, job.queue) and query.type in (None, job.type)


def _ended_at_ms(job: Job) -> int:
    return job.finished_at_ms if job.finished_at_ms is not None else job.updated_at_ms


def _cursor(after: str) -> int:
    if not after.isascii() or not after.isdigit() or len(after) > MAX_CURSOR_DIGITS:
        raise InvalidRequestError("cursor must be one that a listing answered with", field="cursor")
    return int(after)
