"""The memory backend: every job in this process; a real backend and the executable specification of the contract.

Where the jobs stand is in `filing.py`.
Invariant: every method runs without suspending (but `wait_for_ready`), so each is atomic on its event loop.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from gotaskq import job as transition
from gotaskq.amendment import Amended, Amendment, amend, may_amend
from gotaskq.backend import Enqueued, EnqueueReply, Extended, JobQuery, Note, Page, QueueCounts, Settled, Standing
from gotaskq.backends.memory.atomic import Trial
from gotaskq.backends.memory.filing import Filing
from gotaskq.backends.memory.keys import KeyRing
from gotaskq.backends.memory.waiting import WaitingQueue
from gotaskq.job import CANCELLED, DEAD, DEFAULT_QUEUE, FINAL, PENDING, Job, JobId, Lease, Status
from gotaskq.keys import NO_KEYS, Keys
from gotaskq.outcome import Cancel, Complete, Settlement, carry_out
from gotaskq.policies.scheduling import Turn

OK: Final = Enqueued.OK
SETTLED: Final = Settled.OK
NONCE_BITS: Final = 96
PROMOTE_BATCH: Final = 1_000  # due jobs a reservation promotes, so that a million due at once do not hold it either


class MemoryBackend(Filing):
    """Jobs in the memory of this process: gone when it ends. Belongs to one event loop."""

    async def open(self) -> None:
        """Register the default queue."""
        self._queues.setdefault(DEFAULT_QUEUE, self._new_queue(DEFAULT_QUEUE))

    async def close(self) -> None:
        """Wake whoever waits; the jobs stay as long as this object."""
        self._sleepers.wake()

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        if name in self._queues:
            return False
        self._queues[name] = self._new_queue(name)
        self._sleepers.wake()
        return True

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        self._promote_due(list(self._queues.values()), now_ms=self._now_ms())
        return {name: self._queues[name].counts() for name in sorted(self._queues)}

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        self._queue(queue).is_paused = paused
        self._sleepers.wake()

    # -- in: enqueue -------------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        """Store new jobs; each on its own, or with `atomic` all or none."""
        if atomic and (refusals := Trial(self._check, self._keys, now_ms=self._now_ms()).refusals(jobs)):
            return refusals
        return [self.enqueue_now(job) for job in jobs]

    def enqueue_now(self, job: Job) -> EnqueueReply:
        """Store one new job."""
        if job.keys is not NO_KEYS:
            return self._enqueue_with_keys(job)
        job_id = job.id
        queue = self._queues.get(job.queue)
        if queue is None or job_id in self._jobs or queue.ready + queue.scheduled >= queue.max_depth:
            return self._check(job, self._keys)
        if queue.rate is not None and not queue.rate.take(self._now_ms()):
            return Enqueued.TOO_FAST
        # An instant once stored is past: else a clock that steps back would hide which heap a job stands in.
        if job.created_at_ms > self._latest_ms:
            self._latest_ms = job.created_at_ms
        self._jobs[job_id] = job
        if not self._listing.add_newest(job_id):
            self._listing.insert(job_id)  # from another generator, or of a job that was deleted since
        if job.delay_ms or job.timeouts.schedule_ms:
            # Both count from now by this store's clock, which may be ahead of one that stepped back.
            job = self._jobs[job_id] = replace(job, run_after_ms=self._latest_ms + job.delay_ms)
            self._file_pending(queue, job, is_due=not job.delay_ms)
            return OK
        queue.push_ready(job)
        if self._sleepers.waiting:
            self._sleepers.wake()
        return OK

    def _enqueue_with_keys(self, job: Job) -> EnqueueReply:
        reply = self._check(job, self._keys)
        if reply is OK:
            self.enqueue_now(replace(job, keys=NO_KEYS))
            if job.unique_key:
                self._jobs[job.id] = replace(self._jobs[job.id], keys=Keys(job.unique_key))
        self._keys.heed(job, reply, now_ms=self._now_ms())
        return reply

    def _check(self, job: Job, keys: KeyRing, beside: int = 0) -> EnqueueReply:
        known = self._jobs.get(job.id)
        if known is not None:
            return Enqueued.DUPLICATE if known.enqueue_nonce == job.enqueue_nonce else Enqueued.COLLISION
        queue = self._queues.get(job.queue)
        if queue is None:
            return Enqueued.NO_QUEUE
        if job.keys is not NO_KEYS and (found := keys.find(job.keys, now_ms=self._now_ms())) is not None:
            return found
        if queue.ready + queue.scheduled + beside >= queue.max_depth:
            return Enqueued.FULL
        if queue.rate is not None and queue.rate.left(self._now_ms()) < beside + 1:
            return Enqueued.TOO_FAST
        return OK

    # -- out: reserve, extend, settle --------------------------------------------------------------------------------

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs, going round the turns until `limit` are taken or none is left."""
        now_ms = self._now_ms()
        # Without the turns that take nothing: they could be gone round for ever.
        served = [(queue, turn.take) for turn in turns if (queue := self._queue(turn.queue)).has_work and turn.take > 0]
        self._promote_due([queue for queue, _ in served], now_ms=now_ms)
        nonce, deadline_ms = f"{self._rng.getrandbits(NONCE_BITS):024x}", now_ms + lease_ms
        leased: list[Job] = []
        while served and len(leased) < limit:
            if len(served) == 1:
                served = [(served[0][0], limit)]  # nobody else's turn to wait for
            for queue, take in served:
                for job in queue.pop_ready(self._jobs, limit=min(take, limit - len(leased))):
                    job_id = job.id
                    running = transition.start(job, lease=Lease(job_id, nonce), worker=worker, now_ms=now_ms)
                    self._jobs[job_id] = running
                    self._deadlines[job_id] = deadline_ms
                    leased.append(running)
                    if job.timeouts.schedule_ms:
                        self._patience.forget(job_id)
            served = [(queue, take) for queue, take in served if queue.ready]
        return leased

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

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves, fenced by the lease."""
        now_ms = self._now_ms()
        return [self._note(note, now_ms) for note in notes]

    def _note(self, note: Note, now_ms: int) -> Extended:
        job = self._jobs.get(note.lease.job_id)
        if job is None or job.lease != note.lease:
            return Extended.LOST
        self._jobs[job.id] = transition.note(
            job, progress=note.progress, text=note.text, checkpoint_json=note.checkpoint_json, now_ms=now_ms
        )
        return Extended.CANCEL_REQUESTED if job.is_cancel_requested else Extended.HELD

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided, fenced by the lease."""
        now_ms = self._now_ms()
        jobs = self._jobs
        replies: list[Settled] = []
        for settlement in settlements:
            lease = settlement.lease
            job = jobs.get(lease.job_id)
            if job is None or job.lease is None or job.lease.nonce != lease.nonce:
                was_settled = job is not None and job.settled_nonce == lease.nonce
                replies.append(Settled.ALREADY if was_settled else Settled.LOST)
            elif type(settlement) is Complete:  # nearly all are: no match, no filing by status
                done = jobs[lease.job_id] = transition.complete(job, result_json=settlement.result_json, now_ms=now_ms)
                self._queues[done.queue].running -= 1
                del self._deadlines[lease.job_id]
                self._finished.add(done)
                replies.append(SETTLED)
            else:
                replies.append(self._settle(settlement, job, now_ms))
        return replies

    def _settle(self, settlement: Settlement, job: Job, now_ms: int) -> Settled:
        if isinstance(settlement, Cancel) and not job.is_cancel_requested:
            return Settled.LOST  # nobody asked: the lease lapses, and the job runs again
        settled = carry_out(settlement, job, now_ms=now_ms)
        self._leave_running(settled)
        if settled.status is CANCELLED and not isinstance(settlement, Cancel):
            return Settled.CANCELLED
        return Settled.OK

    # -- waiting and upkeep ------------------------------------------------------------------------------------

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Sleep until a job is enqueued, exactly until the next one is due, or until the timeout."""
        open_queues = [queue for name in queues if not (queue := self._queue(name)).is_paused]
        if any(queue.ready for queue in open_queues):
            return
        due_ms = min((due_ms for queue in open_queues if (due_ms := queue.next_due_ms) is not None), default=None)
        if due_ms is not None:
            timeout_s = min(timeout_s, (due_ms - self._now_ms()) / 1000)
        if timeout_s <= 0:
            return
        await self._sleepers.sleep(timeout_s)

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready; return how many."""
        now_ms = self._now_ms()
        promoted = 0
        for queue in self._queues.values():
            promoted += queue.promote(self._jobs, now_ms=now_ms, limit=limit - promoted)
        if promoted:
            self._sleepers.wake()
        return promoted

    def _promote_due(self, queues: Collection[WaitingQueue], *, now_ms: int) -> None:
        for queue in queues:
            if queue.scheduled:
                queue.promote(self._jobs, now_ms=now_ms, limit=PROMOTE_BATCH)

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out."""
        now_ms = self._now_ms()
        lapsed = [job_id for job_id, deadline_ms in self._deadlines.items() if deadline_ms < now_ms][:limit]
        reaped = transition.lapse_together(map(self._jobs.__getitem__, lapsed), max_crashes=max_crashes, now_ms=now_ms)
        for job in reaped:
            self._leave_running(job)
        return reaped

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for longer than their schedule timeout."""
        now_ms = self._now_ms()
        expired = self._patience.pop_expired(now_ms=now_ms, limit=limit)
        return [self._expire(self._jobs[job_id], now_ms) for job_id in expired]

    def _expire(self, job: Job, now_ms: int) -> Job:
        queue = self._queues[job.queue]
        queue.promote_all(self._jobs, now_ms=now_ms)
        queue.take_out(job, now_ms=now_ms)
        dead = self._jobs[job.id] = transition.expire(job, now_ms=now_ms)
        self._bury(queue, dead)
        return dead

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention; return how many."""
        now_ms = self._now_ms()
        pruned = self._finished.prune(now_ms=now_ms, limit=limit)
        for job in self._dead.expired(now_ms=now_ms, limit=limit - pruned):
            self._dead.remove(job.id)
            self._forget_dead(job)
            pruned += 1
        self._keys.forget(now_ms=now_ms)
        self._listing.drop_gaps()
        for queue in self._queues.values():
            queue.compact()
        return pruned

    # -- looking and steering ----------------------------------------------------------------------------------------

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return self._jobs.get(job_id)

    async def standing(self, job: Job) -> Standing:
        """Return where a job stands."""
        now_ms, deadline_ms = self._now_ms(), self._deadlines.get(job.id)
        if deadline_ms is not None:
            return Standing(lease_left_ms=deadline_ms - now_ms)
        return self._queue(job.queue).standing(job, self._jobs, now_ms=now_ms)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first (dead ones: latest death first)."""
        return self._listing.page(query, after=after, limit=limit)

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one."""
        job = self._jobs.get(job_id)
        if job is None or job.queue not in self._queues:  # a queue that was deleted had only jobs that have ended
            return job
        now_ms = self._now_ms()
        queue = self._queues[job.queue]
        queue.promote_all(self._jobs, now_ms=now_ms)  # so that `run_after` tells which heap it is in
        cancelled = self._jobs[job_id] = transition.request_cancel(job, now_ms=now_ms)
        if job.status is PENDING:
            queue.take_out(job, now_ms=now_ms)
            self._patience.forget(job_id)
            self._finished.add(cancelled)
        return cancelled

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits, or a dead one that is meant and comes back."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if not may_amend(job, amendment) or (job.status is DEAD and not self._keys.take_again(job)):
            return Amended(job, is_amended=False)
        now_ms = self._now_ms()
        queue = self._queues[job.queue]
        if job.status is DEAD:
            self._dead.remove(job_id)
            queue.dead -= 1
        else:
            queue.promote_all(self._jobs, now_ms=now_ms)  # as for a cancel
            queue.take_out(job, now_ms=now_ms)
            self._patience.forget(job_id)
        amended = self._jobs[job_id] = amend(job, amendment, now_ms=now_ms)
        self._file_pending(queue, amended, is_due=amended.run_after_ms <= now_ms)
        return Amended(amended, is_amended=True)

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING on their own queue with fresh counts."""
        now_ms = self._now_ms()
        return [
            self._replay(job_id, now_ms)
            for job_id in job_ids
            if job_id in self._dead and self._keys.take_again(self._jobs[job_id])
        ]

    def _replay(self, job_id: JobId, now_ms: int) -> Job:
        job = self._jobs[job_id] = transition.replay(self._dead.remove(job_id), now_ms=now_ms)
        queue = self._queues[job.queue]
        queue.dead -= 1
        self._file_pending(queue, job, is_due=True)
        return job

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended; return how many."""
        deleted = 0
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is None or job.status not in FINAL or status not in (None, job.status):
                continue
            if job.status is DEAD:
                self._forget_dead(self._dead.remove(job_id))
            else:
                self._finished.remove(job_id)
                del self._jobs[job_id]
            deleted += 1
        return deleted
