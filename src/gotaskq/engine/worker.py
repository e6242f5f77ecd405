"""The worker: NUM_WORKERS slots for the whole process, fed by one fetcher, emptied by one settler.

Run by the app's `workers()`. Invariant: when `run` returns, every job this worker took is settled or was given back.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random
from typing import Final

from gotaskq.backend import Backend, Extended
from gotaskq.clock import Clock
from gotaskq.engine.attempt import SUCCEEDED, begin_attempt
from gotaskq.engine.bus import EventBus
from gotaskq.engine.decision import decide
from gotaskq.engine.ending import Ending
from gotaskq.engine.fetcher import Fetcher
from gotaskq.engine.handover import Handover
from gotaskq.engine.maintenance import Maintenance
from gotaskq.engine.registry import Registry
from gotaskq.engine.settler import Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import JobStarted
from gotaskq.job import Job, JobId, Lease, held_lease
from gotaskq.outcome import Cancelled, Interrupted, Release, Unhandled
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector

BUSY_S: Final = 0.002  # how long all slots together may keep the loop from HTTP before they yield
HEARTBEATS_PER_LEASE: Final = 3  # two may fail before a lease is lost
CANCEL_GRACE_S: Final = 3.0  # what a cancelled handler has to end in
FLUSH_S: Final = 1.5  # what the last results have at least; drain, grace, this and HTTP's 5 s are less than 30 s
STALE_S: Final = 0.5  # a job fetched ahead that has not started by then goes back to the queue

INTERRUPTED: Final = Interrupted()
CANCELLED: Final = Cancelled()
UNHANDLED: Final = Unhandled()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker runs; durations in the unit of their names. `queues` None serves them all."""

    name: str
    concurrency: int
    lease_ms: int
    shutdown_timeout_s: float
    max_crashes: int = 3
    queues: frozenset[str] | None = None
    burst: bool = False  # end once nothing is left to run
    max_jobs: int | None = None  # end after so many


