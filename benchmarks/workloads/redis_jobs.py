"""Jobs by the library's public calls on a Redis: enqueued in each way, and drained by one worker process.

Invariant: a figure stands only when every call came back, and a drain only when every job has run and was settled.
"""

import asyncio
from time import perf_counter

from benchmarks.workloads.jobs import PAYLOAD, ROOMY, SLOTS, Counted, Rates, uvloop_run
from gotaskq import TaskQ

CALLERS = 100  # coroutines that each await one enqueue after the other
BULK = 1_000  # jobs a call, to fill a queue


def one_by_one(*, url: str, jobs: int) -> Rates:
    """Await `enqueue` for each job."""
    return uvloop_run(_one_by_one(url, jobs))


async def _one_by_one(url: str, jobs: int) -> Rates:
    async with TaskQ(url, settings=ROOMY) as app:
        started = perf_counter()
        for _ in range(jobs):
            await app.enqueue("logger", PAYLOAD)
        return {"jobs_per_s": jobs / (perf_counter() - started)}


def many_at_once(*, url: str, jobs: int) -> Rates:
    """Let a hundred coroutines do the same."""
    return uvloop_run(_many_at_once(url, jobs))


async def _many_at_once(url: str, jobs: int) -> Rates:
    left = iter(range(jobs))
    async with TaskQ(url, settings=ROOMY) as app:

        async def call() -> None:
            for _ in left:
                await app.enqueue("logger", PAYLOAD)

        started = perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call())
        return {"jobs_per_s": jobs / (perf_counter() - started)}


def in_bulk(*, url: str, jobs: int, size: int) -> Rates:
    """Await `enqueue_many` for each `size` jobs."""
    return uvloop_run(_in_bulk(url, jobs, size))


async def _in_bulk(url: str, jobs: int, size: int) -> Rates:
    async with TaskQ(url, settings=ROOMY) as app:
        started = perf_counter()
        await _fill(app, jobs, size)
        return {"jobs_per_s": jobs / (perf_counter() - started)}


async def _fill(app: TaskQ, jobs: int, size: int = BULK) -> None:
    for first in range(0, jobs, size):
        await app.enqueue_many([app.job("logger", PAYLOAD) for _ in range(min(size, jobs - first))])


def drain(*, url: str, jobs: int) -> Rates:
    """Fill a queue, then start ten slots on it, and stop the clock when every job is settled."""
    return uvloop_run(_drain(url, jobs))


async def _drain(url: str, jobs: int) -> Rates:
    counted = Counted(TaskQ(url, settings=ROOMY))
    async with counted.app as app:
        await _fill(app, jobs)
        started = perf_counter()
        async with app.workers(concurrency=SLOTS):
            await counted.until(jobs)
        return {"jobs_per_s": jobs / (perf_counter() - started)}  # the workers have drained: every job is settled
