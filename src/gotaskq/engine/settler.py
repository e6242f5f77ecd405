"""The settler: carries settlements to the backend in batches, then tells what happened.

Slots put settlements in and go on; whatever came in while one batch was under way makes the next (group commit).
Invariant: an event is published once, and only after the backend confirmed its settlement.
"""

import asyncio
import logging
from random import Random
from typing import Final, assert_never

import msgspec

from gotaskq.backend import Backend, Settled
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.reports import Reports
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import Event, JobCancelled, JobDied, JobDone, JobReleased, JobRetryScheduled, JobSnoozed, LeaseLost
from gotaskq.job import Job, Lease, Status
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement

OK: Final = Settled.OK
MAX_BATCH: Final = 128  # one call to a store stays short, whatever piled up
MAX_WAITING: Final = 1_024  # settlements that may wait before slots do: about what 50 ms of trivial jobs bring
FIRST_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 5.0

logger = logging.getLogger(__name__)


class Ended(msgspec.Struct, frozen=True, gc=False):
    """An attempt that ended: the job as it ran, what becomes of it, and how long it took (None: it never ran)."""

    job: Job
    settlement: Settlement
    duration_s: float | None


class Settler:
    """Batches settlements; holds them, and never drops one, while the backend is away."""

    def __init__(self, backend: Backend, *, reports: Reports, bus: EventBus, clock: Clock, rng: Random) -> None:
        self._backend = backend
        self._reports = reports
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._waiting: list[Ended] = []
        self._came = asyncio.Event()
        self._moved = asyncio.Event()
        self._in_flight: list[Ended] = []

    def put(self, ended: Ended) -> bool:
        """Take one settlement; never waits. False: the caller should wait for `room` before it brings more."""
        waiting = self._waiting
        waiting.append(ended)
        count = len(waiting)
        if count == 1:
            self._came.set()
        return count < MAX_WAITING

    def leases(self) -> list[Lease]:
        """Return the leases of what is not settled yet; they must be kept alive. Safe to call from a thread."""
        waiting = tuple(self._waiting)  # read first: what moves meanwhile is seen twice, and never not at all
        return [ended.settlement.lease for ended in (*self._in_flight, *waiting)]

    async def room(self) -> None:
        """Return when a slot may go on."""
        while len(self._waiting) >= MAX_WAITING:
            self._moved.clear()
            await self._moved.wait()

    async def flush(self) -> None:
        """Return when everything put so far is settled."""
        while self._waiting or self._in_flight:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Settle until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            await self.settle_waiting()

    async def settle_waiting(self) -> None:
        """Settle what was put so far, now."""
        while self._waiting:
            self._in_flight, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            await self._settle(self._in_flight)
            self._in_flight = []
            self._moved.set()

    async def _settle(self, batch: list[Ended]) -> None:
        replies = await self._settle_until_accepted(batch)
        done: list[JobDone] = []  # nearly all are, so they are told together (benchmarks/questions/in_process.py)
        for ended, settled in zip(batch, replies, strict=True):
            if settled is not OK:
                self._tell_refused(ended.job, settled)
            elif type(ended.settlement) is Complete:
                done.append(JobDone(ended.job, ended.duration_s or 0.0))
            else:
                self._bus.publish(event_of(ended))
        self._bus.publish_batch(done)

    async def _settle_until_accepted(self, batch: list[Ended]) -> list[Settled]:
        settlements = [ended.settlement for ended in batch]
        delay_s = FIRST_RETRY_S
        is_repeat = False
        while True:
            try:
                if not self._reports.is_empty:  # a checkpoint may be among them, and its lease ends here
                    await self._reports.write()
                replies = await self._backend.settle(settlements)
                if is_repeat and Settled.ALREADY in replies:
                    replies = [await self._recall(*item) for item in zip(batch, replies, strict=True)]
            except BackendUnavailableError as error:
                logger.warning(
                    "settling waits for the backend", extra={"settlements": len(settlements), "error": str(error)}
                )
            else:
                return replies
            is_repeat = True
            await self._clock.sleep(delay_s * self._rng.uniform(0.5, 1.5))
            delay_s = min(2 * delay_s, MAX_RETRY_S)

    async def _recall(self, ended: Ended, settled: Settled) -> Settled:
        """Return what an earlier try made of a settlement when its reply was lost: nobody has told of it yet."""
        if settled is not Settled.ALREADY:
            return settled
        stored = await self._backend.get(ended.job.id)
        return Settled.OK if stored is None else made_of(ended, stored)

    def _tell_refused(self, job: Job, settled: Settled) -> None:
        match settled:
            case Settled.CANCELLED:
                self._bus.publish(JobCancelled(job))
            case Settled.LOST:
                logger.warning("lease lost: the result is discarded", extra={"job_id": str(job.id)})
                self._bus.publish(LeaseLost(job))
            case Settled.ALREADY | Settled.OK:
                pass  # settled before in another way, such as given back when a drain was over; that was told
            case never:
                assert_never(never)


def event_of(ended: Ended) -> Event:
    """Return what is told of a settlement that was carried out."""
    job, settlement, duration_s = ended.job, ended.settlement, ended.duration_s
    match settlement:
        case Complete():
            return JobDone(job, duration_s or 0.0)
        case Reschedule(delay_ms=delay_ms, error=error):
            return JobRetryScheduled(job, error, delay_ms, duration_s or 0.0)
        case DeadLetter(reason=reason, error=error):
            return JobDied(job, reason, error, duration_s)
        case Release(is_snoozed=True, delay_ms=delay_ms):
            return JobSnoozed(job, delay_ms)
        case Release(is_unhandled=is_unhandled):
            return JobReleased(job, is_unhandled)
        case Cancel():
            return JobCancelled(job)
        case never:
            assert_never(never)


def made_of(ended: Ended, stored: Job) -> Settled:
    """Say what the store made of a settlement, from what the job has become since."""
    before, status = ended.job, stored.status
    match ended.settlement:
        case Complete():
            is_ours = status is Status.DONE
        case DeadLetter():
            is_ours = status is Status.DEAD or stored.replays > before.replays
        case Cancel():
            is_ours = status is Status.CANCELLED
        case Reschedule():
            is_ours = stored.retry_count > before.retry_count
        case Release():
            is_ours = stored.releases > before.releases
        case never:
            assert_never(never)
    if is_ours:
        return Settled.OK
    would_run_again = isinstance(ended.settlement, Reschedule | Release)
    is_cancelled_instead = would_run_again and status is Status.CANCELLED and stored.is_cancel_requested
    return Settled.CANCELLED if is_cancelled_instead else Settled.ALREADY
