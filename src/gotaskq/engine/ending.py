"""When a worker ends by itself: after so many jobs, or once nothing is left to run.

Asked by the worker that was started with `max_jobs` or `burst`.
Invariant: it does not say "now" while a job is held here or is on its way.
"""

from collections.abc import Callable, Collection
from typing import Final

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.engine.fetcher import Fetcher
from gotaskq.errors import BackendUnavailableError

LOOK_EVERY_S: Final = 0.1
PROMOTE_BATCH: Final = 1_000


class Ending:
    """Looks every now and then whether a worker has done what it was started for."""

    def __init__(
        self, backend: Backend, *, fetcher: Fetcher, clock: Clock, queues: Collection[str] | None, burst: bool
    ) -> None:
        self._backend = backend
        self._fetcher = fetcher
        self._clock = clock
        self._queues = queues
        self._burst = burst

    async def wait(self, is_idle: Callable[[], bool]) -> None:
        """Return when the worker is idle and has no more to do."""
        # Idle is asked again afterwards: a job may have been on its way here while the store was asked.
        while not (is_idle() and await self._is_done() and is_idle()):
            await self._clock.sleep(LOOK_EVERY_S)

    async def _is_done(self) -> bool:
        if self._fetcher.is_exhausted:
            return True
        return self._burst and not await self._is_any_due()

    async def _is_any_due(self) -> bool:
        try:
            await self._backend.promote(limit=PROMOTE_BATCH)
            counts = await self._backend.queues()
        except BackendUnavailableError:
            return True  # nobody knows; the fetcher tells of the outage
        return any(
            count.ready and not count.is_paused
            for name, count in counts.items()
            if self._queues is None or name in self._queues
        )
