"""The Redis backend does what the model does, on every server we serve, with one partition."""

import atexit
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from tests.faults.checker import audit
from tests.faults.store import StoreReader
from tests.property.governing import GoverningMachine
from tests.redis_servers import Flavour, RedisServer, flavours
from tests.redis_stores import new_store

from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits

pytestmark = pytest.mark.slow


@cache
def server_of(flavour: Flavour) -> RedisServer:
    server = RedisServer(flavour)
    server.start()
    atexit.register(server.kill)
    return server


class RedisMachine(GoverningMachine):
    flavour: Flavour

    def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> RedisBackend:
        self.store = new_store(server_of(self.flavour), limits, clock=clock, rng=rng)
        return self.store

    def teardown(self) -> None:
        super().teardown()
        with server_of(self.flavour).client() as client:
            store = StoreReader([client], prefix=self.store._layout.key_prefix).read()
        assert [line for line in audit(store) if line.startswith("I5")] == []


@pytest.mark.parametrize("flavour", flavours(), ids=lambda flavour: flavour.name)
def test_redis_does_what_the_model_does(flavour: Flavour) -> None:
    machine = type(f"RedisMachine_{flavour.name}", (RedisMachine,), {"flavour": flavour})
    machine.TestCase.settings = settings(  # type: ignore[attr-defined]  # Hypothesis makes it from the class
        max_examples=60,
        stateful_step_count=50,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()  # type: ignore[attr-defined]
