"""GoTaskQ with one thing broken on purpose, each in the way a bug would break it. A simulation must notice them all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import pytest
from msgspec.structs import replace

from gotaskq.backend import EnqueueReply, Extended, Settled
from gotaskq.backends.memory import MemoryBackend
from gotaskq.backends.memory.patience import Patience
from gotaskq.engine.fetcher import Fetcher
from gotaskq.engine.handover import Handover
from gotaskq.engine.heartbeat import Heartbeat
from gotaskq.engine.maintenance import Maintenance
from gotaskq.engine.settler import Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.engine.worker import Worker
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import JobDone
from gotaskq.job import Job, JobId, Lease
from gotaskq.outcome import Cancelled, Complete, Interrupted, Settlement
from gotaskq.testing.simulation.backend import SimBackend

Break: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def settle_without_looking_at_the_lease(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.settle

    async def settle(self: MemoryBackend, settlements: Sequence[Settlement]) -> list[Settled]:
        current = [await _lease_now(self, settlement.lease) for settlement in settlements]
        return await intact(self, [replace(one, lease=lease) for one, lease in zip(settlements, current, strict=True)])

    patch.setattr(MemoryBackend, "settle", settle)


async def _lease_now(backend: MemoryBackend, lease: Lease) -> Lease:
    job = await backend.get(lease.job_id)
    return lease if job is None or job.lease is None else job.lease


def give_up_waiting_jobs_early(patch: pytest.MonkeyPatch) -> None:
    intact = Patience.pop_expired

    def pop_expired(self: Patience, *, now_ms: int, limit: int) -> Iterator[JobId]:
        return intact(self, now_ms=now_ms + 50, limit=limit)

    patch.setattr(Patience, "pop_expired", pop_expired)


def call_a_repeat_carried_out(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.settle

    async def settle(self: MemoryBackend, settlements: Sequence[Settlement]) -> list[Settled]:
        replies = await intact(self, settlements)
        return [Settled.OK if reply is Settled.ALREADY else reply for reply in replies]

    patch.setattr(MemoryBackend, "settle", settle)


def extend_a_lease_that_is_lost(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.extend

    async def extend(self: MemoryBackend, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        return await intact(self, [await _lease_now(self, lease) for lease in leases], lease_ms=lease_ms)

    patch.setattr(MemoryBackend, "extend", extend)


def reap_leases_that_run(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.reap

    async def reap(self: MemoryBackend, *, limit: int, max_crashes: int) -> list[Job]:
        for job_id in self._deadlines:
            self._deadlines[job_id] -= 2_000
        return await intact(self, limit=limit, max_crashes=max_crashes)

    patch.setattr(MemoryBackend, "reap", reap)


def reap_without_end(patch: pytest.MonkeyPatch) -> None:
    async def reap(self: Maintenance) -> int:
        return len(await self._backend.reap(limit=100, max_crashes=1_000_000))

    patch.setattr(Maintenance, "_reap", reap)


def never_reap(patch: pytest.MonkeyPatch) -> None:
    async def reap(self: Maintenance) -> int:
        return 0

    patch.setattr(Maintenance, "_reap", reap)


def give_out_early(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend._now_ms
    patch.setattr(MemoryBackend, "_now_ms", lambda self: intact(self) + 50)


def publish_before_the_store_confirmed(patch: pytest.MonkeyPatch) -> None:
    intact = Settler.put

    def put(self: Settler, ended: Ended) -> bool:
        if isinstance(ended.settlement, Complete):
            self._bus.publish(JobDone(ended.job, ended.duration_s or 0.0))
        return intact(self, ended)

    patch.setattr(Settler, "put", put)


def give_up_settling_at_the_first_outage(patch: pytest.MonkeyPatch) -> None:
    async def settle(self: Settler, batch: list[Ended]) -> list[Settled]:
        try:
            return await self._backend.settle([ended.settlement for ended in batch])
        except BackendUnavailableError:
            return [Settled.OK] * len(batch)

    patch.setattr(Settler, "_settle_until_accepted", settle)


def forget_a_cut_batch(patch: pytest.MonkeyPatch) -> None:
    """Of a large batch of settlements, only the first is carried to the store."""
    intact = Settler.put
    patch.setattr(Settler, "put", lambda self, ended: True if len(self._waiting) > 1 else intact(self, ended))


def drop_fetched_jobs_when_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Handover, "clear", _lose_all)


def _lose_all(self: Handover) -> list[Job]:
    self._jobs.clear()
    return []


def stop_in_the_middle_of_a_reservation(patch: pytest.MonkeyPatch) -> None:
    def stop(self: Fetcher) -> None:
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    patch.setattr(Fetcher, "stop", stop)


def stop_the_heartbeat(patch: pytest.MonkeyPatch) -> None:
    async def renew(self: Heartbeat) -> None:
        pass

    patch.setattr(Heartbeat, "_renew", renew)


def run_what_was_not_leased(patch: pytest.MonkeyPatch) -> None:
    intact = Handover.put
    patch.setattr(Handover, "put", lambda self, jobs: intact(self, [*jobs, *jobs[:1]]))


def call_a_cancelled_job_done(patch: pytest.MonkeyPatch) -> None:
    intact = MemoryBackend.cancel

    async def cancel(self: MemoryBackend, job_id: JobId) -> Job | None:
        job = await intact(self, job_id)
        if job is not None and job.is_cancel_requested:
            self._jobs[job_id] = replace(job, is_cancel_requested=False)
        return job

    patch.setattr(MemoryBackend, "cancel", cancel)


def leave_abandoned_jobs_leased(patch: pytest.MonkeyPatch) -> None:
    """A drain forgets the jobs whose handlers would not end."""
    intact = Worker._give_back
    patch.setattr(Worker, "_give_back", lambda self, jobs: None if self._stopping.is_set() else intact(self, jobs))


def stop_slots_without_a_word(patch: pytest.MonkeyPatch) -> None:
    """An interrupted attempt counts as cancelled by a user: a deploy would end jobs."""
    intact = Slot.stop
    cancelled = Cancelled()

    def stop(self: Slot, reason: Interrupted | Cancelled) -> None:
        intact(self, cancelled)

    patch.setattr(Slot, "stop", stop)


def enqueue_again_with_a_new_nonce(patch: pytest.MonkeyPatch) -> None:
    async def enqueue(self: SimBackend, jobs: Sequence[Job], *, atomic: bool = False) -> Sequence[EnqueueReply]:
        for attempt in range(3):
            try:
                again = [replace(job, enqueue_nonce=f"{job.enqueue_nonce}/{attempt}") for job in jobs]
                return await self.send(again, atomic=atomic)
            except BackendUnavailableError:
                continue
        return await self.send(jobs, atomic=atomic)

    patch.setattr(SimBackend, "enqueue", enqueue)


def count_cancelled_jobs_as_running(patch: pytest.MonkeyPatch) -> None:
    """A cancelled job is counted as one that runs."""
    intact = MemoryBackend.cancel

    async def cancel(self: MemoryBackend, job_id: JobId) -> Job | None:
        before = self._jobs.get(job_id)
        job = await intact(self, job_id)
        if before is not None and job is not before and job is not None and job.status.value == "CANCELLED":
            self._queues[job.queue].running += 1
        return job

    patch.setattr(MemoryBackend, "cancel", cancel)


MUTANTS: Final[Sequence[Break]] = (
    settle_without_looking_at_the_lease,
    call_a_repeat_carried_out,
    give_up_waiting_jobs_early,
    extend_a_lease_that_is_lost,
    reap_leases_that_run,
    reap_without_end,
    never_reap,
    give_out_early,
    publish_before_the_store_confirmed,
    give_up_settling_at_the_first_outage,
    forget_a_cut_batch,
    drop_fetched_jobs_when_stopped,
    stop_in_the_middle_of_a_reservation,
    stop_the_heartbeat,
    run_what_was_not_leased,
    call_a_cancelled_job_done,
    leave_abandoned_jobs_leased,
    stop_slots_without_a_word,
    enqueue_again_with_a_new_nonce,
    count_cancelled_jobs_as_running,
)
