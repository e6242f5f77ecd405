"""Leasing: lends jobs to workers elsewhere, which are programs in any language that call over HTTP.

Used by the HTTP API. A lent job is one that runs: it has a lease, which its worker renews and ends.
Invariant: whoever asks for jobs gets them or they are given back; this process keeps nothing of them, so that a worker
may renew and settle with any process of the same store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, Literal, NamedTuple

import msgspec

from gotaskq.backend import Backend, Extended, Note
from gotaskq.clock import Clock
from gotaskq.engine.attempt import refusal_of
from gotaskq.engine.bus import EventBus
from gotaskq.engine.decision import decide
from gotaskq.engine.heartbeat import OVERTIME_S
from gotaskq.engine.maintenance import Maintenance
from gotaskq.engine.registry import Registry
from gotaskq.engine.returns import Returns, is_overdue
from gotaskq.engine.settler import Ended
from gotaskq.errors import ShuttingDownError, StaleLeaseError
from gotaskq.events import JobProgressed, JobStarted
from gotaskq.job import Job, Lease, Status, held_lease
from gotaskq.outcome import Outcome, Release
from gotaskq.policies.retry import RetryPolicy
from gotaskq.policies.scheduling import ALL, Turn

LOOK_EVERY_S: Final = 1.0  # how late at most a waiting worker hears that we drain, and we that it has gone
ASIDE_MS: Final = 5_000  # a job of a type that was not asked for goes to others first for so long
MAX_SET_ASIDE: Final = 64  # of them for one request: so much work, and no more, a filter may make
LATE_S: Final = 8.0  # more than a reaper's longest pause
MAX_NAMES: Final = 1_000  # of workers elsewhere; a store remembers each name's last claim
MAX_TYPES: Final = 200  # as many as metrics name
NAMELESS: Final = "remote"

State = Literal["running", "cancel", "quiet"]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker elsewhere asks for: at most `limit` jobs of these queues, all due jobs of the first one first.

    `types` None takes every type.
    """

    queues: tuple[str, ...]
    types: frozenset[str] | None
    limit: int
    wait_s: float
    lease_ms: int
    worker: str


class Renewed(NamedTuple):
    """What a worker elsewhere hears when it renews: go on, end the attempt, or finish it and ask for no more."""

    state: State
    expires_at_ms: int


