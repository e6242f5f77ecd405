"""Stores on a real server for the tests: each with a key prefix of its own, and living by the test's clock."""

import asyncio
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Final

from tests.redis_servers import RedisServer

from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import Clock
from gotaskq.store_limits import StoreLayout, StoreLimits
from gotaskq.testing.clock import SETTLE_ROUNDS, FakeClock

GIVE_UP_S: Final = 30.0
# What docs/guides/choose-a-backend.md tells an operator to give us, but for the password and the prefix of the keys.
RIGHTS: Final = (
    "resetchannels ~{0}* &{0}* -@all +@read +@write +@connection +@pubsub -@dangerous "
    "+eval +evalsha +time +info +wait +client|setname"
)
CLUSTER_RIGHTS: Final = "+cluster|slots +asking"  # in a Cluster, besides

_numbers = count()


def url_of_user(server: RedisServer) -> str:
    """Return the URL of a user who has the rights that are documented, and no others."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "jobs", "on", ">s3cret", *RIGHTS.format("gtqtest").split())
    return server.url.replace("redis://", "redis://jobs:s3cret@")


def new_store(
    server: RedisServer, limits: StoreLimits | None = None, *, clock: Clock, rng: Random, partitions: int = 1
) -> RedisBackend:
    """Return an empty store on a server that others use too, for a user with no more rights than are documented.

    Leases get no grace, as the contract knows none.
    """
    layout = StoreLayout(key_prefix=f"gtqtest-{next(_numbers)}", partitions=partitions, outage_grace_ms=0)
    return RedisBackend(url_of_user(server), limits, clock=clock, rng=rng, layout=layout)


class StoreClock(FakeClock):
    """A clock that, before time goes on, lets the calls of its stores come back from the server."""

    ROUND_TRIPS = 3

    def __init__(self) -> None:
        super().__init__()
        self._stores: list[RedisBackend] = []

    def watch(self, store: RedisBackend) -> RedisBackend:
        """Wait for this store's calls too."""
        self._stores.append(store)
        return store

    async def settle(self, *, rounds: int = SETTLE_ROUNDS) -> None:
        """Let every task run that can run, also those that wait for the server."""
        for _ in range(self.ROUND_TRIPS):
            await super().settle(rounds=rounds)
            for store in self._stores:
                await until(lambda store=store: not store.calls_under_way)  # type: ignore[misc]  # a loop's variable


async def until(holds: Callable[[], bool]) -> None:
    """Return when this holds; what happens on a server gives no event to wait for. Gives up long after it should."""
    async with asyncio.timeout(GIVE_UP_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)
