"""The Backend that a simulated process is given: every method is a call over the simulated network.

Like the adapters of real stores, it sends an enqueue again whose fate it does not know, with the same ids and nonces.
It has neither `enqueue_now` nor partitions, so the engine waits for it as for any store that is far away.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import Backend as Store
from gotaskq.backend import EnqueueReply, Extended, JobQuery, Note, Page, QueueCounts, Settled
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.outcome import Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.simulation.network import Network
from gotaskq.testing.simulation.process import SimProcess
from gotaskq.testing.simulation.store import Call

T = TypeVar("T")

ENQUEUE_TRIES: Final = 3


class SimBackend:
    """One process's way to the store."""

    def __init__(self, network: Network, process: SimProcess) -> None:
        self._network = network
        self._process = process

    def _call(self, name: str, about: object, make: Callable[[Store], Awaitable[T]]) -> Awaitable[T]:
        return self._network.carry(self._process, Call(name, about, make))

    async def open(self) -> None:
        """Nothing to do: the store is there."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        return await self._call("create_queue", name, lambda store: store.create_queue(name))

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        return await self._call("queues", None, lambda store: store.queues())

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        await self._call("set_paused", queue, lambda store: store.set_paused(queue, paused=paused))

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> Sequence[EnqueueReply]:
        """Store new jobs; sent again, the same to the letter, until somebody answers."""
        for _ in range(ENQUEUE_TRIES - 1):
            try:
                return await self.send(jobs, atomic=atomic)
            except BackendUnavailableError:
                continue
        return await self.send(jobs, atomic=atomic)

    async def send(self, jobs: Sequence[Job], *, atomic: bool) -> Sequence[EnqueueReply]:
        """Send an enqueue once."""
        return await self._call("enqueue", tuple(jobs), lambda store: store.enqueue(jobs, atomic=atomic))

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs. A worker's own name holds a process id, which no seed determines: it goes by ours."""
        name = self._process.name
        return await self._call(
            "reserve", lease_ms, lambda store: store.reserve(turns, limit=limit, lease_ms=lease_ms, worker=name)
        )

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run `lease_ms` from now."""
        if not leases:
            return []
        return await self._call(
            "extend", (tuple(leases), lease_ms), lambda store: store.extend(leases, lease_ms=lease_ms)
        )

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves."""
        return await self._call("note", tuple(notes), lambda store: store.note(notes))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided."""
        return await self._call("settle", tuple(settlements), lambda store: store.settle(settlements))

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Return when a job may be due, or at the timeout."""
        await self._network.wait_for_ready(self._process, queues, timeout_s=timeout_s)

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready."""
        return await self._call("promote", None, lambda store: store.promote(limit=limit))

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out."""
        return await self._call("reap", None, lambda store: store.reap(limit=limit, max_crashes=max_crashes))

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for too long."""
        return await self._call("expire", None, lambda store: store.expire(limit=limit))

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return await self._call("get", job_id, lambda store: store.get(job_id))

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first."""
        return await self._call("list_jobs", query, lambda store: store.list_jobs(query, after=after, limit=limit))

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one."""
        return await self._call("cancel", job_id, lambda store: store.cancel(job_id))

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits."""
        return await self._call("amend", (job_id, amendment), lambda store: store.amend(job_id, amendment))

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING again."""
        return await self._call("replay", tuple(job_ids), lambda store: store.replay(job_ids))

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended."""
        return await self._call("delete", (tuple(job_ids), status), lambda store: store.delete(job_ids, status=status))

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention."""
        return await self._call("prune", None, lambda store: store.prune(limit=limit))
