"""The stepper: runs due jobs one after the other, while its caller waits.

For tests and whoever wants no worker: what a worker does with a job, without loops beside it.
Invariant: between two calls nothing of it runs.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.context import SEAT
from gotaskq.engine.attempt import SUCCEEDED, UNHANDLED, begin_attempt, refusal_of
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import Deadlines
from gotaskq.engine.decision import decide
from gotaskq.engine.maintenance import reaped_event
from gotaskq.engine.registry import Registration, Registry
from gotaskq.engine.reports import Reports
from gotaskq.engine.settler import Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.events import JobDied, JobStarted
from gotaskq.job import DeathReason, Job
from gotaskq.outcome import Outcome, Settlement
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import QueueSelector

ALL: Final = 1_000  # more than any test has


class Stepped(NamedTuple):
    """What one step came to: the job as it ran, how its attempt ended, and what became of it."""

    job: Job
    outcome: Outcome
    settlement: Settlement


class Stepper:
    """Runs one due job at a time. It keeps nothing between steps, so each may be made from another event loop."""

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
        worker: str,
        lease_ms: int,
        max_crashes: int,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._retry = retry
        self._selector = selector
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._worker = worker
        self._lease_ms = lease_ms
        self._max_crashes = max_crashes

    async def take(self) -> Job | None:
        """Lease the next due job, to `run` it or to leave it as a worker does that is killed; None: none is due."""
        turns = self._selector.order(tuple(await self._backend.queues()))
        jobs = await self._backend.reserve(turns, limit=1, lease_ms=self._lease_ms, worker=self._worker)
        for job in jobs:
            self._selector.served(job.queue)
        return jobs[0] if jobs else None

    async def take_back(self) -> list[Job]:
        """Do once what time does to jobs: promote, take back those whose lease ran out, give up those that expired."""
        await self._backend.promote(limit=ALL)
        reaped = await self._backend.reap(limit=ALL, max_crashes=self._max_crashes)
        expired = await self._backend.expire(limit=ALL)
        for job in reaped:
            self._bus.publish(reaped_event(job))
        for job in expired:
            self._bus.publish(JobDied(job, DeathReason.EXPIRED, job.error or "expired", None))
        return reaped + expired

    async def run(self, job: Job) -> Stepped:
        """Run a job that was taken to the end of its attempt, and settle it."""
        slots: list[Slot] = []
        deadlines = Deadlines(slots, clock=self._clock, give_up=_go_on_waiting)
        reports = Reports(self._backend, deadlines=deadlines, bus=self._bus, clock=self._clock)
        slots.append(Slot(reports))
        registration, refusal = self._registry.find(job.type), refusal_of(job)
        duration_s: float | None = None
        if registration is None or refusal is not None:
            outcome = refusal or UNHANDLED
        else:
            self._bus.publish(JobStarted(job))
            started_s = self._clock.monotonic_s()
            outcome = await self._attempt(registration, job, slots[0], deadlines, reports)
            duration_s = self._clock.monotonic_s() - started_s
        retry = (registration and registration.retry) or self._retry
        settlement = decide(job, outcome, retry, rng=self._rng)
        settler = Settler(self._backend, reports=reports, bus=self._bus, clock=self._clock, rng=self._rng)
        settler.put(Ended(job, settlement, duration_s))
        await settler.settle_waiting()
        return Stepped(job, outcome, settlement)

    async def _attempt(
        self, registration: Registration, job: Job, slot: Slot, deadlines: Deadlines, reports: Reports
    ) -> Outcome:
        outcomes: list[Outcome] = []
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(deadlines.run()), tasks.create_task(reports.run())]
            timeout_s = job.timeouts.execution_ms / 1000 or registration.timeout_s
            if timeout_s:
                deadlines.begin(slot, timeout_s=timeout_s, now_s=self._clock.monotonic_s())
            slot.task = attempt = tasks.create_task(_run_in(slot, registration, job, outcomes.append))
            try:
                await attempt
            finally:
                for task in beside:
                    task.cancel()
        return outcomes[0]


async def _run_in(slot: Slot, registration: Registration, job: Job, tell: Callable[[Outcome], None]) -> None:
    SEAT.set(slot)
    begun = begin_attempt(registration.call, job, slot)
    tell(SUCCEEDED if begun is None else await begun)


def _go_on_waiting(slot: Slot) -> None:
    """Leave a handler that ignores its end as it is: a test had better hang there than go on beside it."""
