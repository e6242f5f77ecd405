"""How soon somebody idle starts on what is handed to it, inside one process: our worker, and a task at a queue."""

import asyncio
from time import monotonic_ns

from benchmarks.loadgen import percentile
from benchmarks.workloads.jobs import PAYLOAD, SLOTS, WAIT_S, Rates, uvloop_run
from gotaskq import Job, TaskQ

PAUSE_S = 0.002  # between two samples, so that everybody is idle again
WARM_UP = 20  # samples that do not count


def percentiles_ms(waits_ns: list[int]) -> Rates:
    """Return the median and the 99th percentile."""
    ascending = sorted(wait_ns / 1e6 for wait_ns in waits_ns[WARM_UP:])
    return {"p50_ms": percentile(ascending, 50), "p99_ms": percentile(ascending, 99)}


def worker(*, samples: int, url: str = "memory://") -> Rates:
    """Time from before `enqueue` to the first line of the handler, one job at a time."""
    return uvloop_run(_worker(samples, url))


async def _worker(samples: int, url: str) -> Rates:
    app = TaskQ(url)
    started_ns: asyncio.Queue[int] = asyncio.Queue()
    waits_ns = []

    @app.handler("logger")
    async def start(_: Job) -> None:
        started_ns.put_nowait(monotonic_ns())

    async with app, app.workers(concurrency=SLOTS), asyncio.timeout(WAIT_S):
        for _ in range(samples + WARM_UP):
            await asyncio.sleep(PAUSE_S)
            enqueued_ns = monotonic_ns()
            await app.enqueue("logger", PAYLOAD)
            waits_ns.append(await started_ns.get() - enqueued_ns)
    return percentiles_ms(waits_ns)


def task(*, samples: int) -> Rates:
    """Time from before `put` to an asyncio task that waits at the queue."""
    return uvloop_run(_task(samples))


async def _task(samples: int) -> Rates:
    handed: asyncio.Queue[int] = asyncio.Queue()
    waits_ns: list[int] = []

    async def take() -> None:
        for _ in range(samples + WARM_UP):
            put_ns = await handed.get()
            waits_ns.append(monotonic_ns() - put_ns)

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(take())
        for _ in range(samples + WARM_UP):
            await asyncio.sleep(PAUSE_S)
            handed.put_nowait(monotonic_ns())
    return percentiles_ms(waits_ns)
