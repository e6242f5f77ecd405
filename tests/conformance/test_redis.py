"""The Redis backend keeps the contract on every server we serve, with one partition and with several."""

from collections.abc import Iterator
from random import Random

import pytest
from tests.redis_servers import Flavour, RedisServer, flavours
from tests.redis_stores import StoreClock, new_store

from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.conformance import (
    BackendConformance,
    BoardsConformance,
    GovernorConformance,
    SharesHappeningsConformance,
    StandingConformance,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as running:
        yield running


class TestRedis(
    BackendConformance,
    BoardsConformance,
    SharesHappeningsConformance,
    GovernorConformance,
    StandingConformance,
):
    @pytest.fixture(autouse=True)
    def _server(self, server: RedisServer) -> None:
        self.server = server

    @pytest.fixture
    def clock(self) -> StoreClock:
        return StoreClock()

    async def make_backend(self, limits: StoreLimits, *, clock: Clock, rng: Random) -> RedisBackend:
        assert isinstance(clock, StoreClock)
        return clock.watch(new_store(self.server, limits, clock=clock, rng=rng))
