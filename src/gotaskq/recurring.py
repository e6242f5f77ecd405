"""What an open app does again and again beside its work, such as telling others of itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Final

from gotaskq.clock import Clock

SPREAD: Final = 0.5  # each pause is drawn from ± 50 %, so that many processes do not come at once


async def repeat(act: Callable[[], Awaitable[None]], *, every_s: float, clock: Clock, rng: Random) -> None:
    """Do this about every so many seconds, without an end; not at first."""
    while True:
        await clock.sleep(every_s * rng.uniform(1 - SPREAD, 1 + SPREAD))
        await act()


@contextlib.asynccontextmanager
async def beside(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run this during the body, and end it with it."""
    running = asyncio.create_task(loop)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
