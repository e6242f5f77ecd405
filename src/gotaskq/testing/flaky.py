"""A store that can be told to fail, to be late, or to lose a reply; told nothing, it is the store behind it.

    flaky = FlakyBackend()
    async with app.override(wrap=flaky.around):
        flaky.lose_reply("settle")

It has none of the abilities a store may have beside the rest, so the engine waits for it as for one that is far away.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import Backend, EnqueueReply, Extended, JobQuery, Note, Page, QueueCounts, Settled
from gotaskq.errors import BackendUnavailableError, GotaskqError
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.outcome import Settlement
from gotaskq.policies.scheduling import Turn

T = TypeVar("T")

METHODS: Final = frozenset(name for name in vars(Backend) if not name.startswith("_"))


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What happens to one call, in this order; None and False are nothing."""

    until: asyncio.Event | None = None
    refusal: Exception | None = None
    is_reply_lost: bool = False


class FlakyBackend:
    """Troubles befall the calls of a method in the order they were asked for, each as many times as it says."""

    def __init__(self, store: Backend | None = None) -> None:
        self._store = store
        self._troubles: dict[str, deque[_Trouble]] = defaultdict(deque)
        self.calls: list[str] = []  # the methods called so far

    def around(self, store: Backend) -> Self:
        """Stand before this store; what `TaskQ.override(wrap=…)` asks for."""
        self._store = store
        return self

    def fail(self, method: str, *, times: int = 1, error: Exception | None = None) -> None:
        """Let calls raise BackendUnavailableError, or this error, and reach the store not at all."""
        self._expect(method, _Trouble(refusal=error or BackendUnavailableError(f"{method} was told to fail")), times)

    def lose_reply(self, method: str, *, times: int = 1) -> None:
        """Let calls be carried out, and raise BackendUnavailableError all the same."""
        self._expect(method, _Trouble(is_reply_lost=True), times)

    def delay(self, method: str, *, until: asyncio.Event, times: int = 1) -> None:
        """Let calls wait for an event before they reach the store."""
        self._expect(method, _Trouble(until=until), times)

    def _expect(self, method: str, trouble: _Trouble, times: int) -> None:
        if method not in METHODS:
            raise ValueError(f"a Backend has no method {method!r}; it has {', '.join(sorted(METHODS))}")
        self._troubles[method].extend([trouble] * times)

    async def _call(self, method: str, make: Callable[[Backend], Awaitable[T]]) -> T:
        if self._store is None:
            raise GotaskqError("this FlakyBackend stands before no store; use FlakyBackend(store) or its `around`")
        self.calls.append(method)
        troubles = self._troubles[method]
        trouble = troubles.popleft() if troubles else _Trouble()
        if trouble.until is not None:
            await trouble.until.wait()
        if trouble.refusal is not None:
            raise trouble.refusal
        reply = await make(self._store)
        if trouble.is_reply_lost:
            raise BackendUnavailableError(f"the reply to {method} was told to get lost")
        return reply

    async def open(self) -> None:
        """Open the store."""
        await self._call("open", lambda store: store.open())

    async def close(self) -> None:
        """Close the store."""
        await self._call("close", lambda store: store.close())

    async def create_queue(self, name: str) -> bool:
        """Register a queue."""
        return await self._call("create_queue", lambda store: store.create_queue(name))

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every queue with its counts."""
        return await self._call("queues", lambda store: store.queues())

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        await self._call("set_paused", lambda store: store.set_paused(queue, paused=paused))

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> Sequence[EnqueueReply]:
        """Store new jobs."""
        return await self._call("enqueue", lambda store: store.enqueue(jobs, atomic=atomic))

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs."""
        return await self._call(
            "reserve", lambda store: store.reserve(turns, limit=limit, lease_ms=lease_ms, worker=worker)
        )

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run on."""
        return await self._call("extend", lambda store: store.extend(leases, lease_ms=lease_ms))

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves."""
        return await self._call("note", lambda store: store.note(notes))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided."""
        return await self._call("settle", lambda store: store.settle(settlements))

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Return when a job may be due, or at the timeout."""
        await self._call("wait_for_ready", lambda store: store.wait_for_ready(queues, timeout_s=timeout_s))

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready."""
        return await self._call("promote", lambda store: store.promote(limit=limit))

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out."""
        return await self._call("reap", lambda store: store.reap(limit=limit, max_crashes=max_crashes))

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for too long."""
        return await self._call("expire", lambda store: store.expire(limit=limit))

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return await self._call("get", lambda store: store.get(job_id))

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs."""
        return await self._call("list_jobs", lambda store: store.list_jobs(query, after=after, limit=limit))

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one."""
        return await self._call("cancel", lambda store: store.cancel(job_id))

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits."""
        return await self._call("amend", lambda store: store.amend(job_id, amendment))

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING again."""
        return await self._call("replay", lambda store: store.replay(job_ids))

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended."""
        return await self._call("delete", lambda store: store.delete(job_ids, status=status))

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention."""
        return await self._call("prune", lambda store: store.prune(limit=limit))
