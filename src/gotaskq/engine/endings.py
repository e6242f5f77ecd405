"""Endings: waiting for a job to end, or to change, wherever it runs.

Used by `TaskQ.wait`, `follow` and `wait_sync`. A job that ends in this process is heard of at once; one that ends
elsewhere is found by looking.
Invariant: what is told comes from the store; an event only says when to look.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeAlias

from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.events import JobCancelled, JobDied, JobDone
from gotaskq.job import FINAL, Job, JobId

FIRST_LOOK_S: Final = 0.05  # a short job's end is found soon after it
LAST_LOOK_S: Final = 2.0  # hundreds who wait for long jobs must not be a load on the store
SLOWER: Final = 1.5
FOLLOW_EVERY_S: Final = 0.25  # as often as a handler's progress is stored

Ended: TypeAlias = JobDone | JobDied | JobCancelled


class Endings:
    """Who waits in this process for which jobs."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._waiting: dict[JobId, list[asyncio.Event]] = {}
        self._is_listening = False

    async def wait(self, job_id: JobId, look: Callable[[JobId], Awaitable[Job]], *, timeout_s: float | None) -> Job:
        """Return the job once it has ended, as `look` finds it then; raises TimeoutError, and what `look` raises."""
        try:
            async with self._clock.timeout(timeout_s):
                return await self._wait(job_id, look)
        except TimeoutError as error:
            raise _too_late(job_id, timeout_s) from error

    async def _wait(self, job_id: JobId, look: Callable[[JobId], Awaitable[Job]]) -> Job:
        pauses = pauses_s()
        with self._hearing_of(job_id) as has_ended:
            while (job := await look(job_id)).status not in FINAL:
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout(next(pauses)):
                        await has_ended.wait()
                has_ended.clear()
            return job

    async def follow(self, job_id: JobId, look: Callable[[JobId], Awaitable[Job]]) -> AsyncIterator[Job]:
        """Yield the job as it is, then each time it has changed, until it has ended; raises what `look` raises."""
        seen: Job | None = None
        with self._hearing_of(job_id) as has_ended:
            while seen is None or seen.status not in FINAL:
                job = await look(job_id)
                if job != seen:
                    seen = job
                    yield job
                    continue  # whoever looks at it may take long, and much may have happened
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout(FOLLOW_EVERY_S):
                        await has_ended.wait()
                has_ended.clear()

    @contextlib.contextmanager
    def _hearing_of(self, job_id: JobId) -> Iterator[asyncio.Event]:
        self._listen()
        has_ended = asyncio.Event()
        others = self._waiting.setdefault(job_id, [])
        others.append(has_ended)
        try:
            yield has_ended
        finally:
            others.remove(has_ended)
            if not others:
                self._waiting.pop(job_id, None)

    def _listen(self) -> None:
        """Subscribe when somebody waits for the first time: who never does pays nothing for it."""
        if not self._is_listening:
            self._is_listening = True
            self._bus.subscribe_to_batches(JobDone, self._tell)
            self._bus.subscribe_to_batches(JobDied, self._tell)
            self._bus.subscribe_to_batches(JobCancelled, self._tell)

    def _tell(self, events: Sequence[Ended]) -> None:
        if self._waiting:
            for event in events:
                for has_ended in self._waiting.get(event.job.id, ()):
                    has_ended.set()


def look_until_ended(
    job_id: JobId,
    look: Callable[[JobId], Job],
    *,
    timeout_s: float | None,
    clock: Clock,
    sleep: Callable[[float], None],
) -> Job:
    """Return the job once it has ended, found by looking, in a thread that may sleep; raises as `Endings.wait`."""
    give_up_s = math.inf if timeout_s is None else clock.monotonic_s() + timeout_s
    for pause_s in pauses_s():
        job = look(job_id)
        if job.status in FINAL:
            return job
        left_s = give_up_s - clock.monotonic_s()
        if left_s <= 0:
            break
        sleep(min(pause_s, left_s))
    raise _too_late(job_id, timeout_s)


def pauses_s() -> Iterator[float]:
    """Yield for how long to leave a job alone after each look: longer and longer, to a limit."""
    pause_s = FIRST_LOOK_S
    while True:
        yield pause_s
        pause_s = min(pause_s * SLOWER, LAST_LOOK_S)


def _too_late(job_id: JobId, timeout_s: float | None) -> TimeoutError:
    return TimeoutError(f"job {job_id} has not ended within {timeout_s} s; it goes on all the same")
