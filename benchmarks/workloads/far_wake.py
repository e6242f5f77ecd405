"""How soon an idle worker in another process starts on a job that this one put into Redis, one job at a time.

The other process appends the start of each to a file, read here; both read the machine's monotonic clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic_ns

from redis.asyncio import Redis

from benchmarks.workloads.bare_list import KEY
from benchmarks.workloads.jobs import PAYLOAD, WAIT_S, Rates, uvloop_run
from benchmarks.workloads.wake import PAUSE_S, WARM_UP, percentiles_ms
from gotaskq import TaskQ


def enqueued(*, url: str, samples: int, starts: str) -> Rates:
    """Time from before `enqueue` to the handler."""
    return uvloop_run(_enqueued(url, samples, Path(starts)))


async def _enqueued(url: str, samples: int, starts: Path) -> Rates:
    async with TaskQ(url) as app:

        async def send() -> None:
            await app.enqueue("logger", PAYLOAD)

        return await _waits(send, samples, starts)


def pushed(*, url: str, samples: int, starts: str) -> Rates:
    """Time from before a push to a process that waits in BLPOP."""
    return uvloop_run(_pushed(url, samples, Path(starts)))


async def _pushed(url: str, samples: int, starts: Path) -> Rates:
    async with Redis.from_url(url) as redis:

        async def send() -> None:
            await redis.rpush(KEY, "{}")

        return await _waits(send, samples, starts)


async def _waits(send: Callable[[], Awaitable[None]], samples: int, starts: Path) -> Rates:
    known = len(starts.read_bytes().split())
    sent_ns = []
    async with asyncio.timeout(WAIT_S):
        for number in range(1, samples + WARM_UP + 1):
            await asyncio.sleep(PAUSE_S)
            sent_ns.append(monotonic_ns())
            await send()
            while len(starts.read_bytes().split()) < known + number:
                await asyncio.sleep(PAUSE_S)
    started_ns = [int(line) for line in starts.read_bytes().split()[known:]]
    return percentiles_ms([start - sent for sent, start in zip(sent_ns, started_ns, strict=True)])
