"""The handover: where leased jobs wait for a slot, and slots for a job.

Filled by the fetcher, emptied by the slots.
Invariant: no more jobs wait here than are expected to start within HORIZON_S, so that long jobs are never hoarded.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from gotaskq.job import Job

HORIZON_S: Final = 0.05
MAX_AHEAD: Final = 1_000  # jobs leased ahead at most: what 20,000 jobs a second start within the horizon
SMOOTHING: Final = 0.1  # weight of the newest duration in the moving mean; one long job ends the fetching ahead at once


class Handover:
    """Jobs to slots, first come first served."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._jobs: deque[Job] = deque()
        self._half = 0  # of the jobs that waited after the last were put
        self._idle: deque[asyncio.Future[None]] = deque()
        self._running = 0
        self._mean_duration_s: float | None = None
        self._fetcher: asyncio.Future[None] | None = None
        self._awaited_idle: asyncio.Event | None = None

    @property
    def running(self) -> int:
        """Return how many attempts run now."""
        return self._running

    def waiting(self) -> list[Job]:
        """Return the jobs that wait for a slot. Safe to call from a thread."""
        return list(self._jobs)

    def put(self, jobs: Sequence[Job]) -> None:
        """Give jobs to the slots."""
        self._jobs.extend(jobs)
        self._half = len(self._jobs) // 2
        to_wake = len(jobs)
        while to_wake and self._idle:
            slot = self._idle.popleft()
            if not slot.done():  # one that was cancelled while it waited takes nothing
                slot.set_result(None)
                to_wake -= 1

    def take_now(self) -> Job | None:
        """Return a waiting job, if there is one, for the calling slot, which then counts as running until `ended`."""
        if not self._jobs:
            return None
        if len(self._jobs) == self._half:  # the next are on their way before the last of these are taken
            self._call_fetcher()
        self._running += 1
        return self._jobs.popleft()

    async def take(self) -> Job:
        """Return the next job for the calling slot, which then counts as running until `ended`."""
        while not self._jobs:
            self._call_fetcher()
            job_came = asyncio.get_running_loop().create_future()
            self._idle.append(job_came)
            await job_came
        self._running += 1
        return self._jobs.popleft()

    def ended(self, duration_s: float) -> None:
        """Hear that a slot's attempt ended after this many seconds."""
        self._running -= 1
        if self._awaited_idle is not None and not self._running:
            self._awaited_idle.set()
        if self._mean_duration_s is None:
            self._mean_duration_s = duration_s
        else:
            self._mean_duration_s += SMOOTHING * (duration_s - self._mean_duration_s)

    async def idle(self) -> None:
        """Return when no attempt runs."""
        while self._running:
            self._awaited_idle = asyncio.Event()
            await self._awaited_idle.wait()
        self._awaited_idle = None

    async def room(self) -> int:
        """Return how many jobs to fetch, as soon as that is at least one."""
        while (room := self._room()) <= 0:
            self._fetcher = asyncio.get_running_loop().create_future()
            try:
                await self._fetcher
            finally:
                self._fetcher = None
        return room

    def clear(self) -> list[Job]:
        """Take all waiting jobs back; no more are fetched ahead until short durations have been seen again."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._mean_duration_s = None
        return jobs

    def _call_fetcher(self) -> None:
        if self._fetcher is not None and not self._fetcher.done():
            self._fetcher.set_result(None)

    def _room(self) -> int:
        free = self._concurrency - self._running
        return free + self._ahead() - len(self._jobs)

    def _ahead(self) -> int:
        if self._mean_duration_s is None:
            return 0
        if self._mean_duration_s * MAX_AHEAD <= HORIZON_S * self._concurrency:
            return MAX_AHEAD
        return int(HORIZON_S * self._concurrency / self._mean_duration_s)
