"""Rules of queues on a Redis store that several processes share: rates are theirs together, retention reaches all."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
from msgspec.structs import replace
from tests.redis_servers import Flavour, RedisServer, flavours
from tests.redis_stores import until

from gotaskq.backend import Enqueued
from gotaskq.backends.redis import RedisBackend
from gotaskq.backends.redis.sync import SyncRedis
from gotaskq.clock import Clock, SystemClock
from gotaskq.errors import Quota
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.outcome import Complete
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import SpreadIds
from gotaskq.store_limits import StoreLayout, StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import ALL, Jobs, ids, lease_of

pytestmark = pytest.mark.slow

TESTS_TIME, SERVERS_TIME = "gtqtest", "shared"  # key prefixes: a store of the first kind lives by the clock it is given


@pytest.fixture(params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


@asynccontextmanager
async def processes(
    server: RedisServer, count: int, *, clock: Clock, prefix: str = TESTS_TIME, partitions: int = 1
) -> AsyncIterator[list[RedisBackend]]:
    """Open the store as so many processes do."""
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(count):
            layout = StoreLayout(key_prefix=prefix, partitions=partitions, outage_grace_ms=0)
            store = RedisBackend(server.url, clock=clock, rng=Random(), layout=layout)
            await store.open()
            opened.push_async_callback(store.close)
            stores.append(store)
        yield stores


async def give_all(stores: list[RedisBackend], **changes: int) -> None:
    """Set a rule in one process, and return when all have heard of it."""
    await stores[0].governor.change(DEFAULT_QUEUE, changes)
    for store in stores:
        await until(lambda store=store: DEFAULT_QUEUE in store.governor.rules)  # type: ignore[misc]  # a loop's variable


async def test_processes_have_one_rate_limit_together(server: RedisServer, job: Jobs, clock: FakeClock) -> None:
    async with processes(server, 3, clock=clock) as stores:
        await give_all(stores, rate_limit=10)

        at_once = [reply for store in stores for reply in await store.enqueue([job() for _ in range(4)])]
        heard = [store.governor.quota(DEFAULT_QUEUE) for store in stores]
        await clock.advance(0.2)
        later = [reply for store in stores for reply in await store.enqueue([job()])]

        assert at_once == [Enqueued.OK] * 10 + [Enqueued.TOO_FAST] * 2
        assert heard == [Quota(10, 6, 1), Quota(10, 2, 1), Quota(10, 0, 1)]
        assert later == [Enqueued.OK] * 2 + [Enqueued.TOO_FAST]


def store_now_s(server: RedisServer) -> float:
    with server.client() as client:
        seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6


async def test_a_rate_limit_holds_by_the_store_s_time(server: RedisServer, job: Jobs) -> None:
    async with processes(server, 2, clock=SystemClock(), prefix=SERVERS_TIME) as stores:
        await give_all(stores, rate_limit=20)
        began_s = store_now_s(server)

        replies = [reply for store in stores * 5 for reply in await store.enqueue([job() for _ in range(9)])]

        taken = replies.count(Enqueued.OK)
        assert 20 <= taken <= 20 + 20 * (store_now_s(server) - began_s)
        assert set(replies) <= {Enqueued.OK, Enqueued.TOO_FAST}


async def test_of_several_partitions_each_takes_its_share(server: RedisServer, job: Jobs, clock: FakeClock) -> None:
    spread = SpreadIds(Random(1), partitions=4)

    async with processes(server, 2, clock=clock, partitions=4) as stores:
        await give_all(stores, rate_limit=8)
        replies = []
        for place in range(24):
            spread.turn()
            replies += await stores[place % 2].enqueue([replace(job(), id=spread.draw(clock.now_ms()))])

        assert replies == [Enqueued.OK] * 8 + [Enqueued.TOO_FAST] * 16
        assert stores[0].governor.quota(DEFAULT_QUEUE) == Quota(8, 0, 1)


def test_doors_without_a_loop_count_together_too(server: RedisServer, job: Jobs) -> None:
    layout = StoreLayout(key_prefix=SERVERS_TIME)
    doors = [SyncRedis(server.url, StoreLimits(), clock=SystemClock(), rng=Random(), layout=layout) for _ in range(2)]
    with server.client() as client:
        client.hset(f"{SERVERS_TIME}:2:rules", f"{DEFAULT_QUEUE} rate_limit", "20")
    for door in doors:
        door.refresh_rules()
    began_s = store_now_s(server)

    replies = [reply for door in doors * 5 for reply in door.enqueue([job() for _ in range(9)])]

    assert 20 <= replies.count(Enqueued.OK) <= 20 + 20 * (store_now_s(server) - began_s)
    quota = doors[1].quota(DEFAULT_QUEUE)
    assert quota is not None
    assert quota.limit == 20
    for door in doors:
        door.close()


async def test_what_one_process_sets_another_keeps_by(server: RedisServer, job: Jobs, clock: FakeClock) -> None:
    async with processes(server, 2, clock=clock) as stores:
        operator, worker = stores
        await give_all(stores, complete_job_ttl_ms=3_600_000)
        given = job()
        await operator.enqueue([given])
        [running] = await worker.reserve([Turn(DEFAULT_QUEUE, 1)], limit=1, lease_ms=30_000, worker="w")
        await worker.settle([Complete(lease_of(running))])
        cancelled = job()
        await operator.enqueue([cancelled])
        await worker.cancel(cancelled.id)

        await clock.advance(3_599)
        early = await operator.prune(limit=ALL)
        await clock.advance(1)

        assert ids([running]) == [given.id]
        assert (early, await operator.prune(limit=ALL)) == (0, 2)
