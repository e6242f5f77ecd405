"""Deadlines: stops attempts that run for longer than they may, one step harder each time.

One a worker. A handler is cancelled; when its grace is over, its executor lets go of it; and what runs even then is
given up, so that its slot can be used again.
Invariant: no attempt with a timeout holds its slot longer than timeout, STOP_GRACE_S and LAST_GRACE_S together.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Final

from gotaskq.clock import Clock
from gotaskq.engine.slot import Slot
from gotaskq.errors import JobTimeoutError
from gotaskq.failure import describe
from gotaskq.job import Job
from gotaskq.outcome import Failed

STOP_GRACE_S: Final = 5.0  # what a handler that was told to stop has to end in, as a child has from SIGTERM to SIGKILL
LAST_GRACE_S: Final = 0.5  # what an executor has to get rid of a handler: the kernel kills a child in milliseconds
EARLY_S: Final = 0.001  # a timer of an event loop may ring so long before its time


class Deadlines:
    """Watches the slots of one worker."""

    def __init__(self, slots: Sequence[Slot], *, clock: Clock, give_up: Callable[[Slot], None]) -> None:
        self._slots = slots
        self._clock = clock
        self._give_up = give_up
        self._wakes_at_s = math.inf
        self._is_sooner = asyncio.Event()

    def begin(self, slot: Slot, *, timeout_s: float, now_s: float) -> None:
        """Let the attempt in this slot run for so long."""
        slot.timeout_s = timeout_s
        slot.act_at_s = slot.deadline_s = now_s + timeout_s
        if slot.act_at_s < self._wakes_at_s:  # rarely so: attempts of one timeout end in the order they began
            self._is_sooner.set()

    def extend(self, job: Job, timeout_s: float) -> None:
        """Let the attempt of this job run for so long from now; too late once it was told to stop."""
        for slot in self._slots:
            if slot.job is job and slot.stopped_by is None:
                self.begin(slot, timeout_s=timeout_s, now_s=self._clock.monotonic_s())

    async def run(self) -> None:
        """Act on deadlines as they pass, until cancelled."""
        while True:
            now_s = self._clock.monotonic_s()
            for slot in list(self._slots):
                if slot.act_at_s is not None and slot.act_at_s <= now_s + EARLY_S:
                    self._act(slot, now_s)
            deadlines_s = (slot.act_at_s for slot in self._slots)
            self._wakes_at_s = min((at_s for at_s in deadlines_s if at_s is not None), default=math.inf)
            self._is_sooner.clear()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(None if self._wakes_at_s == math.inf else self._wakes_at_s - now_s):
                    await self._is_sooner.wait()

    def _act(self, slot: Slot, now_s: float) -> None:
        slot.pressed += 1
        if slot.pressed == 1:
            slot.act_at_s = now_s + STOP_GRACE_S
            error = JobTimeoutError(slot.timeout_s)
            slot.stop(Failed(describe(error), error))  # one that is being cancelled already is not pressed again yet
        elif slot.pressed == 2:
            slot.act_at_s = now_s + LAST_GRACE_S
            slot.press()
        else:
            slot.act_at_s = None
            self._give_up(slot)
