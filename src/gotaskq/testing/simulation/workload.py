"""What GoTaskQ itself is simulated with: handlers of every temper, and callers who change their mind."""

import asyncio
import contextlib
from collections.abc import Awaitable
from random import Random
from typing import Final

from gotaskq.app import TaskQ
from gotaskq.config import Settings
from gotaskq.context import Context
from gotaskq.control import Cancel, Discard, Retry, Snooze
from gotaskq.errors import GotaskqError
from gotaskq.job import Job
from gotaskq.testing.simulation.process import SimProcess

LEASE_MS: Final = 4_000  # short, so that a run of half a minute sees leases lapse
QUEUES: Final = ("default", "mail")
JOBS: Final = (4, 12)  # a client brings
EACH: Final = 4
STEPS: Final = 5
BETWEEN_S: Final = (0.0, 1.5)  # one and the next

SETTINGS: Final = Settings(
    num_workers=3, lease_ms=LEASE_MS, base_delay_ms=100, max_delay_ms=1_000, max_retries=2, shutdown_timeout_ms=3_000
)


def make_app(process: SimProcess) -> TaskQ:
    """Make the app of one simulated process."""
    app = TaskQ(process.backend, settings=SETTINGS, clock=process.clock, rng=process.rng)
    _run_the_usual(app, process.rng)
    _run_the_wilful(app, process)
    return app


def _run_the_usual(app: TaskQ, rng: Random) -> None:
    """Let the app run jobs that end, or fail, on their own."""

    @app.handler("quick")
    async def quick(job: Job) -> None:
        pass

    @app.handler("slow")
    async def slow(job: Job) -> None:
        await asyncio.sleep(rng.uniform(0, 2.5) * LEASE_MS / 1000)

    @app.handler("flaky")
    async def flaky(job: Job) -> None:
        await asyncio.sleep(rng.uniform(0, 0.5))
        if rng.random() < 0.5:
            raise ConnectionError("out of luck")

    @app.handler("broken")
    async def broken(job: Job) -> None:
        raise ValueError("never works")

    @app.handler("timed", timeout=1.0)
    async def timed(job: Job) -> None:
        await asyncio.sleep(rng.uniform(0, 2))


def _run_the_wilful(app: TaskQ, process: SimProcess) -> None:
    """Let the app run jobs that say themselves what shall become of them, or do not listen."""
    rng = process.rng

    @app.handler("talkative")
    async def talkative(ctx: Context) -> int | Snooze:
        done: int = ctx.job.checkpoint or 0
        for step in range(done, STEPS):
            ctx.progress(step / STEPS)
            ctx.checkpoint(step)
            await asyncio.sleep(rng.uniform(0, 0.8))
            if rng.random() < 0.1:
                raise Retry(rng.uniform(0, 2))
        return Snooze(rng.uniform(0, 2)) if rng.random() < 0.2 else STEPS

    @app.handler("choosy")
    async def choosy(job: Job) -> None:
        raise Cancel("not today") if rng.random() < 0.5 else Discard("of no use")

    @app.handler("stubborn", timeout=20)
    async def stubborn(job: Job) -> None:
        until_s = process.clock.monotonic_s() + rng.uniform(0, 8)
        while (left_s := until_s - process.clock.monotonic_s()) > 0:
            try:
                await asyncio.sleep(left_s)
            except asyncio.CancelledError:
                continue  # what no handler should do


async def client(app: TaskQ, rng: Random) -> None:
    """Enqueue jobs, one by one and in batches; cancel, replay and change some."""
    known: list[int] = []
    await _attempt(app.create_queue("mail"))
    for _ in range(rng.randint(*JOBS)):
        await asyncio.sleep(rng.uniform(*BETWEEN_S))
        known += await _bring(app, rng)
        if known and rng.random() < 0.2:
            await _attempt(app.cancel(rng.choice(known)))
        if known and rng.random() < 0.2:
            await _attempt(app.replay(rng.choice(known)))
        if known and rng.random() < 0.2:
            await _attempt(app.amend(rng.choice(known), priority=5, delay=rng.choice((0, 0, rng.uniform(0, 5)))))


async def _bring(app: TaskQ, rng: Random) -> list[int]:
    count = rng.choice((1, 1, 1, 3))
    queue = rng.choice(QUEUES)
    requests = [
        app.job(
            rng.choice(app.job_types),
            queue=queue,
            priority=rng.choice((0, 0, 5)),
            delay=rng.choice((0, 0, rng.uniform(0, 5))),
            max_retries=rng.choice((None, 0, 3)),
            schedule_timeout=rng.choice((None, None, None, 0.5, 5)),
        )
        for _ in range(count)
    ]
    try:
        jobs = [await app.submit(requests[0])] if count == 1 else await app.enqueue_many(requests)
    except GotaskqError:
        return []  # the caller is told, and knows no id
    return [job.id for job in jobs]


async def insisting_client(app: TaskQ, rng: Random) -> None:
    """Enqueue jobs with keys, and again where no answer came or for no reason; cancel some, replay some that died."""
    known: list[int] = []
    for number in range(rng.randint(*JOBS)):
        await asyncio.sleep(rng.uniform(*BETWEEN_S))
        request = app.job(
            rng.choice(app.job_types),
            number,
            delay=rng.choice((0, rng.uniform(0, 2))),
            unique_key=rng.choice((None, "a", "b")),
            idempotency_key=rng.choice((None, f"{number}", f"{rng.random()}")),
        )
        for _ in range(rng.randint(1, 3)):
            with contextlib.suppress(GotaskqError):
                known.append((await app.submit(request)).id)
        if known and rng.random() < 0.2:
            await _attempt(app.cancel(rng.choice(known)))
        if known and rng.random() < 0.4:
            await _attempt(app.replay(rng.choice(known)))


async def _attempt(call: Awaitable[object]) -> None:
    """Ask for something that may be refused; a caller who is told so has not been wronged."""
    with contextlib.suppress(GotaskqError):
        await call


async def enqueue_each_type(app: TaskQ, rng: Random) -> None:
    """Enqueue some jobs of each type the app handles, without a payload: the client of a simulation that names none."""
    for job_type in app.job_types * EACH:
        await asyncio.sleep(rng.uniform(*BETWEEN_S))
        await _attempt(app.enqueue(job_type))
