"""A store of the core of the contract and nothing beyond it: jobs in a dict, found by looking at them all."""

from collections.abc import Collection, Mapping, Sequence
from random import Random

from gotaskq import job as transition
from gotaskq.amendment import Amended, Amendment, amend, may_amend
from gotaskq.backend import Enqueued, Extended, JobQuery, Note, Page, QueueCounts, Settled
from gotaskq.clock import Clock
from gotaskq.errors import InvalidRequestError, QueueNotFoundError
from gotaskq.job import FINAL, Job, JobId, Lease, Status
from gotaskq.keys import NO_KEYS
from gotaskq.outcome import Cancel, Settlement, carry_out
from gotaskq.policies.scheduling import Turn
from gotaskq.store_limits import StoreLimits


class DictBackend:
    def __init__(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> None:
        self.clock, self.rng, self.max_depth = clock, rng, limits.max_queue_depth
        self.jobs: dict[JobId, Job] = {}
        self.deadlines_ms: dict[Lease, int] = {}
        self.is_paused = {"default": False}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create_queue(self, name: str) -> bool:
        is_new = name not in self.is_paused
        self.is_paused.setdefault(name, False)
        return is_new

    async def queues(self) -> Mapping[str, QueueCounts]:
        return {name: self._counts(name) for name in sorted(self.is_paused)}

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        self.is_paused[self._known(queue)] = paused

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[Enqueued]:
        return [self._enqueue(job) for job in jobs]  # `atomic` is beyond the core

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        takes = {self._known(turn.queue): turn.take for turn in turns}
        now_ms = self.clock.now_ms()
        taken: list[Job] = []
        while around := [job for queue, take in takes.items() for job in self._due(queue)[:take]]:
            if len(taken) == limit:
                break
            for job in around[: limit - len(taken)]:
                lease = Lease(job.id, f"{self.rng.getrandbits(96):024x}")
                self.deadlines_ms[lease] = now_ms + lease_ms
                taken.append(self._put(transition.start(job, lease=lease, worker=worker, now_ms=now_ms)))
        return taken

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        for lease in leases:
            if self._held(lease):
                self.deadlines_ms[lease] = max(self.deadlines_ms[lease], self.clock.now_ms() + lease_ms)
        return [self._extended(lease) for lease in leases]

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        return [self._extended(note.lease) for note in notes]  # keeping them is beyond the core

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        return [self._settle(settlement) for settlement in settlements]

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        await self.clock.sleep(min(timeout_s, 0.05))

    async def promote(self, *, limit: int) -> int:
        return 0  # what is due is found by looking

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        now_ms = self.clock.now_ms()
        late = [lease for lease, deadline_ms in self.deadlines_ms.items() if deadline_ms < now_ms]
        lapsed = [job for lease in late if (job := self._held(lease))][:limit]
        return [self._put(job) for job in transition.lapse_together(lapsed, max_crashes=max_crashes, now_ms=now_ms)]

    async def expire(self, *, limit: int) -> list[Job]:
        return []  # beyond the core

    async def get(self, job_id: JobId) -> Job | None:
        return self.jobs.get(job_id)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        jobs = [job for job_id, job in sorted(self.jobs.items(), reverse=True) if query.admits(job)]
        return Page(jobs, None)  # pages are beyond the core

    async def cancel(self, job_id: JobId) -> Job | None:
        job = self.jobs.get(job_id)
        return job and self._put(transition.request_cancel(job, now_ms=self.clock.now_ms()))

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        job = self.jobs.get(job_id)
        if job and may_amend(job, amendment):
            return Amended(self._put(amend(job, amendment, now_ms=self.clock.now_ms())), is_amended=True)
        return Amended(job, is_amended=False) if job else None

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        dead = {job_id: job for job_id in job_ids if (job := self.jobs.get(job_id)) and job.status is Status.DEAD}
        return [self._put(transition.replay(job, now_ms=self.clock.now_ms())) for job in dead.values()]

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        ended = [job for job_id in job_ids if (job := self.jobs.get(job_id)) and job.status in FINAL]
        return sum(self.jobs.pop(job.id, None) is not None for job in ended if status in (None, job.status))

    async def prune(self, *, limit: int) -> int:
        return 0  # beyond the core

    def _known(self, queue: str) -> str:
        if queue not in self.is_paused:
            raise QueueNotFoundError(queue)
        return queue

    def _in(self, queue: str, status: Status) -> list[Job]:
        return [job for job in self.jobs.values() if job.queue == queue and job.status is status]

    def _due(self, queue: str) -> list[Job]:
        due = [job for job in self._in(queue, Status.PENDING) if job.run_after_ms <= self.clock.now_ms()]
        return [] if self.is_paused[queue] else sorted(due, key=lambda job: (job.rank, job.id))

    def _counts(self, queue: str) -> QueueCounts:
        waiting = [job.run_after_ms > self.clock.now_ms() for job in self._in(queue, Status.PENDING)]
        return QueueCounts(
            ready=waiting.count(False),
            scheduled=waiting.count(True),
            running=len(self._in(queue, Status.RUNNING)),
            dead=len(self._in(queue, Status.DEAD)),
            is_paused=self.is_paused[queue],
        )

    def _enqueue(self, job: Job) -> Enqueued:
        if job.keys != NO_KEYS:
            raise InvalidRequestError("this store keeps no keys", field="unique_key")  # beyond the core
        known = self.jobs.get(job.id)
        if known:
            return Enqueued.DUPLICATE if known.enqueue_nonce == job.enqueue_nonce else Enqueued.COLLISION
        if job.queue not in self.is_paused:
            return Enqueued.NO_QUEUE
        if self._counts(job.queue).depth >= self.max_depth:
            return Enqueued.FULL
        self._put(job)
        return Enqueued.OK

    def _held(self, lease: Lease) -> Job | None:
        job = self.jobs.get(lease.job_id)
        return job if job and job.lease == lease else None

    def _extended(self, lease: Lease) -> Extended:
        job = self._held(lease)
        if job is None:
            return Extended.LOST
        return Extended.CANCEL_REQUESTED if job.is_cancel_requested else Extended.HELD

    def _settle(self, settlement: Settlement) -> Settled:
        lease, is_cancel = settlement.lease, isinstance(settlement, Cancel)
        job = self._held(lease)
        if job is None:
            known = self.jobs.get(lease.job_id)
            return Settled.ALREADY if known and known.settled_nonce == lease.nonce else Settled.LOST
        if is_cancel and not job.is_cancel_requested:
            return Settled.LOST
        settled = self._put(carry_out(settlement, job, now_ms=self.clock.now_ms()))
        return Settled.CANCELLED if settled.status is Status.CANCELLED and not is_cancel else Settled.OK

    def _put(self, job: Job) -> Job:
        before = self.jobs.get(job.id)
        if before and before.lease and not job.lease:
            del self.deadlines_ms[before.lease]
        self.jobs[job.id] = job
        return job
