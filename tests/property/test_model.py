"""Every backend does what the model does, whatever is asked of it in whatever order."""

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.property.governing import GoverningMachine

from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits


class MemoryMachine(GoverningMachine):
    def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> MemoryBackend:
        return MemoryBackend(limits, clock=clock, rng=rng)


pytestmark = pytest.mark.slow

MemoryMachine.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    phases=(Phase.generate, Phase.shrink),  # explaining a failure traces every line and takes minutes
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestMemoryModel = MemoryMachine.TestCase
