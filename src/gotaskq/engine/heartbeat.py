"""The heartbeat: keeps the leases that one worker holds, and says which could not be kept in time.

Where the store has a line for it, a thread renews over a connection of its own: a handler that blocks the event loop
then costs no lease. Elsewhere, or on a clock that is not the machine's, the loop renews.
Invariant: nothing is renewed for a loop that has been silent for LOOP_LIVENESS_S, nor long beyond an attempt's time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Final, NamedTuple

from gotaskq.backend import Backend, Extended, ExtendsFromThread, LeaseLine
from gotaskq.clock import Clock
from gotaskq.engine.loop_watch import LoopWatch
from gotaskq.engine.side_thread import SideThread
from gotaskq.errors import BackendUnavailableError
from gotaskq.job import Job, JobId, Lease, held_lease

BEATS_PER_LEASE: Final = 3  # two may fail before a lease is lost
# A try gives up after a sixth of the lease and the next follows soon, so that there are three tries in every lease.
TRIES_PER_BEAT: Final = 2
RETRIES_PER_BEAT: Final = 4  # the pause after a try that failed, as a share of a beat
MAX_TRY_S: Final = 2.0
LATE_BEATS: Final = 1.5  # a renewal that is so much overdue tells that we stood still or were cut off

LOOP_LIVENESS_S: Final = 60.0  # a loop that is silent for longer hangs: others should get what it holds
OVERTIME_S: Final = 15.0  # more than a worker takes to give back a job whose time is up, if its loop lives

# An exclusive attempt is stopped so long before others may take its job; of a short lease, a tenth of it.
MARGIN_S: Final = 3.0
MARGIN_SHARE: Final = 0.1

logger = logging.getLogger(__name__)


class Held(NamedTuple):
    """A lease to keep."""

    lease: Lease
    until_s: float | None = None  # when its attempt's own time is up, on the monotonic clock; None: never
    is_exclusive: bool = False  # its attempt must not go on without it


class Heartbeat:
    """Renews what `held` returns, which must be safe to call from a thread; the other callbacks run on the loop."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        lease_ms: int,
        held: Callable[[], list[Held]],
        exclusive_types: Collection[str],
        cancel: Callable[[JobId], object],
        interrupt: Callable[[Lease], object],
        watch: LoopWatch | None = None,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._lease_ms = lease_ms
        self._beat_s = lease_ms / 1000 / BEATS_PER_LEASE
        self._patience_s = lease_ms / 1000 - min(MARGIN_S, MARGIN_SHARE * lease_ms / 1000)
        self._held = held
        self._exclusive_types = exclusive_types
        self._cancel = cancel
        self._interrupt = interrupt
        self._watch = watch
        self._renewed_s = clock.monotonic_s()  # when the last renewal that was answered had been sent
        self._since_s: dict[Lease, float] = {}  # the same for each exclusive lease
        self._is_away = False

    def loops(self) -> list[Coroutine[None, None, None]]:
        """Return the loops to run."""
        if self._watch is not None and isinstance(self._backend, ExtendsFromThread):
            line = self._backend.lease_line(timeout_s=min(MAX_TRY_S, self._beat_s / TRIES_PER_BEAT))
            return [self._beat_from_thread(line, self._watch), self._stop_what_lapses()]
        return [self._beat_on_loop(), self._stop_what_lapses()]

    async def admit(self, jobs: Sequence[Job], *, sent_s: float) -> Sequence[Job]:
        """Take jobs whose reservation was sent at this instant, and return those that are still leased.

        A reply that lay unread for a lease or longer proves nothing, so the store is asked again.
        """
        if self._clock.monotonic_s() - sent_s >= self._lease_ms / 1000:
            sent_s = self._clock.monotonic_s()
            replies = await self._backend.extend([held_lease(job) for job in jobs], lease_ms=self._lease_ms)
            jobs = [job for job, extended in zip(jobs, replies, strict=True) if extended is not Extended.LOST]
        if self._exclusive_types:
            self._since_s |= {held_lease(job): sent_s for job in jobs if job.type in self._exclusive_types}
        return jobs

    async def renew_if_late(self) -> bool:
        """Renew now, and say so, where that is long overdue: for a reaper, which must not come before the holders.

        Raises BackendUnavailableError.
        """
        if self._clock.monotonic_s() - self._renewed_s <= LATE_BEATS * self._beat_s:
            return False
        await self._renew()
        return True

    # -- on the loop ---------------------------------------------------------------------------------------------------

    async def _beat_on_loop(self) -> None:
        while True:
            await self._clock.sleep(self._beat_s)
            try:
                await self._renew()
            except BackendUnavailableError as error:
                logger.warning("leases could not be extended", extra={"error": str(error)})

    async def _renew(self) -> None:
        sent_s = self._clock.monotonic_s()
        leases = self._due(sent_s)
        self._heard(leases, await self._backend.extend(leases, lease_ms=self._lease_ms), sent_s)

    def _due(self, now_s: float) -> list[Lease]:
        """Return the leases to renew, each once: a snapshot taken while jobs move can show one in two places."""
        due = [held.lease for held in self._held() if held.until_s is None or now_s <= held.until_s + OVERTIME_S]
        return list(dict.fromkeys(due))

    def _heard(self, leases: Sequence[Lease], replies: Sequence[Extended | None], sent_s: float) -> None:
        self._renewed_s = max(self._renewed_s, sent_s)
        for lease, extended in zip(leases, replies, strict=True):
            if extended is Extended.CANCEL_REQUESTED:
                self._cancel(lease.job_id)
            if lease in self._since_s:
                if extended is Extended.LOST:
                    self._stop(lease, "it was lost")
                elif extended is not None:
                    self._since_s[lease] = max(self._since_s[lease], sent_s)

    # -- exclusive attempts --------------------------------------------------------------------------------------------

    async def _stop_what_lapses(self) -> None:
        """Stop each exclusive attempt at its lease's local deadline, when nobody else may have taken its job yet."""
        while True:
            await self._clock.sleep(self._stop_lapsed())

    def _stop_lapsed(self) -> float:
        """Stop what has not been renewed in time; return in how many seconds the next could lapse."""
        exclusive = {held.lease for held in self._held() if held.is_exclusive}
        self._since_s = {lease: since_s for lease, since_s in self._since_s.items() if lease in exclusive}
        now_s = self._clock.monotonic_s()
        left_s = {lease: since_s + self._patience_s - now_s for lease, since_s in self._since_s.items()}
        for lease in [lease for lease, seconds in left_s.items() if seconds <= 0]:
            self._stop(lease, "it could not be renewed in time")
            del left_s[lease]
        return min([self._beat_s, *left_s.values()])  # a lease that comes meanwhile has longer to go

    def _stop(self, lease: Lease, why: str) -> None:
        del self._since_s[lease]  # once is enough
        logger.warning("an exclusive attempt lost its lease", extra={"job_id": str(lease.job_id), "why": why})
        self._interrupt(lease)

    # -- from a thread -------------------------------------------------------------------------------------------------

    async def _beat_from_thread(self, line: LeaseLine, watch: LoopWatch) -> None:
        turn = partial(self._take_turn, line, watch, asyncio.get_running_loop())
        async with SideThread("gotaskq-leases", turn, close=line.close, clock=self._clock):
            await asyncio.Event().wait()

    def _take_turn(self, line: LeaseLine, watch: LoopWatch, loop: asyncio.AbstractEventLoop) -> float:
        """Renew, in the thread; return the pause before the next turn.

        After the process stood still, leases may have lapsed: they are renewed all the same, and the store decides by
        their tokens. What came of it is for the loop, which compares with the local deadlines on its own.
        """
        sent_s = self._clock.monotonic_s()
        if watch.silent_s > LOOP_LIVENESS_S:
            self._note_away("the event loop hangs; its leases are left to lapse")
            return self._beat_s
        leases = self._due(sent_s)
        try:
            replies = line.extend(leases, lease_ms=self._lease_ms)
        except BackendUnavailableError as error:
            self._note_away(str(error))
            return self._beat_s / RETRIES_PER_BEAT
        self._is_away = False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._heard, leases, replies, sent_s)
        return self._beat_s

    def _note_away(self, error: str) -> None:
        """Say once, and not at every try, that leases are not renewed."""
        if not self._is_away:
            logger.warning("leases could not be extended", extra={"error": error})
        self._is_away = True
