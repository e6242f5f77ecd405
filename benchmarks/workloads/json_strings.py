"""Jobs in Redis as one would first write them: a JSON string each, and a member in a sorted set."""

import asyncio
from time import perf_counter

from redis.asyncio import Redis

from benchmarks.references.desk import SAMPLE_BODY
from benchmarks.references.naive_redis import Store
from benchmarks.workloads.jobs import Rates, uvloop_run
from benchmarks.workloads.redis_jobs import CALLERS


def stored(*, url: str, jobs: int) -> Rates:
    """Store jobs, each in a call of its own."""
    return uvloop_run(_stored(url, jobs))


async def _stored(url: str, jobs: int) -> Rates:
    left = iter(range(jobs))
    async with Redis.from_url(url) as redis:
        store = Store(redis)

        async def call() -> None:
            for _ in left:
                await store.submit(SAMPLE_BODY)

        started = perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call())
        return {"jobs_per_s": jobs / (perf_counter() - started)}
