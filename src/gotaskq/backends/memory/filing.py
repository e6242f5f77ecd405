"""Where the jobs of the memory backend are filed: by id, by queue, by deadline, by end.

The base of `MemoryBackend`, whose methods make the moves.
Invariant: a PENDING job has one live entry in its queue's heaps; a RUNNING one has a deadline; a DEAD one is among the
dead, a DONE or CANCELLED one among the finished. The clock of this store never runs back.
"""

from random import Random

from gotaskq.backends.memory.board import MemoryBoard
from gotaskq.backends.memory.ended import DeadJobs, FinishedJobs
from gotaskq.backends.memory.governor import MemoryGovernor
from gotaskq.backends.memory.keys import KeyRing
from gotaskq.backends.memory.listing import Listing
from gotaskq.backends.memory.patience import Patience
from gotaskq.backends.memory.sleepers import Sleepers
from gotaskq.backends.memory.waiting import WaitingQueue
from gotaskq.board import BoardTerms
from gotaskq.clock import Clock
from gotaskq.errors import QueueNotFoundError
from gotaskq.job import CANCELLED, DONE, PENDING, Job, JobId
from gotaskq.queue_rules import QueueRules
from gotaskq.store_limits import StoreLimits


class Filing:
    """The jobs, and the moves from one place to the next."""

    def __init__(
        self, limits: StoreLimits | None = None, *, clock: Clock, rng: Random, jobs: dict[JobId, Job] | None = None
    ) -> None:
        limits = limits or StoreLimits()
        self._max_queue_depth = limits.max_queue_depth
        self._clock = clock
        self._rng = rng
        self._jobs: dict[JobId, Job] = {} if jobs is None else jobs
        self._queues: dict[str, WaitingQueue] = {}
        self._deadlines: dict[JobId, int] = {}
        self._keys = KeyRing(ttl_ms=limits.idempotency_ttl_ms, max_requests=limits.max_idempotency_keys)
        rules: dict[str, QueueRules] = {}  # the governor's, and read by those who keep what has ended
        self._dead = DeadJobs(self._keys, rules, max_count=limits.max_dead_jobs, ttl_ms=limits.dead_job_ttl_ms)
        self._listing = Listing(self._jobs, self._dead)
        self._patience = Patience()
        self._finished = FinishedJobs(
            self._jobs, self._keys, rules, max_count=limits.max_completed_jobs, ttl_ms=limits.complete_job_ttl_ms
        )
        self._sleepers = Sleepers(clock)
        self._boards: dict[str, MemoryBoard] = {}
        self._latest_ms = 0
        self.governor = MemoryGovernor(
            self._queues,
            self._jobs,
            self._patience,
            self._keys,
            rules,
            max_depth=limits.max_queue_depth,
            now_ms=self._now_ms,
        )

    def board(self, terms: BoardTerms) -> MemoryBoard:
        """Return a notice board; one name is one board."""
        return self._boards.setdefault(terms.name, MemoryBoard(terms, now_ms=self._now_ms))

    def _new_queue(self, name: str) -> WaitingQueue:
        return WaitingQueue(name, max_depth=self._max_queue_depth)

    def _file_pending(self, queue: WaitingQueue, job: Job, *, is_due: bool) -> None:
        """Put a PENDING job where it belongs, and wake a fetcher when that changes what it should do next."""
        self._patience.watch(job)
        if is_due:
            queue.push_ready(job)
            if self._sleepers.waiting:
                self._sleepers.wake()
        elif queue.push_scheduled(job) and self._sleepers.waiting:
            self._sleepers.wake()

    def _leave_running(self, job: Job) -> None:
        """File a job that was RUNNING until now by its new status."""
        queue = self._queues[job.queue]
        queue.running -= 1
        del self._deadlines[job.id]
        self._jobs[job.id] = job
        if job.status is DONE or job.status is CANCELLED:
            self._finished.add(job)
        elif job.status is PENDING:
            self._file_pending(queue, job, is_due=job.run_after_ms <= job.updated_at_ms)
        else:
            self._bury(queue, job)

    def _bury(self, queue: WaitingQueue, job: Job) -> None:
        queue.dead += 1
        evicted = self._dead.add(job)
        if evicted is not None:
            self._forget_dead(evicted)

    def _forget_dead(self, job: Job) -> None:
        del self._jobs[job.id]
        self._queues[job.queue].dead -= 1

    def _now_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self._clock.now_ms())
        return self._latest_ms

    def _queue(self, name: str) -> WaitingQueue:
        queue = self._queues.get(name)
        if queue is None:
            raise QueueNotFoundError(name)
        return queue
