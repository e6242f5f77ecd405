"""Fetchers that sleep until there may be a job for them."""

import asyncio
import contextlib

from gotaskq.clock import Clock


class Sleepers:
    """Sleeps that end at their time or when somebody calls `wake`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Looked at for each job, to spare the call. In the order they came: a set's would be another in every run.
        self.waiting: dict[asyncio.Future[None], None] = {}

    async def sleep(self, timeout_s: float) -> None:
        """Return when woken, or after so many seconds."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[woken] = None
        try:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(timeout_s):
                    await woken
        finally:
            self.waiting.pop(woken, None)

    def wake(self) -> None:
        """End every sleep."""
        for woken in self.waiting:
            if not woken.done():
                woken.set_result(None)
        self.waiting.clear()