class Leasing:
    """The way out for workers elsewhere."""

    def __init__(
        self,
        backend: Backend,
        *,
        registry: Registry,
        retry: RetryPolicy,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        lease_ms: int,
        max_crashes: int,
        is_closed: Callable[[], bool],
        hear: Callable[[str, Wish | None], None],
    ) -> None:
        self.lease_ms = lease_ms  # for who names none
        self._backend = backend
        self._registry = registry
        self._retry = retry
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._is_closed = is_closed
        self._hear = hear  # that a worker asked for jobs, or renewed a lease
        self._returns = Returns(backend, registry=registry, retry=retry, bus=bus, clock=clock, rng=rng)
        self._maintenance = Maintenance(
            backend,
            heartbeat=_FarHolders(clock),
            bus=bus,
            clock=clock,
            rng=rng,
            lease_ms=lease_ms,
            max_crashes=max_crashes,
        )
        self._upkeep: asyncio.Task[None] | None = None
        self._names: set[str] = set()

    async def take(self, wish: Wish, *, is_gone: Callable[[], Awaitable[bool]]) -> list[Job]:
        """Lend due jobs, as soon as there are any; none when the wait is over, the caller has gone, or we drain.

        Raises ShuttingDownError, QueueNotFoundError or BackendUnavailableError.
        """
        if self._is_closed():
            raise ShuttingDownError("ask")
        self._begin_upkeep()
        self._learn_types(wish)
        self._hear(self._bounded(wish.worker), wish)
        # A timer and no look at the clock: in a test's app time stands still, and the wait must end all the same.
        over = asyncio.create_task(self._clock.sleep(wish.wait_s))
        try:
            return await self._take(wish, lambda: wish.wait_s == 0 or over.done(), is_gone)
        finally:
            over.cancel()

    async def renew(
        self,
        lease: Lease,
        *,
        lease_ms: int,
        progress: float | None = None,
        text: str = "",
        checkpoint_json: bytes | None = None,
    ) -> Renewed:
        """Let a lease run for so long from now, and keep what its attempt says of itself.

        Raises LeaseNotFoundError, StaleLeaseError, StoreFullError (the lease is renewed then) or
        BackendUnavailableError.
        """
        job = await self._returns.held(lease)
        self._hear(job.worker or NAMELESS, None)
        now_ms = self._clock.now_ms()
        kept_ms = _bounded_ms(lease_ms, job, now_ms=now_ms)
        extended = Extended.CANCEL_REQUESTED  # an attempt whose time is up is to end, too
        if kept_ms > 0:
            [extended] = await self._backend.extend([lease], lease_ms=kept_ms)
        if progress is not None or checkpoint_json is not None:
            note = Note(lease, progress=progress, text=text, checkpoint_json=checkpoint_json)
            [noted] = await self._backend.note([note])
            if progress is not None and noted is not Extended.LOST:
                self._bus.publish(JobProgressed(job, progress, text))
        if extended is Extended.LOST:
            raise StaleLeaseError(job.id, (await self._returns.look(lease)).status)
        is_to_end = extended is Extended.CANCEL_REQUESTED or is_overdue(job, now_ms=now_ms)
        state: State = "cancel" if is_to_end else "quiet" if self._is_closed() else "running"
        return Renewed(state, now_ms + max(kept_ms, 0))

    async def settle(self, lease: Lease, outcome: Outcome, *, may_retry: bool = True) -> Status:
        """Carry out what follows from an attempt's end; return the job's status then, for a repeat its present one.

        Raises LeaseNotFoundError, StaleLeaseError or BackendUnavailableError; after the last, repeat it.
        """
        return await self._returns.settle(lease, outcome, may_retry=may_retry)

    async def close(self) -> None:
        """End what runs here."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])

    # -- lending -------------------------------------------------------------------------------------------------------

    async def _take(self, wish: Wish, is_over: Callable[[], bool], is_gone: Callable[[], Awaitable[bool]]) -> list[Job]:
        set_aside = 0
        while True:
            jobs, unwanted = self._sort(wish, await self._reserve(wish))
            await self._returns.give_back(unwanted)
            if jobs and await is_gone():
                await self._returns.give_back([Ended(job, Release(held_lease(job)), None) for job in jobs])
                return []
            if jobs:
                return self._told(jobs)
            set_aside += len(unwanted)
            if set_aside >= MAX_SET_ASIDE or self._is_closed() or await is_gone():
                return []
            if not unwanted:  # else what was asked for may stand behind them
                if is_over():
                    return []
                await self._backend.wait_for_ready(wish.queues, timeout_s=min(wish.wait_s, LOOK_EVERY_S))

    async def _reserve(self, wish: Wish) -> list[Job]:
        turns = [Turn(queue, ALL) for queue in wish.queues]
        worker = self._bounded(wish.worker)
        return await self._backend.reserve(turns, limit=wish.limit, lease_ms=wish.lease_ms, worker=worker)

    def _sort(self, wish: Wish, leased: list[Job]) -> tuple[list[Job], list[Ended]]:
        """Return the jobs to lend, and what becomes of those that nobody may or wants to run here."""
        jobs: list[Job] = []
        unwanted: list[Ended] = []
        for job in leased:
            refusal = refusal_of(job)
            if refusal is not None:
                unwanted.append(Ended(job, decide(job, refusal, self._retry, rng=self._rng), None))
            elif wish.types is not None and job.type not in wish.types:
                unwanted.append(Ended(job, Release(held_lease(job), ASIDE_MS), None))
            else:
                jobs.append(job)
        return jobs, unwanted

    def _told(self, jobs: list[Job]) -> list[Job]:
        if JobStarted in self._bus.observed:
            for job in jobs:
                self._bus.publish(JobStarted(job))
        return jobs

    def _bounded(self, worker: str) -> str:
        if worker not in self._names and len(self._names) >= MAX_NAMES:
            return NAMELESS
        self._names.add(worker)
        return worker

    def _learn_types(self, wish: Wish) -> None:
        far = self._registry.types_elsewhere
        if wish.types is not None and len(far) < MAX_TYPES:
            far.update(sorted(wish.types)[: MAX_TYPES - len(far)])

    # -- upkeep --------------------------------------------------------------------------------------------------------

    def _begin_upkeep(self) -> None:
        """Reap, promote and prune from the first wish on: there may be no worker here or anywhere that does."""
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.create_task(self._keep_up(), name="gotaskq-upkeep")

    async def _keep_up(self) -> None:
        async with asyncio.TaskGroup() as loops:
            for loop in self._maintenance.loops():
                loops.create_task(loop)


class _FarHolders:
    """Workers elsewhere: what they sent while this process stood still is read before their leases are reaped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_s = clock.monotonic_s()

    async def renew_if_late(self) -> bool:
        """Say whether the reaper comes so late that renewals may lie unread."""
        before_s, self._asked_s = self._asked_s, self._clock.monotonic_s()
        return self._asked_s - before_s > LATE_S


def _bounded_ms(lease_ms: int, job: Job, *, now_ms: int) -> int:
    """Return for how long a lease may run: not long beyond the time its job gives an attempt."""
    if not job.timeouts.execution_ms:
        return lease_ms
    ends_ms = (job.started_at_ms or now_ms) + job.timeouts.execution_ms
    return min(lease_ms, ends_ms + round(OVERTIME_S * 1000) - now_ms)
