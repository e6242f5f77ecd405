"""Time, passed in: the only module that reads it.

Instants are integer milliseconds since 1970 (UTC); durations are float seconds.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits; a test passes one that it moves by hand."""

    def now_ms(self) -> int:
        """Return the wall-clock instant, in milliseconds since 1970 (UTC)."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never steps back, for durations."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""
        ...

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Return a context that cancels its body after `delay_s` seconds and raises TimeoutError; None never does."""
        ...


class SystemClock:
    """The machine's own clock."""

    monotonic_s = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)
    timeout = staticmethod(asyncio.timeout)

    @staticmethod
    def now_ms() -> int:
        """Return the wall-clock instant, in milliseconds since 1970 (UTC)."""
        return time.time_ns() // 1_000_000
