"""Handles: what became of a job, and what its function returned."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.engine.jobs import pending

from gotaskq import Context, Status, TaskQ
from gotaskq.errors import JobCancelledError, JobFailedError, JobNotFoundError, ResultUnavailableError
from gotaskq.handle import JobHandle
from gotaskq.job import Job, JobId
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def app(rng: Random) -> TaskQ:
    return TaskQ(rng=rng)


class Ended:
    """An app in which every job has ended, as the given one."""

    def __init__(self, job: object) -> None:
        self._job: Any = job

    async def get(self, job_id: int) -> Job:
        return self._job  # type: ignore[no-any-return]

    async def wait(self, job_id: int, *, timeout: float | None = None) -> Job:  # noqa: ASYNC109
        return self._job  # type: ignore[no-any-return]

    async def follow(self, job_id: int) -> AsyncIterator[Job]:
        yield self._job

    async def cancel(self, job_id: int) -> Job:
        return self._job  # type: ignore[no-any-return]


class Kept(msgspec.Struct):
    """What of a DONE job a handle looks at."""

    result_json: bytes | None
    id: int = 1
    type: str = "count"
    status: Status = Status.DONE


def handle(result_json: bytes | None) -> JobHandle[list[int]]:
    return JobHandle(Ended(Kept(result_json)), JobId(1), msgspec.json.Decoder(list[int]).decode)


async def test_a_result_is_read_as_the_function_says() -> None:
    assert await handle(b"[1,2]").result() == [1, 2]


@pytest.mark.parametrize("result_json", [None, b'{"a":1}'])
async def test_a_result_that_was_not_kept_is_no_result(result_json: bytes | None) -> None:
    with pytest.raises(ResultUnavailableError, match=r"job 1 is DONE, but .* is not what 'count' returns: Expected"):
        await handle(result_json).result()


async def test_a_job_that_ends_here_is_heard_of(app: TaskQ) -> None:
    gate = asyncio.Event()

    @app.task()
    async def pass_gate() -> None:
        await gate.wait()

    async with app, app.workers(concurrency=1):
        job = await pass_gate.enqueue()
        waiting = asyncio.create_task(job.result(timeout=30))
        gate.set()
        await waiting
        status = await job.status()

    assert status is Status.DONE


async def test_a_dead_job_has_its_error_and_its_reason(app: TaskQ) -> None:
    @app.task(max_retries=0)
    async def fail(ctx: Context) -> int:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        job = await fail.enqueue()
        with pytest.raises(JobFailedError) as failed:
            await job.result(timeout=30)

    assert str(failed.value) == f"job {job.id} is DEAD (retries_exhausted): ValueError: no luck"
    assert (failed.value.error, failed.value.reason) == ("ValueError: no luck", "retries_exhausted")


async def test_a_cancelled_job_has_no_result(app: TaskQ) -> None:
    @app.task()
    async def never() -> None: ...

    async with app:
        job = await never.enqueue()
        waiting = asyncio.create_task(job.result())
        await asyncio.sleep(0)
        cancelled = await job.cancel()
        with pytest.raises(JobCancelledError, match=f"job {job.id} was cancelled"):
            await waiting

    assert cancelled.status is Status.CANCELLED


async def test_waiting_ends_when_the_caller_says_so(clock: FakeClock, rng: Random) -> None:
    app = TaskQ(clock=clock, rng=rng)

    @app.task()
    async def never() -> None: ...

    async with app:
        job = await never.enqueue()
        waiting = asyncio.create_task(job.result(timeout=10))
        await clock.advance(9.9)
        assert not waiting.done()
        await clock.advance(0.2)
        with pytest.raises(TimeoutError, match=f"job {job.id} has not ended within 10 s; it goes on all the same"):
            await waiting
        assert await job.status() is Status.PENDING
        assert app._endings._waiting == {}


async def test_a_job_nobody_knows_cannot_be_waited_for(app: TaskQ) -> None:
    async with app:
        with pytest.raises(JobNotFoundError):
            await app.wait(1)


def test_a_handle_shows_its_job() -> None:
    job = pending()

    assert repr(JobHandle(Ended(job), job.id, msgspec.json.decode)) == f"<JobHandle {job.id}>"


async def test_the_events_of_a_job_are_its_changes_to_its_end(rng: Random, clock: FakeClock) -> None:
    app = TaskQ(rng=rng, clock=clock)

    @app.task(max_retries=1)
    async def climb(ctx: Context) -> int:
        ctx.progress(0.5, "half of it")
        await clock.sleep(10)
        if ctx.attempt == 1:
            raise ValueError("slipped")
        return ctx.attempt

    seen: list[tuple[Status, int, float | None]] = []

    async def follow(handle: JobHandle[int]) -> None:
        seen.extend([(job.status, job.attempt, job.trail.progress) async for job in handle.events()])

    async with app, app.workers(concurrency=1):
        handle = await climb.enqueue()
        following = asyncio.create_task(follow(handle))
        for _ in range(300):
            await clock.advance(0.1)
        await following

    assert seen[0] == (Status.PENDING, 0, None)
    assert (Status.RUNNING, 1, 0.5) in seen
    assert (Status.RUNNING, 2, 0.5) in seen
    assert seen[-1] == (Status.DONE, 2, 0.5)
    assert len(seen) == len(set(seen)) <= 8


async def test_nobody_follows_a_job_that_is_not_there(app: TaskQ) -> None:
    async with app:
        with pytest.raises(JobNotFoundError):
            await anext(app.follow(7))
