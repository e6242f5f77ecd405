"""Maintenance: each duty goes on while there is more to do, so that no rate of jobs outruns it."""

import asyncio
from random import Random

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine import maintenance
from gotaskq.engine.bus import EventBus
from gotaskq.engine.heartbeat import Heartbeat
from gotaskq.engine.maintenance import PRUNE_EVERY_S, Maintenance
from gotaskq.job import JobId
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock

BATCH = 10
BATCHES = 100


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
    heartbeat = Heartbeat(
        backend, clock=clock, lease_ms=30_000, held=list, exclusive_types=(), cancel=print, interrupt=print
    )
    upkeep = Maintenance(
        backend, heartbeat=heartbeat, bus=EventBus(), clock=clock, rng=rng, lease_ms=30_000, max_crashes=3
    )
    duties = [asyncio.create_task(duty) for duty in upkeep.loops()]

    await clock.advance(2 * PRUNE_EVERY_S)
    await clock.settle()

    left = [job_id for job_id in ids if await backend.get(job_id) is not None]
    assert left == []
    for duty in duties:
        duty.cancel()
    await asyncio.wait(duties)
