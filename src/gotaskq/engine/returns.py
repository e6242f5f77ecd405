"""Returns: what workers elsewhere say of the jobs they were lent, carried to the store and told.

Used by `Leasing`. The local worker's decision code decides; the events are those a local worker's jobs have.
Invariant: an event is published once, and only after the backend confirmed its settlement.
"""

import logging
from collections.abc import Sequence
from random import Random
from typing import Final

from gotaskq.backend import Backend, Settled
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.decision import decide
from gotaskq.engine.registry import Registry
from gotaskq.engine.settler import Ended, event_of, made_of
from gotaskq.errors import BackendUnavailableError, JobTimeoutError, LeaseNotFoundError, StaleLeaseError
from gotaskq.events import JobCancelled, LeaseLost
from gotaskq.failure import describe
from gotaskq.job import Job, Lease, Status
from gotaskq.outcome import Complete, DeadLetter, Failed, Interrupted, Outcome, Succeeded
from gotaskq.policies.retry import NoRetry, RetryPolicy

MAX_UNSURE: Final = 1_024  # settlements whose reply was lost, remembered until their worker repeats them

logger = logging.getLogger(__name__)


class Returns:
    """Settles lent jobs, one call of their worker each."""

    def __init__(
        self, backend: Backend, *, registry: Registry, retry: RetryPolicy, bus: EventBus, clock: Clock, rng: Random
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._retry = retry
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._unsure: dict[Lease, Ended] = {}

    async def look(self, lease: Lease) -> Job:
        """Return the job of a lease, whoever holds it; raises LeaseNotFoundError."""
        job = await self._backend.get(lease.job_id)
        if job is None:
            raise LeaseNotFoundError(f"{lease.job_id}-{lease.nonce}")
        return job

    async def held(self, lease: Lease) -> Job:
        """Return the job of a lease that holds; raises LeaseNotFoundError or StaleLeaseError."""
        job = await self.look(lease)
        if job.lease != lease:
            raise StaleLeaseError(job.id, job.status)
        return job

    async def settle(self, lease: Lease, outcome: Outcome, *, may_retry: bool = True) -> Status:
        """Carry out what follows from an attempt's end; return the job's status then, for a repeat its present one.

        Raises LeaseNotFoundError, StaleLeaseError or BackendUnavailableError; after the last, repeat it.
        """
        job = await self.look(lease)
        if job.lease != lease:
            return self._settled_before(job, lease, outcome)
        ended = self._ended(job, outcome, may_retry=may_retry)
        try:
            [settled] = await self._backend.settle([ended.settlement])
        except BackendUnavailableError:
            self._remember(lease, ended)
            raise
        if settled in (Settled.OK, Settled.CANCELLED):
            return self._tell(ended, settled)
        return self._settled_before(await self.look(lease), lease, outcome)

    async def give_back(self, unwanted: Sequence[Ended]) -> None:
        """Settle jobs that nobody was lent; where the store is away, their leases lapse."""
        if not unwanted:
            return
        try:
            replies = await self._backend.settle([ended.settlement for ended in unwanted])
        except BackendUnavailableError as error:
            logger.warning("jobs not given back: their leases will lapse", extra={"error": str(error)})
            return
        for ended, settled in zip(unwanted, replies, strict=True):
            if settled in (Settled.OK, Settled.CANCELLED):
                self._tell(ended, settled)

    def _ended(self, job: Job, outcome: Outcome, *, may_retry: bool) -> Ended:
        registration = self._registry.find(job.type)
        own = (registration and registration.retry) or self._retry
        # Only the store's clock and ours can be compared here: who was lent the job may have asked another process.
        now_ms = self._clock.now_ms()
        if isinstance(outcome, Interrupted) and is_overdue(job, now_ms=now_ms):
            outcome = _timed_out(job)
        settlement = decide(job, outcome, own if may_retry else NoRetry(), rng=self._rng)
        ran_ms = now_ms - (job.started_at_ms or 0)
        return Ended(job, settlement, max(ran_ms, 0) / 1000)

    def _settled_before(self, job: Job, lease: Lease, outcome: Outcome) -> Status:
        """Answer a settlement that comes a second time, and tell of it where the first try could not.

        The store remembers the lease, and of the settlement only whether it made the job DONE.
        """
        is_done, was_asked_for_done = job.status is Status.DONE, isinstance(outcome, Succeeded)
        if job.settled_nonce != lease.nonce or is_done is not was_asked_for_done:
            self._bus.publish(LeaseLost(job))
            raise StaleLeaseError(job.id, job.status)
        ended = self._unsure.pop(lease, None)
        if ended is not None and (settled := made_of(ended, job)) in (Settled.OK, Settled.CANCELLED):
            self._tell(ended, settled)
        return job.status

    def _tell(self, ended: Ended, settled: Settled) -> Status:
        if settled is Settled.CANCELLED:
            self._bus.publish(JobCancelled(ended.job))
            return Status.CANCELLED
        self._bus.publish(event_of(ended))
        match ended.settlement:
            case Complete():
                return Status.DONE
            case DeadLetter():
                return Status.DEAD
            case _:
                return Status.PENDING

    def _remember(self, lease: Lease, ended: Ended) -> None:
        if len(self._unsure) >= MAX_UNSURE:
            del self._unsure[next(iter(self._unsure))]
        self._unsure[lease] = ended


def is_overdue(job: Job, *, now_ms: int) -> bool:
    """Say whether an attempt has run for longer than it may."""
    return 0 < job.timeouts.execution_ms <= now_ms - (job.started_at_ms or now_ms)


def _timed_out(job: Job) -> Failed:
    """Return how an attempt ended that was given back because its time was up: else its job would come for ever."""
    error = JobTimeoutError(job.timeouts.execution_ms / 1000)
    return Failed(describe(error), error)