class Worker:
    """Runs jobs until stopped, then drains."""

    def __init__(
        self,
        backend: Backend,
        *,
        registry: Registry,
        retry: RetryPolicy,
        selector: QueueSelector,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        options: WorkerOptions,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._retry = retry
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._options = options
        self._slots = [Slot() for _ in range(options.concurrency)]
        self._handover = Handover(options.concurrency)
        self._settler = Settler(backend, bus=bus, clock=clock, rng=rng)
        self._fetcher = Fetcher(
            backend,
            handover=self._handover,
            selector=selector,
            bus=bus,
            clock=clock,
            worker=options.name,
            lease_ms=options.lease_ms,
            only=options.queues,
            max_jobs=options.max_jobs,
        )
        self._maintenance = Maintenance(
            backend, bus=bus, clock=clock, rng=rng, lease_ms=options.lease_ms, max_crashes=options.max_crashes
        )
        self._slice_began_s = 0.0
        self._is_slice_over = False
        self._quieting = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self.ended = asyncio.Event()  # set when `run` is over, however it ended

    @property
    def busy(self) -> int:
        """Return how many slots run an attempt now."""
        return self._handover.running

    @property
    def is_quiet(self) -> bool:
        """Whether it was told to fetch no more jobs."""
        return self._quieting.is_set()

    async def run(self) -> None:
        """Run jobs until `stop`, then drain: finish what runs, or give it back when the shutdown timeout is over."""
        slots = [self._start_slot(slot) for slot in self._slots]
        try:
            async with asyncio.TaskGroup() as loops:
                fetching = loops.create_task(self._fetcher.run())
                settling = loops.create_task(self._settler.run())
                upkeep = [loops.create_task(loop) for loop in (self._fall_quiet(fetching), *self._upkeep())]
                try:
                    await self._stopping.wait()
                finally:
                    await self._drain(fetching)
                    for task in (settling, *upkeep):
                        task.cancel()
        finally:
            for slot in self._slots:
                slot.close()
            await asyncio.wait(slots, timeout=0)
            self.ended.set()

    def quiet(self) -> None:
        """Fetch no more jobs, and give those back that have not started; what runs goes on, and `run` does too."""
        self._quieting.set()

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    def hurry(self) -> None:
        """Drain without waiting: give back what still runs, at once."""
        self._stopping.set()
        self._hurrying.set()

    def cancel(self, job_id: JobId) -> bool:
        """Cancel the attempt of this job if it runs here; its handler may still finish."""
        for slot in self._slots:
            if slot.job is not None and slot.job.id == job_id:
                slot.stop(CANCELLED)
                return True
        return False

    # -- running -------------------------------------------------------------------------------------------------------

    def _start_slot(self, slot: Slot) -> asyncio.Task[None]:
        slot.task = asyncio.create_task(self._run_slot(slot))
        return slot.task

    async def _run_slot(self, slot: Slot) -> None:
        """Run one job after the other; yield to the loop every few milliseconds even where no handler does."""
        handover, settler, registrations = self._handover, self._settler, self._registry.by_type
        bus, observed = self._bus, self._bus.observed
        rng, monotonic_s = self._rng, self._clock.monotonic_s
        ended_s = monotonic_s()
        while not slot.is_closing:
            job = handover.take_now() or await handover.take()
            registration = registrations.get(job.type)
            if registration is None:
                handover.ended(0.0)
                settlement = decide(job, UNHANDLED, self._retry, rng=rng)
                duration_s = None
            else:
                if JobStarted in observed:
                    bus.publish(JobStarted(job))
                started_s = monotonic_s()
                rest = begin_attempt(registration.call, job, slot)
                outcome = SUCCEEDED if rest is None else await rest
                ended_s = monotonic_s()
                duration_s = ended_s - started_s
                handover.ended(duration_s)
                if slot.is_abandoned:
                    break
                settlement = decide(job, outcome, registration.retry or self._retry, rng=rng)
            if not settler.put(Ended(job, settlement, duration_s)):
                await settler.room()
            if ended_s - self._slice_began_s > BUSY_S:
                await self._yield()

    async def _yield(self) -> None:
        """Give the loop back; the slots share one slice of time, which begins anew with the loop's next turn."""
        if not self._is_slice_over:
            self._is_slice_over = True
            asyncio.get_running_loop().call_soon(self._begin_slice)
        await asyncio.sleep(0)

    def _begin_slice(self) -> None:
        self._is_slice_over = False
        self._slice_began_s = self._clock.monotonic_s()

    # -- draining ------------------------------------------------------------------------------------------------------

    async def _fall_quiet(self, fetching: asyncio.Task[None]) -> None:
        await self._quieting.wait()
        given_back = await self._end_fetching(fetching)
        logger.info("quiet: no more jobs are fetched", extra={"running": self.busy, "given_back": given_back})

    async def _end_fetching(self, fetching: asyncio.Task[None]) -> int:
        """Fetch no more, give back what waits for a slot, and return how many jobs those were."""
        self._fetcher.stop()
        await asyncio.wait([fetching])
        unstarted = self._handover.clear()
        self._give_back(unstarted)
        return len(unstarted)

    async def _drain(self, fetching: asyncio.Task[None]) -> None:
        ends_s = self._clock.monotonic_s() + self._options.shutdown_timeout_s
        await self._end_fetching(fetching)
        if self.busy:
            logger.info("draining", extra={"running": self.busy, "timeout_s": self._options.shutdown_timeout_s})
        await self._wait_until_idle(ends_s - self._clock.monotonic_s())
        for slot in self._slots:
            slot.stop(INTERRUPTED)
        await self._wait_until_idle(CANCEL_GRACE_S)
        abandoned = []
        for slot in self._slots:
            if slot.job is not None:
                slot.is_abandoned = True
                abandoned.append(slot.job)
        if abandoned:
            logger.warning("handlers would not end", extra={"job_ids": [str(job.id) for job in abandoned]})
        self._give_back(abandoned)
        await self._flush(0.0 if self._hurrying.is_set() else ends_s - self._clock.monotonic_s())

    async def _wait_until_idle(self, timeout_s: float) -> None:
        if not self.busy:
            return
        hurrying = asyncio.create_task(self._hurrying.wait())
        idle = asyncio.create_task(self._handover.idle())
        try:
            async with self._clock.timeout(timeout_s):
                await asyncio.wait([idle, hurrying], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        finally:
            for task in (idle, hurrying):
                task.cancel()

    async def _flush(self, left_s: float) -> None:
        try:
            async with self._clock.timeout(max(left_s, FLUSH_S)):
                await self._settler.flush()
        except TimeoutError:
            lost = len(self._settler.leases())
            logger.error("results could not be settled; their leases will lapse", extra={"settlements": lost})  # noqa: TRY400

    def _give_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._settler.put(Ended(job, Release(held_lease(job)), None))

    # -- upkeep --------------------------------------------------------------------------------------------------------

    def _upkeep(self) -> list[Coroutine[None, None, None]]:
        upkeep = [self._beat(), self._return_stale(), *self._maintenance.loops()]
        options = self._options
        return [*upkeep, self._end_when_done()] if options.burst or options.max_jobs is not None else upkeep

    async def _beat(self) -> None:
        """Extend every lease we hold, three times a lease."""
        while True:
            await self._clock.sleep(self._options.lease_ms / 1000 / HEARTBEATS_PER_LEASE)
            leases = self._held()
            try:
                replies = await self._backend.extend(leases, lease_ms=self._options.lease_ms)
            except BackendUnavailableError as error:
                logger.warning("leases could not be extended", extra={"leases": len(leases), "error": str(error)})
                continue
            for lease, extended in zip(leases, replies, strict=True):
                if extended is Extended.CANCEL_REQUESTED:
                    self.cancel(lease.job_id)

    def _held(self) -> list[Lease]:
        running = [slot.job for slot in self._slots if slot.job is not None]
        return [held_lease(job) for job in (*running, *self._handover.waiting())] + self._settler.leases()

    async def _return_stale(self) -> None:
        """Give back jobs fetched ahead whose slots turned out to be busy for longer than the handover expected."""
        seen: set[JobId] = set()
        while True:
            await self._clock.sleep(STALE_S)
            waiting = self._handover.waiting()
            if any(job.id in seen for job in waiting):
                waiting = self._handover.clear()
                self._fetcher.refund(len(waiting))
                self._give_back(waiting)
                waiting = []
            seen = {job.id for job in waiting}

    async def _end_when_done(self) -> None:
        options = self._options
        ending = Ending(
            self._backend, fetcher=self._fetcher, clock=self._clock, queues=options.queues, burst=options.burst
        )
        await ending.wait(lambda: not (self.is_quiet or self.busy or self._held() or self._fetcher.is_reserving))
        self.stop()
