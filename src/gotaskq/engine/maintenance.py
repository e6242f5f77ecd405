"""Maintenance: what must happen to jobs while nobody calls.

Promoter (due → ready), Reaper (lapsed leases → ready or dead), Expirer (waited too long → dead), Pruner (past retention
→ gone). Every worker runs all four, without a leader; a duty takes a bounded batch at a time, and goes on as long as it
finds a full one.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Final, Protocol

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import Event, JobCancelled, JobDied, LeaseLapsed
from gotaskq.job import DeathReason, Job, Status

PROMOTE_EVERY_S: Final = 1.0
REAP_EVERY_S: Final = 5.0
REAPS_PER_LEASE: Final = 6  # a short lease asks for a quick recovery, so it is reaped more often
EXPIRE_EVERY_S: Final = 1.0
PRUNE_EVERY_S: Final = 5.0
SPREAD: Final = 0.5  # each pause is up to so much shorter, never longer, so that many workers do not come at once
BATCH: Final = 100
PRUNE_BATCH: Final = 2_000  # about a millisecond of one core

logger = logging.getLogger(__name__)


class Holders(Protocol):
    """Those who hold leases and renew them over this process."""

    async def renew_if_late(self) -> bool:
        """Let them renew first where this process stood still, and say whether it did."""
        ...


class Maintenance:
    """The periodic duties, as loops that run until cancelled."""

    def __init__(
        self,
        backend: Backend,
        *,
        heartbeat: Holders,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        lease_ms: int,
        max_crashes: int,
    ) -> None:
        self._backend = backend
        self._heartbeat = heartbeat
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._reap_every_s = min(REAP_EVERY_S, lease_ms / 1000 / REAPS_PER_LEASE)
        self._max_crashes = max_crashes

    def loops(self) -> list[Coroutine[None, None, None]]:
        """Return the loops to run, one a duty."""
        return [
            self._repeat(self._promote, every_s=PROMOTE_EVERY_S, batch=BATCH),
            self._repeat(self._reap, every_s=self._reap_every_s, batch=BATCH),
            self._repeat(self._expire, every_s=EXPIRE_EVERY_S, batch=BATCH),
            self._repeat(self._prune, every_s=PRUNE_EVERY_S, batch=PRUNE_BATCH),
        ]

    async def _repeat(self, duty: Callable[[], Awaitable[int]], *, every_s: float, batch: int) -> None:
        while True:
            await self._clock.sleep(every_s * self._rng.uniform(1 - SPREAD, 1))
            try:
                while await duty() >= batch:  # however many there are: else a high rate would outrun us for good
                    await self._clock.sleep(0)
            except BackendUnavailableError as error:
                logger.warning("maintenance waits for the backend", extra={"error": str(error)})

    async def _promote(self) -> int:
        return await self._backend.promote(limit=BATCH)

    async def _reap(self) -> int:
        # After the loop stood still, holders come first: we here, and other workers of this loop before the next round.
        if await self._heartbeat.renew_if_late():
            return 0
        reaped = await self._backend.reap(limit=BATCH, max_crashes=self._max_crashes)
        for job in reaped:
            logger.warning("lease lapsed", extra={"job_id": str(job.id), "crashes": job.crashes, "worker": job.worker})
            self._bus.publish(reaped_event(job))
        return len(reaped)

    async def _expire(self) -> int:
        expired = await self._backend.expire(limit=BATCH)
        for job in expired:
            self._bus.publish(JobDied(job, DeathReason.EXPIRED, job.error or "expired", None))
        return len(expired)

    async def _prune(self) -> int:
        return await self._backend.prune(limit=PRUNE_BATCH)


def reaped_event(job: Job) -> Event:
    """Return what is told of a job whose lease ran out."""
    if job.status is Status.DEAD:
        return JobDied(job, job.death_reason or DeathReason.WORKER_LOST, job.error or "worker lost", None)
    if job.status is Status.CANCELLED:
        return JobCancelled(job)
    return LeaseLapsed(job)
