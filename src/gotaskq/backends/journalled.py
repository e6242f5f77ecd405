"""A store of your own in a few lines: the memory backend decides what becomes of jobs, your journal keeps it.

A call is carried out in memory, and answered for once its changes are in the journal; those of many callers are written
at once, in a thread, while the loop goes on.
Invariant: what was answered for is in the journal. After a failed write, nothing is answered for until one succeeds.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any, Final, Protocol, TypeVar

from gotaskq.amendment import Amended, Amendment
from gotaskq.backend import EnqueueReply, Extended, JobQuery, Note, Page, QueueCounts, Settled
from gotaskq.backends.memory.recorded import RecordedMemory
from gotaskq.board import Board, BoardTerms
from gotaskq.clock import Clock
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import Job, JobId, Lease, Status
from gotaskq.outcome import Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.store_limits import StoreLimits

T = TypeVar("T")

ANSWER_WITHIN_S: Final = 10.0  # a disk that takes longer hangs; the write goes on, and is waited for again


class Journal(Protocol):
    """Keeps records by their keys. It may block, is called from one thread, and says by raising that it failed."""

    def read(self) -> Iterable[tuple[str, bytes]]:
        """Open it, for this process alone, and return all that it keeps; of two records of a key, the later counts."""
        ...

    def write(self, records: Mapping[str, bytes | None]) -> None:
        """Keep all of these or none, so that they outlive a crash; None: forget what there is of this key.

        What was not kept, or not for sure, is written again.
        """
        ...

    def close(self) -> None:
        """Let go of it; it may be read again."""
        ...


class JournalledBackend:
    """Jobs in the memory of this process, taken up from a journal by the next one. Belongs to one event loop."""

    def __init__(self, journal: Journal, limits: StoreLimits | None = None, *, clock: Clock, rng: Random) -> None:
        self._journal = journal
        self._empty = partial(RecordedMemory, limits, clock=clock, rng=rng)
        self._store = self._empty()
        self._thread: ThreadPoolExecutor | None = None
        self._writing: asyncio.Future[None] | None = None
        self._kept = 0  # of the store's changes, how many are in the journal
        self.is_reachable = True

    async def open(self) -> None:
        """Read the journal, and register the default queue."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gotaskq-journal")
        try:
            records = await self._in_thread(lambda: dict(self._journal.read()))
            # Nothing counts as kept: what the limits of today leave out is still to be forgotten there.
            self._store, self._kept, self.is_reachable = self._empty(), 0, True
            self._store.restore(records.items())
            await self._store.open()
        except BaseException:
            self._thread.shutdown()
            raise

    async def close(self) -> None:
        """Wake whoever waits, and let go of the journal."""
        await self._store.close()
        with contextlib.suppress(BackendUnavailableError):  # as it was before: nobody was told that it is kept
            await self._keep_changes()
        if self._thread is not None:
            await self._in_thread(self._journal.close)
            self._thread.shutdown()

    async def create_queue(self, name: str) -> bool:
        """Register a queue; False when it was there."""
        return await self._once_kept(self._store.create_queue(name))

    async def queues(self) -> Mapping[str, QueueCounts]:
        """Return every registered queue with its counts, sorted by name."""
        return await self._once_kept(self._store.queues())

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume giving out the queue's jobs."""
        await self._once_kept(self._store.set_paused(queue, paused=paused))

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        """Store new jobs; each on its own, or with `atomic` all or none."""
        return await self._once_kept(self._store.enqueue(jobs, atomic=atomic))

    def board(self, terms: BoardTerms) -> Board:
        """Return a notice board, in memory: who speaks on it does not outlive this process."""
        return self._store.board(terms)

    async def reserve(self, turns: Sequence[Turn], *, limit: int, lease_ms: int, worker: str) -> list[Job]:
        """Lease due jobs, going round the turns until `limit` are taken or none is left."""
        return await self._once_kept(self._store.reserve(turns, limit=limit, lease_ms=lease_ms, worker=worker))

    async def extend(self, leases: Sequence[Lease], *, lease_ms: int) -> list[Extended]:
        """Let the leases run `lease_ms` from now; a deadline never moves back."""
        return await self._once_kept(self._store.extend(leases, lease_ms=lease_ms))

    async def note(self, notes: Sequence[Note]) -> list[Extended]:
        """Keep what running attempts say of themselves, fenced by the lease."""
        return await self._once_kept(self._store.note(notes))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Carry out what was decided, fenced by the lease."""
        return await self._once_kept(self._store.settle(settlements))

    async def wait_for_ready(self, queues: Collection[str], *, timeout_s: float) -> None:
        """Sleep until a job is enqueued, exactly until the next one is due, or until the timeout."""
        await self._store.wait_for_ready(queues, timeout_s=timeout_s)

    async def promote(self, *, limit: int) -> int:
        """Move scheduled jobs that are due to ready; return how many."""
        return await self._once_kept(self._store.promote(limit=limit))

    async def reap(self, *, limit: int, max_crashes: int) -> list[Job]:
        """Take back jobs whose lease ran out."""
        return await self._once_kept(self._store.reap(limit=limit, max_crashes=max_crashes))

    async def expire(self, *, limit: int) -> list[Job]:
        """Give up jobs that waited for longer than their schedule timeout."""
        return await self._once_kept(self._store.expire(limit=limit))

    async def get(self, job_id: JobId) -> Job | None:
        """Return the job, or None."""
        return await self._once_kept(self._store.get(job_id))

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        """List jobs, newest first (dead ones: latest death first)."""
        return await self._once_kept(self._store.list_jobs(query, after=after, limit=limit))

    async def cancel(self, job_id: JobId) -> Job | None:
        """Cancel a waiting job, mark a running one, leave an ended one."""
        return await self._once_kept(self._store.cancel(job_id))

    async def amend(self, job_id: JobId, amendment: Amendment) -> Amended | None:
        """Change a job if it waits."""
        return await self._once_kept(self._store.amend(job_id, amendment))

    async def replay(self, job_ids: Sequence[JobId]) -> list[Job]:
        """Make dead jobs PENDING on their own queue with fresh counts."""
        return await self._once_kept(self._store.replay(job_ids))

    async def delete(self, job_ids: Sequence[JobId], *, status: Status | None = None) -> int:
        """Delete jobs that have ended; return how many."""
        return await self._once_kept(self._store.delete(job_ids, status=status))

    async def prune(self, *, limit: int) -> int:
        """Delete jobs that are past their retention; return how many."""
        return await self._once_kept(self._store.prune(limit=limit))

    # -- keeping -------------------------------------------------------------------------------------------------------

    async def _once_kept(self, call: Coroutine[Any, Any, T]) -> T:
        """Answer for a call once all that it did, or may have seen, is in the journal."""
        with contextlib.closing(call):
            if not self.is_reachable:  # what is not known to be kept must not become more and more
                await self._keep_changes()
            answer = await call
        await self._keep_changes()
        return answer

    async def _keep_changes(self) -> None:
        """Return once all changes so far are in the journal; raises BackendUnavailableError."""
        changes = self._store.changes
        while self._kept < changes:
            self._writing = self._writing or self._begin_to_write()
            # To await the write itself would cancel it with whoever is cancelled here; others wait for it, too.
            written, _ = await asyncio.wait([self._writing], timeout=ANSWER_WITHIN_S)
            if not written:
                self.is_reachable = False
                raise BackendUnavailableError(f"the journal has not answered within {ANSWER_WITHIN_S:g} s")
            error = written.pop().exception()
            if error is not None:
                raise BackendUnavailableError(f"the journal could not be written: {error!r}") from error

    def _begin_to_write(self) -> asyncio.Future[None]:
        changes, records = self._store.changes, self._store.take_changes()
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing = self._in_thread(lambda: self._journal.write(records))
        writing.add_done_callback(partial(self._hear_written, changes, records, told))
        return told

    def _hear_written(
        self, changes: int, keys: Iterable[str], told: asyncio.Future[None], writing: asyncio.Future[None]
    ) -> None:
        self._writing = None
        error = writing.exception()
        self.is_reachable = error is None
        if error is None:
            self._kept = changes
            told.set_result(None)
        else:
            self._store.give_back(keys)
            told.set_exception(error)
            told.exception()  # perhaps nobody waits any more

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, call)
