"""The fetcher: leases jobs for the slots that are free, queue by queue as the selector says.

One a worker. Invariant: it asks for no more jobs than the handover has room for, and none once it is stopped.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from typing import Final

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.handover import Handover
from gotaskq.engine.heartbeat import Heartbeat
from gotaskq.errors import BackendUnavailableError, QueueNotFoundError
from gotaskq.events import QueueCreated
from gotaskq.policies.scheduling import QueueSelector

QUEUES_AGE_S: Final = 1.0  # a queue made by another process is served within a second
OUTAGE_PAUSE_S: Final = 1.0

logger = logging.getLogger(__name__)


class Fetcher:
    """Reserves jobs for one worker."""

    def __init__(
        self,
        backend: Backend,
        *,
        handover: Handover,
        heartbeat: Heartbeat,
        selector: QueueSelector,
        bus: EventBus,
        clock: Clock,
        worker: str,
        lease_ms: int,
        only: Collection[str] | None = None,
        max_jobs: int | None = None,
    ) -> None:
        self._backend = backend
        self._handover = handover
        self._heartbeat = heartbeat
        self._selector = selector
        self._clock = clock
        self._worker = worker
        self._lease_ms = lease_ms
        self._only = only
        self._jobs_left = max_jobs
        self._refunded = asyncio.Event()
        self._queues: tuple[str, ...] = ()
        self._queues_read_s = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self.is_reserving = False  # a reservation is under way: its jobs are on their way here
        self._is_stopped = False
        bus.subscribe(QueueCreated, self._hear_of_queue)

    async def run(self) -> None:
        """Fetch until stopped."""
        self._task = asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):
            while not self._is_stopped:
                await self._fetch()

    def stop(self) -> None:
        """Fetch no more; a reservation under way still hands its jobs over: none lies leased to nobody."""
        self._is_stopped = True
        if self._task is not None and not self.is_reserving:
            self._task.cancel()

    @property
    def is_exhausted(self) -> bool:
        """Whether as many jobs were fetched as may be."""
        return self._jobs_left == 0

    def refund(self, count: int) -> None:
        """Hear that so many jobs were given back without having run; others may be fetched for them."""
        if self._jobs_left is not None:
            self._jobs_left += count
            self._refunded.set()

    async def _fetch(self) -> None:
        room = await self._handover.room()
        if self._jobs_left is not None:
            room = min(room, await self._allowed())
        try:
            await self._refresh_queues()
            if not await self._reserve(room):
                await self._backend.wait_for_ready(self._queues, timeout_s=QUEUES_AGE_S)
        except QueueNotFoundError:
            self._queues_read_s = float("-inf")
        except BackendUnavailableError as error:
            logger.warning("fetching waits for the backend", extra={"error": str(error)})
            await self._clock.sleep(OUTAGE_PAUSE_S)

    async def _reserve(self, limit: int) -> int:
        turns = self._selector.order(self._queues)
        sent_s = self._clock.monotonic_s()
        self.is_reserving = True
        try:
            leased = await self._backend.reserve(turns, limit=limit, lease_ms=self._lease_ms, worker=self._worker)
            jobs = await self._heartbeat.admit(leased, sent_s=sent_s) if leased else leased
        finally:
            self.is_reserving = False
        if jobs:
            self._selector.served(jobs[-1].queue)
            self._handover.put(jobs)
            if self._jobs_left is not None:
                self._jobs_left -= len(jobs)
        return len(jobs)

    async def _allowed(self) -> int:
        while not self._jobs_left:
            self._refunded.clear()
            await self._refunded.wait()
        return self._jobs_left

    async def _refresh_queues(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._queues_read_s >= QUEUES_AGE_S:
            names = tuple(name for name in await self._backend.queues() if self._only is None or name in self._only)
            if names != self._queues:
                self._queues = names
            self._queues_read_s = now_s

    def _hear_of_queue(self, _: QueueCreated) -> None:
        self._queues_read_s = float("-inf")
