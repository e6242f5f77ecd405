"""After an outage, leases that ran out without a fault of their holders get as long again before they are reaped."""

from random import Random

import pytest
from tests.faults.world import World

from gotaskq.backend import Extended
from gotaskq.backends.redis import RedisBackend
from gotaskq.job import Job, JobId
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import SnowflakeIds
from gotaskq.store_limits import StoreLayout
from gotaskq.testing.clock import FakeClock

LEASE_MS = 1_000
pytestmark = pytest.mark.slow


async def open_store(world: World, clock: FakeClock) -> RedisBackend:
    layout = StoreLayout(key_prefix="gtqtest", outage_grace_ms=LEASE_MS)
    store = RedisBackend(world.redis.url, clock=clock, rng=Random(0), layout=layout)
    await store.open()
    return store


async def lease(store: RedisBackend, clock: FakeClock) -> Job:
    now_ms = clock.now_ms()
    job_id: JobId = SnowflakeIds(Random(0)).draw(now_ms)
    job = Job(
        id=job_id, type="noop", queue="default", payload_json=b"null", priority=0, delay_ms=0, max_retries=0, rank=1,
        created_at_ms=now_ms, updated_at_ms=now_ms, run_after_ms=now_ms, enqueue_nonce="n",
    )  # fmt: skip
    await store.enqueue([job])
    [leased] = await store.reserve([Turn("default", 1)], limit=1, lease_ms=LEASE_MS, worker="w")
    return leased


@pytest.mark.parametrize("has_reaped", [True, False], ids=["after a while", "for the first time"])
async def test_whoever_reaps_after_an_outage_spares_the_leases_for_as_long_again(
    world: World, clock: FakeClock, has_reaped: bool
) -> None:
    store = await open_store(world, clock)
    if has_reaped:
        await store.reap(limit=10, max_crashes=3)
        await clock.advance(2 * LEASE_MS / 1000)
    held = await lease(store, clock)
    assert held.lease is not None
    await clock.advance(2 * LEASE_MS / 1000)

    spared = await store.reap(limit=10, max_crashes=3)
    extended = await store.extend([held.lease], lease_ms=LEASE_MS // 4)
    await clock.advance(LEASE_MS / 2000)
    spared_still = await store.reap(limit=10, max_crashes=3)
    await clock.advance(LEASE_MS / 2000)
    reaped = await store.reap(limit=10, max_crashes=3)
    await store.close()

    assert (spared, extended, spared_still) == ([], [Extended.HELD], [])
    assert [job.id for job in reaped] == [held.id]
