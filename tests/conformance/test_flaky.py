"""A flaky store that is told nothing keeps the contract of the store behind it."""

from random import Random

from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits
from gotaskq.testing import FlakyBackend
from gotaskq.testing.conformance import BackendConformance


class TestFlakyToldNothing(BackendConformance):
    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> FlakyBackend:
        return FlakyBackend(MemoryBackend(limits, clock=clock, rng=rng))
