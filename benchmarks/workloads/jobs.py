"""Jobs in one process: enqueued, run, kept waiting; and the tools of Python they are compared with.

The loop is uvloop, as in `gotaskq run`. A rate is jobs divided by the time until the last one is settled.
Invariant: a workload that did not run every job raises, so that no figure stands for less work than it says.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter

import uvloop

from gotaskq import Job, JobRequest, Settings, TaskQ

SLOTS = 10
BATCH = 100  # jobs a call, and jobs between two turns given to the workers
STEP = 1_000  # jobs that come and go between two looks at how many wait
WARM_UP = 500  # jobs run before the clock starts
WAIT_S = 120.0  # then a workload is taken for hung
ROOMY = Settings(max_queue_depth=100_000_000)
PAYLOAD = {"msg": "hello"}

Rates = dict[str, float]


class LostJobsError(Exception):
    """Not every job of a workload was run."""


def uvloop_run(work: Coroutine[object, object, Rates]) -> Rates:
    """Run a coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def enqueue_one_by_one(*, jobs: int) -> Rates:
    """Await `enqueue` for each job; no workers."""
    return uvloop_run(_enqueue_one_by_one(jobs))


async def _enqueue_one_by_one(jobs: int) -> Rates:
    async with TaskQ(settings=ROOMY) as app:
        started = perf_counter()
        for _ in range(jobs):
            await app.enqueue("logger", PAYLOAD)
        return {"jobs_per_s": jobs / (perf_counter() - started)}


def enqueue_in_batches(*, jobs: int) -> Rates:
    """Await `enqueue_many` for each hundred jobs; no workers."""
    return uvloop_run(_enqueue_in_batches(jobs))


async def _enqueue_in_batches(jobs: int) -> Rates:
    requests = [JobRequest("logger") for _ in range(BATCH)]
    async with TaskQ(settings=ROOMY) as app:
        started = perf_counter()
        for _ in range(jobs // BATCH):
            await app.enqueue_many(requests)
        return {"jobs_per_s": jobs // BATCH * BATCH / (perf_counter() - started)}


def enqueue_and_run(*, jobs: int) -> Rates:
    """Enqueue one by one while ten slots run a handler that does nothing, until all jobs are settled."""
    return uvloop_run(_enqueue_and_run(jobs))


async def _enqueue_and_run(jobs: int) -> Rates:
    counted = Counted(TaskQ(settings=ROOMY))
    async with counted.app as app:
        async with app.workers(concurrency=SLOTS):
            started = perf_counter()
            for number in range(1, jobs + 1):
                await app.enqueue("logger", PAYLOAD)
                if number % BATCH == 0:
                    await asyncio.sleep(0)  # enqueueing in memory waits for nothing, so nobody else would have a turn
            await counted.until(jobs)
        ended = perf_counter()  # the workers have drained: every job is settled
        await check_done(app, jobs)
    return {"jobs_per_s": jobs / (ended - started)}


class Counted:
    """An app whose handlers of `logger` jobs only count."""

    def __init__(self, app: TaskQ) -> None:
        self.app = app
        self.ran = 0
        self._goal = 0
        self._reached = asyncio.Event()
        app.handler("logger")(self._count)

    async def _count(self, _: Job) -> None:
        self.ran += 1
        if self.ran == self._goal:
            self._reached.set()

    async def until(self, goal: int) -> None:
        """Wait until so many handlers have run."""
        if self.ran >= goal:
            return
        self._goal = goal
        self._reached.clear()
        try:
            async with asyncio.timeout(WAIT_S):
                await self._reached.wait()
        except TimeoutError as error:
            raise LostJobsError(f"{goal - self.ran} jobs have not run after {WAIT_S:g} s") from error


async def check_done(app: TaskQ, jobs: int) -> None:
    done = done_of(await app.metrics_page())
    if done != jobs:
        raise LostJobsError(f"{done} of {jobs} jobs are done")


def done_of(page: bytes) -> int:
    """Return how many jobs a metrics page says are done."""
    lines = (line for line in page.decode().splitlines() if line.startswith("gotaskq_jobs_processed_total{"))
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if 'status="done"' in line)


def threads(*, jobs: int) -> Rates:
    """Submit a function that does nothing to a pool of ten threads, and wait for all."""
    with ThreadPoolExecutor(SLOTS) as pool:
        started = perf_counter()
        wait([pool.submit(_nothing) for _ in range(jobs)])
        return {"jobs_per_s": jobs / (perf_counter() - started)}


def _nothing() -> None:
    pass


def tasks(*, jobs: int) -> Rates:
    """Make an asyncio task a job, a hundred at a time, and wait for all."""
    return uvloop_run(_tasks(jobs))


async def _tasks(jobs: int) -> Rates:
    async def nothing() -> None:
        pass

    started = perf_counter()
    for _ in range(jobs // BATCH):
        await asyncio.wait([asyncio.create_task(nothing()) for _ in range(BATCH)])
    return {"jobs_per_s": jobs // BATCH * BATCH / (perf_counter() - started)}


def with_others_waiting(*, jobs: int, pending: int, queues: int = 1, spread: bool = False) -> Rates:
    """Enqueue jobs and run as many, while about `pending` jobs wait all the time and `queues` queues are registered.

    With `spread` the jobs go to all queues in turn, else to the default one.
    """
    return uvloop_run(_with_others_waiting(jobs, pending, queues, spread=spread))


async def _with_others_waiting(jobs: int, pending: int, queues: int, *, spread: bool) -> Rates:
    counted = Counted(TaskQ(settings=ROOMY))
    async with counted.app as app:
        names = ["default", *[await app.create_queue(f"q{number}") for number in range(1, queues)]]
        targets = names if spread else names[:1]
        for first in range(0, pending, BATCH):
            await app.enqueue_many([_to(targets, number) for number in range(first, min(first + BATCH, pending))])
        async with app.workers(concurrency=SLOTS):
            await counted.until(min(WARM_UP, pending))
            return await _keep_full(counted, jobs, pending, targets)


def _to(queues: list[str], number: int) -> JobRequest:
    return JobRequest("logger", queue=queues[number % len(queues)])


async def _keep_full(counted: Counted, jobs: int, pending: int, queues: list[str]) -> Rates:
    """Fill up to a step above `pending`, let the workers take it down to there, and again."""
    enqueued, enqueue_s = pending, 0.0
    ran, started = counted.ran, perf_counter()
    while counted.ran - ran < jobs:
        turn_started = perf_counter()
        wanted = counted.ran + pending + STEP
        for number in range(enqueued, wanted):
            await counted.app.enqueue("logger", PAYLOAD, queue=queues[number % len(queues)])
        enqueue_s += perf_counter() - turn_started
        enqueued = wanted
        await counted.until(enqueued - pending)
    total_s = perf_counter() - started
    return {"jobs_per_s": (counted.ran - ran) / total_s, "enqueued_per_s": (enqueued - pending) / enqueue_s}
