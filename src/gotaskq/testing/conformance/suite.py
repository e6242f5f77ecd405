"""What every topic of the suite stands on: the fixtures, and the one method a backend's author writes.

Needs pytest and pytest-asyncio with `asyncio_mode = "auto"`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final, TypeAlias

import pytest

from gotaskq.backend import Backend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock, MovableClock
from gotaskq.testing.conformance.given import Jobs

SEED: Final = 20_261_123  # fixed: a contract test that fails must fail again

BackendMaker: TypeAlias = Callable[[StoreLimits], Awaitable[Backend]]


class ConformanceSuite:
    """Fixtures shared by all topics; a backend's test class overrides `make_backend`, and `clock` if it must."""

    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> Backend:
        """Return an empty backend that was not opened yet; the suite opens and closes it."""
        raise NotImplementedError("a conformance test class must define make_backend")

    @pytest.fixture
    def clock(self) -> MovableClock:
        """Return the clock the backend lives by; a real server's must move the server's time."""
        return FakeClock()

    @pytest.fixture
    def rng(self) -> Random:
        return Random(SEED)

    @pytest.fixture
    def job(self, clock: MovableClock) -> Jobs:
        """Return the factory of jobs: `job(priority=5)` makes one, PENDING and not yet stored."""
        return Jobs(clock, Random(SEED))

    @pytest.fixture
    async def backend_with(self, clock: MovableClock, rng: Random) -> AsyncIterator[BackendMaker]:
        """Return the maker of open backends with limits of their own: `await backend_with(StoreLimits(...))`."""
        async with AsyncExitStack() as open_backends:

            async def make(limits: StoreLimits) -> Backend:
                backend = await self.make_backend(limits, clock=clock, rng=rng)
                return await open_backends.enter_async_context(_opened(backend))

            yield make

    @pytest.fixture
    async def backend(self, backend_with: BackendMaker) -> Backend:
        """Return an open, empty backend with the default limits."""
        return await backend_with(StoreLimits())


@asynccontextmanager
async def _opened(backend: Backend) -> AsyncIterator[Backend]:
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()
