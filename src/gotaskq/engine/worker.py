"""The worker: NUM_WORKERS slots for the whole process, fed by one fetcher, emptied by one settler.

Run by the app's `workers()`. Invariant: when `run` returns, every job this worker took is settled or was given back.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from random import Random
from typing import Final

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.context import SEAT
from gotaskq.engine.attempt import SUCCEEDED, UNHANDLED, begin_attempt, refusal_of
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import LAST_GRACE_S, Deadlines
from gotaskq.engine.decision import decide
from gotaskq.engine.ending import Ending
from gotaskq.engine.fetcher import Fetcher
from gotaskq.engine.handover import Handover
from gotaskq.engine.heartbeat import Heartbeat, Held
from gotaskq.engine.loop_watch import LoopWatch
from gotaskq.engine.maintenance import Maintenance
from gotaskq.engine.options import WorkerOptions
from gotaskq.engine.registry import Registration, Registry
from gotaskq.engine.reports import Reports
from gotaskq.engine.settler import Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.events import JobStarted, LoopStalled
from gotaskq.job import NO_TIMEOUTS, RECORD_VERSION, Job, JobId, Lease, held_lease
from gotaskq.outcome import Cancelled, Failed, Interrupted, Release
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector

BUSY_S: Final = 0.002  # how long all slots together may keep the loop from HTTP before they yield
CANCEL_GRACE_S: Final = 3.0  # what a cancelled handler has to end in
FLUSH_S: Final = 1.5  # what the last results have at least; drain, grace, this and HTTP's 5 s are less than 30 s
STALE_S: Final = 0.5  # a job fetched ahead that has not started by then goes back to the queue
WEAR_S: Final = 1.0  # how soon we notice that too many handlers would not end

INTERRUPTED: Final = Interrupted()
CANCELLED: Final = Cancelled()

logger = logging.getLogger(__name__)


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
        self.options = options
        self._slots: list[Slot] = []
        self._deadlines = Deadlines(self._slots, clock=clock, give_up=self._give_up)
        self._reports = Reports(backend, deadlines=self._deadlines, bus=bus, clock=clock)
        self._slots += [Slot(self._reports) for _ in range(options.concurrency)]
        self._abandoned: set[asyncio.Task[None]] = set()  # slots of handlers that would not end
        self._handover = Handover(options.concurrency)
        self._settler = Settler(backend, reports=self._reports, bus=bus, clock=clock, rng=rng)
        self._watch = LoopWatch(clock=clock, on_stall=self._tell_of_stall) if options.has_real_time else None
        self._heartbeat = Heartbeat(
            backend,
            clock=clock,
            lease_ms=options.lease_ms,
            held=self._held,
            exclusive_types=registry.exclusive_types,
            cancel=self.cancel,
            interrupt=self._interrupt,
            watch=self._watch,
        )
        self._fetcher = Fetcher(
            backend,
            handover=self._handover,
            heartbeat=self._heartbeat,
            selector=selector,
            bus=bus,
            clock=clock,
            worker=options.name,
            lease_ms=options.lease_ms,
            only=options.queues,
            max_jobs=options.max_jobs,
        )
        self._maintenance = Maintenance(
            backend,
            heartbeat=self._heartbeat,
            bus=bus,
            clock=clock,
            rng=rng,
            lease_ms=options.lease_ms,
            max_crashes=options.max_crashes,
        )
        self._slice_began_s = 0.0
        self._is_slice_over = False
        self._quieting = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self.resting = asyncio.Event()  # set once it is told to fetch no more, to be quiet or to end
        self.ended = asyncio.Event()  # set when `run` is over, however it ended
        self.is_worn_out = False  # too many handlers would not end: the process had better begin anew

    @property
    def busy(self) -> int:
        """Return how many slots run an attempt now."""
        return self._handover.running

    @property
    def abandoned(self) -> int:
        """How many handlers still run whose jobs were given up, on the loop or in threads."""
        return self.abandoned_on_loop + self._registry.abandoned

    @property
    def abandoned_on_loop(self) -> int:
        """How many of them run on the loop, which then cannot be closed."""
        return len(self._abandoned)

    @property
    def loop_lag_s(self) -> float:
        """Return by how much the event loop was late at worst in the last 15 s."""
        return 0.0 if self._watch is None else self._watch.lag_s

    @property
    def is_quiet(self) -> bool:
        """Whether it was told to fetch no more jobs."""
        return self._quieting.is_set()

    async def run(self) -> None:
        """Run jobs until `stop`, then drain: finish what runs, or give it back when the shutdown timeout is over."""
        for slot in self._slots:
            self._start_slot(slot)
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
            await asyncio.wait([slot.task for slot in self._slots if slot.task is not None], timeout=0)
            self.ended.set()

    def quiet(self) -> None:
        """Fetch no more jobs, and give those back that have not started; what runs goes on, and `run` does too."""
        self._quieting.set()
        self.resting.set()

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()
        self.resting.set()

    def hurry(self) -> None:
        """Drain without waiting: give back what still runs, at once."""
        self.stop()
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
            slot.held = job = handover.take_now() or await handover.take()
            registration = registrations.get(job.type)
            is_plain = job.timeouts is NO_TIMEOUTS and job.version <= RECORD_VERSION  # nearly all are
            refusal = None if is_plain else refusal_of(job)
            if registration is None or refusal is not None:
                handover.ended(0.0)
                settlement = decide(job, refusal or UNHANDLED, self._retry, rng=rng)
                duration_s = None
            else:
                if JobStarted in observed:
                    bus.publish(JobStarted(job))
                started_s = monotonic_s()
                if registration.timeout_s is not None or not is_plain:
                    self._set_deadline(slot, job, registration, now_s=started_s)
                begun = begin_attempt(registration.call, job, slot)
                outcome = SUCCEEDED if begun is None else await begun
                if slot.is_abandoned:
                    break
                ended_s = monotonic_s()
                duration_s = ended_s - started_s
                handover.ended(duration_s)
                settlement = decide(job, outcome, registration.retry or self._retry, rng=rng)
            has_room = settler.put(Ended(job, settlement, duration_s))
            slot.held = None
            if not has_room:
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
        if not self._abandon(slot):
            return
        fresh = self._slots[self._slots.index(slot)] = Slot(self._reports)
        self._start_slot(fresh)

    def _abandon(self, slot: Slot) -> bool:
        """Settle the job that runs here without waiting for its handler; say whether there was one."""
        job, outcome = slot.job, slot.stopped_by or INTERRUPTED
        if job is None or slot.task is None or slot.is_abandoned:
            return False
        slot.is_abandoned = True
        slot.act_at_s = None
        logger.error("handler_would_not_end", extra={"job_id": str(job.id), "type": job.type, "attempt": job.attempt})
        registration = self._registry.find(job.type)
        retry = (registration and registration.retry) or self._retry
        duration_s = slot.timeout_s if isinstance(outcome, Failed) else None
        self._settler.put(Ended(job, decide(job, outcome, retry, rng=self._rng), duration_s))
        self._abandoned.add(slot.task)
        slot.task.add_done_callback(self._abandoned.discard)
        self._handover.ended(slot.timeout_s)
        return True

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
        ends_s = self._clock.monotonic_s() + self.options.shutdown_timeout_s
        await self._end_fetching(fetching)
        if self.busy:
            logger.info("draining", extra={"running": self.busy, "timeout_s": self.options.shutdown_timeout_s})
        await self._wait_until_idle(ends_s - self._clock.monotonic_s())
        for slot in self._slots:
            slot.stop(INTERRUPTED)
        await self._wait_until_idle(CANCEL_GRACE_S)
        for slot in self._slots:
            slot.press()
        await self._wait_until_idle(LAST_GRACE_S, even_hurrying=True)  # executors let go in milliseconds
        for slot in self._slots:
            self._abandon(slot)
        await self._flush(0.0 if self._hurrying.is_set() else ends_s - self._clock.monotonic_s())

    async def _wait_until_idle(self, timeout_s: float, *, even_hurrying: bool = False) -> None:
        if not self.busy:
            return
        hurrying = asyncio.create_task(self._hurrying.wait())
        idle = asyncio.create_task(self._handover.idle())
        awaited = [idle] if even_hurrying else [idle, hurrying]
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(timeout_s):
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurrying):
            task.cancel()

    async def _flush(self, left_s: float) -> None:
        try:
            async with self._clock.timeout(max(left_s, FLUSH_S)):
                await self._handover.idle()  # an attempt that has just ended is settled a turn of the loop later
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
            *self._heartbeat.loops(),
            self._return_stale(),
            self._mind_leftovers(),
            self._deadlines.run(),
            self._reports.run(),
            *self._maintenance.loops(),
        ]
        if self._watch is not None:
            upkeep.append(self._watch.run())
        if self.options.burst or self.options.max_jobs is not None:
            upkeep.append(self._end_when_done())
        return upkeep

    def _held(self) -> list[Held]:
        """Return all leases to keep; in the order jobs move, so that a thread that looks on misses none of them."""
        waiting = self._handover.waiting()
        slots = [slot for slot in self._slots if not slot.is_abandoned]
        taken = [(job, slot.deadline_s) for slot in slots if (job := slot.held) is not None]
        exclusive = self._registry.exclusive_types
        held = [
            Held(held_lease(job), until_s, is_exclusive=job.type in exclusive)
            for job, until_s in (*((job, None) for job in waiting), *taken)
        ]
        return held + [Held(lease) for lease in self._settler.leases()]

    def _interrupt(self, lease: Lease) -> None:
        """Stop the attempt under this lease, or give its job back if it has not begun."""
        for slot in self._slots:
            if slot.job is not None and held_lease(slot.job) == lease:
                slot.stop(INTERRUPTED)
        if any(held_lease(job) == lease for job in self._handover.waiting()):
            self._return_waiting()

    def _tell_of_stall(self, stalled_s: float) -> None:
        self._bus.publish(LoopStalled(stalled_s))

    async def _return_stale(self) -> None:
        """Give back jobs fetched ahead whose slots turned out to be busy for longer than the handover expected."""
        seen: set[JobId] = set()
        while True:
            await self._clock.sleep(STALE_S)
            if any(job.id in seen for job in self._handover.waiting()):
                self._return_waiting()
            seen = {job.id for job in self._handover.waiting()}

    def _return_waiting(self) -> None:
        waiting = self._handover.clear()
        self._fetcher.refund(len(waiting))
        self._give_back(waiting)

    async def _mind_leftovers(self) -> None:
        """Stop when more than half as many handlers as there are slots run on though they were given up."""
        while self.abandoned <= self.options.concurrency / 2:
            await self._clock.sleep(WEAR_S)
            if self._stopping.is_set():
                return  # it ends anyway, and for another reason
        self.is_worn_out = True
        logger.error("worker_worn_out", extra={"abandoned": self.abandoned, "slots": self.options.concurrency})
        self.stop()

    async def _end_when_done(self) -> None:
        options = self.options
        ending = Ending(
            self._backend, fetcher=self._fetcher, clock=self._clock, queues=options.queues, burst=options.burst
        )
        await ending.wait(lambda: not (self.is_quiet or self.busy or self._held() or self._fetcher.is_reserving))
        self.stop()
