"""Maintenance: each duty goes on while there is more to do, and no pause between two rounds is longer than it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine import maintenance
from gotaskq.engine.bus import EventBus
from gotaskq.engine.heartbeat import Heartbeat
from gotaskq.engine.maintenance import PRUNE_EVERY_S, REAP_EVERY_S, Maintenance
from gotaskq.job import DEFAULT_QUEUE, PENDING, JobId
from gotaskq.policies.scheduling import Turn
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock

BATCH = 10
BATCHES = 100


LEASE_S = 30.0
MORE_THAN_A_ROUND_S = 0.001


@asynccontextmanager
async def upkeep_of(backend: MemoryBackend, *, clock: FakeClock, rng: Random) -> AsyncIterator[None]:
    """Let the duties run over a store."""
    lease_ms = round(LEASE_S * 1000)
    heartbeat = Heartbeat(
        backend, clock=clock, lease_ms=lease_ms, held=list, exclusive_types=(), cancel=print, interrupt=print
    )
    upkeep = Maintenance(
        backend, heartbeat=heartbeat, bus=EventBus(), clock=clock, rng=rng, lease_ms=lease_ms, max_crashes=3
    )
    duties = [asyncio.create_task(duty) for duty in (*heartbeat.loops(), *upkeep.loops())]
    yield
    for duty in duties:
        duty.cancel()
    await asyncio.wait(duties)


async def test_all_that_is_past_its_retention_goes_however_much_it_is(
    clock: FakeClock, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PRUNE_BATCH", BATCH)
    backend = MemoryBackend(StoreLimits(complete_job_ttl_ms=1_000), clock=clock, rng=rng)
    await backend.open()
    ids = [JobId(number) for number in range(1, BATCHES * BATCH + 1)]
    await backend.enqueue([pending(id=job_id) for job_id in ids])
    for job_id in ids:
        await backend.cancel(job_id)

    async with upkeep_of(backend, clock=clock, rng=rng):
        await clock.advance(2 * PRUNE_EVERY_S)
        await clock.settle()
        left = [job_id for job_id in ids if await backend.get(job_id) is not None]

    assert left == []


@pytest.mark.parametrize("seed", range(20))
async def test_a_lease_that_lapsed_is_found_within_a_round(clock: FakeClock, seed: int) -> None:
    rng = Random(seed)
    backend = MemoryBackend(StoreLimits(), clock=clock, rng=rng)
    await backend.open()
    await backend.enqueue([pending()])
    async with upkeep_of(backend, clock=clock, rng=rng):
        await clock.advance(rng.uniform(0, REAP_EVERY_S))
        [leased] = await backend.reserve([Turn(DEFAULT_QUEUE, 1)], limit=1, lease_ms=round(LEASE_S * 1000), worker="w")

        await clock.advance(LEASE_S + REAP_EVERY_S + MORE_THAN_A_ROUND_S)
        found = await backend.get(leased.id)

    assert found is not None
    assert (found.status, found.crashes) == (PENDING, 1)
