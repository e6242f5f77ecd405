"""Jobs in child processes: our executor and Python's ProcessPoolExecutor, with the same handlers and as many children.

The loop is uvloop, as in `gotaskq run`. Children are warm before the clock starts; both are given work the same way,
by as many callers as there are slots.
Invariant: a workload that did not run every job raises, so that no figure stands for less work than it says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import perf_counter, thread_time

from benchmarks.workloads.jobs import ROOMY, LostJobsError, Rates, check_done, uvloop_run
from gotaskq import Job, TaskQ
from gotaskq.events import JobDone
from gotaskq.executors.process.executor import ProcessExecutor
from gotaskq.executors.process.options import ProcessOptions
from gotaskq.job import JobId, Lease, Status

WAIT_S = 120.0  # then a workload is taken for hung
BUSY_S = 0.001

Call = Callable[[Callable[[Job], None]], Awaitable[object]]


def nothing(_: Job) -> None:
    """Return."""


def busy(_: Job) -> None:
    """Use a millisecond of processor time, as its own thread counts it: a busy machine makes it no shorter."""
    until = thread_time() + BUSY_S
    while thread_time() < until:
        pass


HANDLERS = {"nothing": nothing, "busy": busy}
JOB = Job(
    id=JobId(7),
    type="logger",
    queue="default",
    payload_json=b'{"msg":"hello"}',
    status=Status.RUNNING,
    priority=0,
    delay_ms=0,
    max_retries=5,
    attempt=1,
    rank=0,
    created_at_ms=0,
    updated_at_ms=0,
    run_after_ms=0,
    enqueue_nonce="enqueued",
    lease=Lease(JobId(7), "nonce"),
)


def ours(*, jobs: int, handler: str, children: int, callers: int) -> Rates:
    """Await our executor, the whole job there and the result back."""
    return uvloop_run(_ours(jobs, HANDLERS[handler], children, callers))


async def _ours(jobs: int, handler: Callable[[Job], None], children: int, callers: int) -> Rates:
    executor = ProcessExecutor(ProcessOptions(max_children=children))
    executor.open()
    try:
        return await _rate(lambda run: executor.run(run, JOB), handler, jobs=jobs, callers=callers)
    finally:
        executor.close()


def pool(*, jobs: int, handler: str, children: int, callers: int) -> Rates:
    """Await a ProcessPoolExecutor of spawned children, the whole job there and the result back, by pickle."""
    with ProcessPoolExecutor(children, mp_context=get_context("spawn")) as executor:
        return uvloop_run(_pool(executor, jobs, HANDLERS[handler], callers))


async def _pool(executor: ProcessPoolExecutor, jobs: int, handler: Callable[[Job], None], callers: int) -> Rates:
    loop = asyncio.get_running_loop()
    return await _rate(lambda run: loop.run_in_executor(executor, run, JOB), handler, jobs=jobs, callers=callers)


async def _rate(call: Call, handler: Callable[[Job], None], *, jobs: int, callers: int) -> Rates:
    warm_up = await _run_all(partial(call, busy), jobs=20 * callers, callers=callers)
    if warm_up != 20 * callers:
        raise LostJobsError(f"{warm_up} of {20 * callers} jobs of the warm-up have run")
    started = perf_counter()
    ran = await _run_all(partial(call, handler), jobs=jobs, callers=callers)
    ended = perf_counter()
    if ran != jobs:
        raise LostJobsError(f"{ran} of {jobs} jobs have run")
    return {"jobs_per_s": jobs / (ended - started)}


async def _run_all(call: Callable[[], Awaitable[object]], *, jobs: int, callers: int) -> int:
    """Run so many jobs by callers that await one after the other; return how many ran."""
    numbers = iter(range(jobs))

    async def run_some() -> int:
        ran = 0
        for _ in numbers:
            await call()
            ran += 1
        return ran

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        tasks: Sequence[asyncio.Task[int]] = [group.create_task(run_some()) for _ in range(callers)]
    return sum(task.result() for task in tasks)


def through_the_queue(*, jobs: int, handler: str, children: int) -> Rates:
    """Enqueue all, then start the clock and the workers, until all jobs are settled."""
    return uvloop_run(_through_the_queue(jobs, HANDLERS[handler], children))


async def _through_the_queue(jobs: int, handler: Callable[[Job], None], children: int) -> Rates:
    app = TaskQ("memory://", settings=ROOMY, children=ProcessOptions(max_children=children))
    app.handler("logger", executor="process")(handler)
    done = 0
    all_done = asyncio.Event()

    def count(_: object) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            all_done.set()

    app.observe(count, [JobDone])
    async with app:
        await app.enqueue_many([app.job("logger", {"msg": "hello"}) for _ in range(jobs)])
        started = perf_counter()
        async with asyncio.timeout(WAIT_S), app.workers(concurrency=children):
            await all_done.wait()
        ended = perf_counter()
        await check_done(app, jobs)
    return {"jobs_per_s": jobs / (ended - started)}
