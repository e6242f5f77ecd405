"""Fetchers that sleep until there may be a job for them."""

import asyncio
import contextlib

from gotaskq.clock import Clock


class Sleepers:
    """Sleeps that end at their time or when somebody calls `wake`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waiting: set[asyncio.Future[None]] = set()  # looked at for each job, to spare the call

    async def sleep(self, timeout_s: float) -> None:
        """Return when woken, or after so many seconds."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.add(woken)
        try:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(timeout_s):
                    await woken
        finally:
            self.waiting.discard(woken)

    def wake(self) -> None:
        """End every sleep."""
        for woken in self.waiting:
            if not woken.done():
                woken.set_result(None)
        self.waiting.clear()
