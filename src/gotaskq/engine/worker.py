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
from gotaskq.context import SEAT
from gotaskq.engine.attempt import begin_attempt
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import LAST_GRACE_S, Deadlines
from gotaskq.engine.decision import decide
from gotaskq.engine.ending import Ending
from gotaskq.engine.fetcher import Fetcher
from gotaskq.engine.handover import Handover
from gotaskq.engine.maintenance import Maintenance
from gotaskq.engine.registry import Registration, Registry
from gotaskq.engine.reports import Reports
from gotaskq.engine.settler import Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import JobStarted
from gotaskq.job import NO_TIMEOUTS, RECORD_VERSION, Job, JobId, Lease, held_lease
from gotaskq.outcome import Cancelled, Expired, Failed, Interrupted, Outcome, Release, Succeeded, Unhandled
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector

BUSY_S: Final = 0.002  # how long all slots together may keep the loop from HTTP before they yield
HEARTBEATS_PER_LEASE: Final = 3  # two may fail before a lease is lost
CANCEL_GRACE_S: Final = 3.0  # what a cancelled handler has to end in
STALE_S: Final = 0.5  # a job fetched ahead that has not started by then goes back to the queue

INTERRUPTED: Final = Interrupted()
CANCELLED: Final = Cancelled()
UNHANDLED: Final = Unhandled()
EXPIRED: Final = Expired()

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
        self._slots: list[Slot] = []
        self._deadlines = Deadlines(self._slots, clock=clock, give_up=self._give_up)
        self._reports = Reports(backend, deadlines=self._deadlines, bus=bus, clock=clock)
        self._slots += [Slot(self._reports) for _ in range(options.concurrency)]
        self._abandoned: set[asyncio.Task[None]] = set()  # slots of handlers that would not end
        self._handover = Handover(options.concurrency)
        self._settler = Settler(backend, reports=self._reports, bus=bus, clock=clock, rng=rng)
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
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self.ended = asyncio.Event()  # set when `run` is over, however it ended
        self.is_worn_out = False  # too many handlers would not end: the process had better begin anew

    @property
    def busy(self) -> int:
        """Return how many slots run an attempt now."""
        return self._handover.running

    @property
    def abandoned(self) -> int:
        """How many handlers still run whose jobs were given up, on the loop or in threads."""
        return len(self._abandoned) + self._registry.abandoned

    @property
    def holds_the_loop(self) -> bool:
        """Whether handlers that would not end still run on the loop, which then cannot be closed."""
        return bool(self._abandoned)

    async def run(self) -> None:
        """Run jobs until `stop`, then drain: finish what runs, or give it back when the shutdown timeout is over."""
        for slot in self._slots:
            self._start_slot(slot)
        try:
            async with asyncio.TaskGroup() as loops:
                fetching = loops.create_task(self._fetcher.run())
                settling = loops.create_task(self._settler.run())
                upkeep = [loops.create_task(loop) for loop in self._upkeep()]
                try:
                    await self._stopping.wait()
                finally:
                    await self._drain(fetching)
                    for task in (settling, *upkeep):
                        task.cancel()
        finally:
            for slot in self._slots:
                slot.close()
            await asyncio.wait([slot.task for slot in self._slots if slot.task is not None], timeout=0)
            self.ended.set()

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

    def _start_slot(self, slot: Slot) -> None:
        slot.task = asyncio.create_task(self._run_slot(slot))

    async def _run_slot(self, slot: Slot) -> None:
        """Run one job after the other; yield to the loop every few milliseconds even where no handler does."""
        SEAT.set(slot)
        handover, settler, registrations = self._handover, self._settler, self._registry.by_type
        bus, observed = self._bus, self._bus.observed
        rng, monotonic_s = self._rng, self._clock.monotonic_s
        ended_s = monotonic_s()
        while not slot.is_closing:
            job = handover.take_now() or await handover.take()
            registration = registrations.get(job.type)
            has_timeouts = job.timeouts is not NO_TIMEOUTS
            is_plain = not has_timeouts and job.version <= RECORD_VERSION  # nearly all are
            refusal = None if is_plain else refusal_of(job)
            if registration is None or refusal is not None:
                handover.ended(0.0)
                settlement = decide(job, refusal or UNHANDLED, self._retry, rng=rng)
                duration_s = None
            else:
                if JobStarted in observed:
                    bus.publish(JobStarted(job))
                started_s = monotonic_s()
                if has_timeouts or registration.timeout_s is not None:
                    self._set_deadline(slot, job, registration, now_s=started_s)
                begun = begin_attempt(registration.call, job, slot)
                outcome = begun if isinstance(begun, Succeeded) else await begun
                if slot.is_abandoned:
                    break
                ended_s = monotonic_s()
                duration_s = ended_s - started_s
                handover.ended(duration_s)
                settlement = decide(job, outcome, registration.retry or self._retry, rng=rng)
            if not settler.put(Ended(job, settlement, duration_s)):
                await settler.room()
            if ended_s - self._slice_began_s > BUSY_S:
                await self._yield()

    def _set_deadline(self, slot: Slot, job: Job, registration: Registration, *, now_s: float) -> None:
        """Let an attempt run as long as its job says, else as long as its type does."""
        timeout_s = job.timeouts.execution_ms / 1000 or registration.timeout_s
        if timeout_s:
            self._deadlines.begin(slot, timeout_s=timeout_s, now_s=now_s)

    def _give_up(self, slot: Slot) -> None:
        """Settle the job of a handler that would not end, and put another slot in its place."""
        self._abandon(slot)
        fresh = self._slots[self._slots.index(slot)] = Slot(self._reports)
        self._start_slot(fresh)
        if self.abandoned > self._options.concurrency / 2 and not self.is_worn_out:
            self.is_worn_out = True
            logger.error("worker_worn_out", extra={"abandoned": self.abandoned, "slots": self._options.concurrency})
            self.stop()

    def _abandon(self, slot: Slot) -> None:
        job, outcome = slot.job, slot.stopped_by or INTERRUPTED
        if job is None or slot.task is None:
            return
        slot.is_abandoned = True
        logger.error("handler_would_not_end", extra={"job_id": str(job.id), "type": job.type, "attempt": job.attempt})
        registration = self._registry.find(job.type)
        retry = (registration and registration.retry) or self._retry
        duration_s = slot.timeout_s if isinstance(outcome, Failed) else None
        self._settler.put(Ended(job, decide(job, outcome, retry, rng=self._rng), duration_s))
        self._abandoned.add(slot.task)
        slot.task.add_done_callback(self._abandoned.discard)
        self._handover.ended(slot.timeout_s)

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

    async def _drain(self, fetching: asyncio.Task[None]) -> None:
        self._fetcher.stop()
        await asyncio.wait([fetching])
        self._give_back(self._handover.clear())
        if self.busy:
            logger.info("draining", extra={"running": self.busy, "timeout_s": self._options.shutdown_timeout_s})
        await self._wait_until_idle(self._options.shutdown_timeout_s)
        for slot in self._slots:
            slot.stop(INTERRUPTED)
        await self._wait_until_idle(CANCEL_GRACE_S)
        for slot in self._slots:
            slot.press()
        await self._wait_until_idle(LAST_GRACE_S if self.busy else 0)
        for slot in self._slots:
            self._abandon(slot)
        await self._flush()

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

    async def _flush(self) -> None:
        try:
            async with self._clock.timeout(self._options.shutdown_timeout_s or CANCEL_GRACE_S):
                await self._settler.flush()
        except TimeoutError:
            lost = len(self._settler.leases())
            logger.error("results could not be settled; their leases will lapse", extra={"settlements": lost})  # noqa: TRY400

    def _give_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._settler.put(Ended(job, Release(held_lease(job)), None))

    # -- upkeep --------------------------------------------------------------------------------------------------------

    def _upkeep(self) -> list[Coroutine[None, None, None]]:
        upkeep = [
            self._beat(),
            self._return_stale(),
            self._deadlines.run(),
            self._reports.run(),
            *self._maintenance.loops(),
        ]
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
        await ending.wait(lambda: not (self.busy or self._held() or self._fetcher.is_reserving))
        self.stop()


def refusal_of(job: Job) -> Outcome | None:
    """Return how an attempt ends before it begins, for a job of a newer version or one that came too late."""
    if job.timeouts.schedule_ms and (job.started_at_ms or 0) > (job.expires_at_ms or 0):
        return EXPIRED
    return UNHANDLED if job.version > RECORD_VERSION else None
