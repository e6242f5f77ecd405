"""The loop watch: notices that the event loop stands still, and says where.

One a worker. The loop ticks; a thread sees when it does not, and writes the stack of the loop's thread into the log.
A process that was stopped, or whose machine slept, shows as a stall too, of which no stack may be left to see.
Invariant: a stall is told of once while it lasts, and counted once when it is over.
"""

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from gotaskq.clock import Clock
from gotaskq.engine.side_thread import SideThread

TICK_S: Final = 0.25  # four wake-ups a second cost nothing to speak of
# Callers over HTTP notice it, and the shortest lease is gone; no garbage collection lasts so long.
STALL_S: Final = 1.0
LAGS_KEPT: Final = 60  # 15 s of ticks, about what lies between two scrapes
MAX_FRAMES: Final = 30  # the innermost; the handler is among them, and the rest is asyncio's

logger = logging.getLogger(__name__)


class LoopWatch:
    """Watches the event loop it runs on; `on_stall` is called there with the length of each stall, in seconds."""

    def __init__(self, *, clock: Clock, on_stall: Callable[[float], None]) -> None:
        self._clock = clock
        self._on_stall = on_stall
        self._thread_id = 0
        self._ticked_s = clock.monotonic_s()
        self._told_of_s: float | None = None  # the last tick before the stall that was told of last
        self._lags_s = deque([0.0], maxlen=LAGS_KEPT)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._thread_id = threading.get_ident()
        self._ticked_s = self._clock.monotonic_s()
        async with SideThread("gotaskq-watch", self._look, close=lambda: None, clock=self._clock):
            while True:
                await self._clock.sleep(TICK_S)
                self._tick()

    @property
    def silent_s(self) -> float:
        """How long ago the loop ticked last; may be asked from any thread."""
        return self._clock.monotonic_s() - self._ticked_s

    @property
    def lag_s(self) -> float:
        """By how much the loop was late at worst in the last 15 s."""
        return max(self._lags_s)

    def _tick(self) -> None:
        lag_s = max(self.silent_s - TICK_S, 0.0)
        self._ticked_s = self._clock.monotonic_s()
        self._lags_s.append(lag_s)
        if lag_s > STALL_S:
            self._on_stall(lag_s)

    def _look(self) -> float:
        """Tell of a stall under way, once; in the thread."""
        ticked_s, stalled_s = self._ticked_s, self.silent_s - TICK_S
        if stalled_s > STALL_S and ticked_s != self._told_of_s:
            self._told_of_s = ticked_s
            logger.warning(
                "the event loop stands still",
                extra={"stalled_s": round(stalled_s, 3), "stack": stack_of(self._thread_id)},
            )
        return TICK_S


def stack_of(thread_id: int) -> str:
    """Return where a thread is, the innermost call first: names and lines of code, and no value of any variable."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - the documented way, for all its underscore
    calls = [] if frame is None else islice(traceback.walk_stack(frame), MAX_FRAMES)
    return " < ".join(f"{call.f_code.co_qualname} ({call.f_code.co_filename}:{line})" for call, line in calls)
