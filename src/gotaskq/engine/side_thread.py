"""A thread beside the event loop: takes its turns, whatever the loop does, until its owner is done.

Used by the heartbeat and the loop watch. A daemon, so that a turn that hangs cannot keep the process from ending.
Threads know the machine's time only: none is started where the clock is another.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from gotaskq.clock import Clock

END_S: Final = 1.0  # what the turn under way has to end in; beyond it the thread is left to itself
FAULT_PAUSE_S: Final = 1.0

logger = logging.getLogger(__name__)


class SideThread:
    """Calls `turn` in a thread for as long as it is entered; what a turn returns is the pause before the next."""

    def __init__(self, name: str, turn: Callable[[], float], *, close: Callable[[], None], clock: Clock) -> None:
        self._name = name
        self._turn = turn
        self._close = close  # called in the thread, after its last turn
        self._clock = clock
        self._over = threading.Event()
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True).start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        try:
            async with self._clock.timeout(END_S):
                await self._ended.wait()
        except TimeoutError:
            logger.warning("a thread would not end in time and is left behind", extra={"side_thread": self._name})

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        pause_s = 0.0
        while not self._over.wait(pause_s):
            try:
                pause_s = self._turn()
            except Exception:  # a thread that is gone would be missed by nobody until it is too late
                logger.exception("a thread failed, and goes on", extra={"side_thread": self._name})
                pause_s = FAULT_PAUSE_S
        self._close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._ended.set)
