"""The least a job on Redis costs with redis-py: a JSON string in a list, pushed, popped, decoded and forgotten.

No id, no priority, no delay, no retry; a job that was popped is lost with its process.
"""

import asyncio
import json
from collections.abc import Awaitable
from time import monotonic_ns, perf_counter
from typing import cast

from redis.asyncio import Redis

from benchmarks.workloads.jobs import PAYLOAD, SLOTS, WAIT_S, Rates, uvloop_run
from benchmarks.workloads.redis_jobs import BULK, CALLERS
from benchmarks.workloads.wake import PAUSE_S, WARM_UP, percentiles_ms

KEY = "bare:list"


def one_by_one(*, url: str, jobs: int) -> Rates:
    """Await a push for each job."""
    return uvloop_run(_pushed(url, jobs, callers=1))


def many_at_once(*, url: str, jobs: int) -> Rates:
    """Let a hundred coroutines do the same."""
    return uvloop_run(_pushed(url, jobs, callers=CALLERS))


async def _pushed(url: str, jobs: int, *, callers: int) -> Rates:
    left = iter(range(jobs))
    async with Redis.from_url(url) as redis:

        async def call() -> None:
            for _ in left:
                await _push(redis)

        await _push(redis)  # connects
        started = perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
        return {"jobs_per_s": jobs / (perf_counter() - started)}


async def _push(redis: "Redis") -> None:
    await redis.rpush(KEY, json.dumps({"type": "logger", "payload": PAYLOAD}))


def in_bulk(*, url: str, jobs: int, size: int) -> Rates:
    """Await a pipeline for each `size` jobs."""
    return uvloop_run(_in_bulk(url, jobs, size))


async def _in_bulk(url: str, jobs: int, size: int) -> Rates:
    async with Redis.from_url(url) as redis:
        started = perf_counter()
        await _fill(redis, jobs, size)
        return {"jobs_per_s": jobs / (perf_counter() - started)}


async def _fill(redis: "Redis", jobs: int, size: int = BULK) -> None:
    for first in range(0, jobs, size):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(min(size, jobs - first)):
            pipeline.rpush(KEY, json.dumps({"type": "logger", "payload": PAYLOAD}))
        await pipeline.execute()


def drain(*, url: str, jobs: int) -> Rates:
    """Fill a list, then let ten coroutines pop one job at a time until there is none."""
    return uvloop_run(_drain(url, jobs))


async def _drain(url: str, jobs: int) -> Rates:
    async with Redis.from_url(url) as redis:

        async def slot() -> None:
            while popped := await cast("Awaitable[bytes | None]", redis.lpop(KEY)):
                json.loads(popped)

        await _fill(redis, jobs)
        started = perf_counter()
        async with asyncio.TaskGroup() as slots:
            for _ in range(SLOTS):
                slots.create_task(slot())
        return {"jobs_per_s": jobs / (perf_counter() - started)}


def blocked_task(*, url: str, samples: int) -> Rates:
    """Time from before a push to a task of this process that waits in BLPOP."""
    return uvloop_run(_blocked_task(url, samples))


async def _blocked_task(url: str, samples: int) -> Rates:
    waits_ns: list[int] = []

    async def take(redis: "Redis") -> None:
        for _ in range(samples + WARM_UP):
            _, pushed_ns = await cast("Awaitable[list[bytes]]", redis.blpop([KEY], timeout=WAIT_S))
            waits_ns.append(monotonic_ns() - int(pushed_ns))

    async with Redis.from_url(url) as redis, asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(take(redis))
        for _ in range(samples + WARM_UP):
            await asyncio.sleep(PAUSE_S)
            await redis.rpush(KEY, monotonic_ns())
    return percentiles_ms(waits_ns)
