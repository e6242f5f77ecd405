"""Handles for code that cannot await: used in threads, beside the loop that an app in memory is open on."""

import asyncio
import threading
from collections.abc import Callable
from random import Random

import pytest
from tests.unit.engine.jobs import pending

from gotaskq import SyncJobHandle, TaskQ
from gotaskq.errors import (
    BackendUnavailableError,
    ConfigError,
    GotaskqError,
    InvalidPayloadError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    NotOpenError,
)
from gotaskq.job import Job, JobId, Status
from gotaskq.testing.clock import FakeClock

in_thread = asyncio.to_thread


@pytest.fixture
def app(rng: Random) -> TaskQ:
    return TaskQ(rng=rng)


async def someone_waits(app: TaskQ) -> None:
    """Return once a thread's wait for a job has reached the loop."""
    while not app._endings._waiting:  # noqa: ASYNC110 - a thread sets off what this waits for
        await asyncio.sleep(0)


async def test_a_thread_sends_a_job_and_gets_what_its_function_returns(app: TaskQ) -> None:
    gate = asyncio.Event()

    @app.task(priority=3)
    async def add(left: int, right: int = 1) -> int:
        await gate.wait()
        return left + right

    async with app, app.workers(concurrency=1):
        handle = await in_thread(add.enqueue_sync, 1, right=2)
        waiting = asyncio.create_task(in_thread(handle.result, timeout=30))
        await someone_waits(app)
        gate.set()
        result = await waiting
        job = await in_thread(handle.job)

        assert (result, await in_thread(handle.result), await in_thread(handle.status)) == (3, 3, Status.DONE)

    assert (job.id, job.type, job.priority, job.payload) == (handle.id, "add", 3, {"left": 1, "right": 2})
    assert repr(handle) == f"<SyncJobHandle {handle.id}>"


async def test_the_options_of_a_sender_hold(app: TaskQ) -> None:
    @app.task()
    def nothing() -> None: ...

    async with app:
        handle = await in_thread(nothing.options(priority=9, delay=60).enqueue_sync)

        assert (await app.get(handle.id)).priority == 9


async def test_arguments_are_checked_where_they_are_sent(app: TaskQ) -> None:
    @app.task()
    def add(left: int) -> int:
        return left

    async with app:
        with pytest.raises(InvalidPayloadError, match="int"):
            await in_thread(add.enqueue_sync, "one")  # type: ignore[arg-type]  # on purpose


async def test_a_dead_job_has_its_error_and_its_reason(app: TaskQ) -> None:
    @app.task(max_retries=0)
    def fail() -> int:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        handle = await in_thread(fail.enqueue_sync)
        with pytest.raises(JobFailedError, match="no luck") as failed:
            await in_thread(handle.result, timeout=30)

    assert failed.value.reason == "retries_exhausted"


async def test_a_waiting_job_is_cancelled_and_who_waits_hears_of_it(app: TaskQ) -> None:
    @app.task()
    async def never() -> None: ...

    async with app:
        handle = await in_thread(never.enqueue_sync)
        waiting = asyncio.create_task(in_thread(handle.result))
        await someone_waits(app)

        cancelled = await in_thread(handle.cancel)

        assert cancelled.status is Status.CANCELLED
        with pytest.raises(JobCancelledError):
            await waiting


async def test_a_running_job_is_asked_to_end(app: TaskQ) -> None:
    started = asyncio.Event()

    @app.task()
    async def hold() -> None:
        started.set()
        await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        handle = await in_thread(hold.enqueue_sync)
        await started.wait()

        assert (await in_thread(handle.cancel)).is_cancel_requested
        with pytest.raises(JobCancelledError):
            await in_thread(handle.result, timeout=30)


async def test_waiting_ends_when_the_caller_says_so(clock: FakeClock, rng: Random) -> None:
    app = TaskQ(clock=clock, rng=rng)

    @app.task()
    async def never() -> None: ...

    async with app:
        handle = await in_thread(never.enqueue_sync)
        waiting = asyncio.create_task(in_thread(handle.result, timeout=10))
        await someone_waits(app)
        await clock.advance(10)

        with pytest.raises(TimeoutError, match=f"job {handle.id} has not ended within 10 s; it goes on all the same"):
            await waiting
        assert app._endings._waiting == {}


async def test_a_thread_sees_a_job_each_time_it_has_changed_to_its_end(app: TaskQ) -> None:
    @app.task()
    async def add(a: int, b: int) -> int:
        return a + b

    async with app:
        handle = await in_thread(lambda: add.enqueue_sync(1, 2))
        events = handle.events()
        first = await in_thread(lambda: next(events))
        async with app.workers():
            rest = await in_thread(lambda: list(events))

    assert first.status is Status.PENDING
    assert (rest[-1].status, rest[-1].result) == (Status.DONE, 3)


async def test_a_job_nobody_knows_has_no_result(app: TaskQ) -> None:
    async with app:
        handle = SyncJobHandle(app, JobId(7), bytes)

        for ask in (handle.job, handle.status, handle.result, handle.cancel, lambda: list(handle.events())):
            with pytest.raises(JobNotFoundError):
                await in_thread(ask)


async def test_waiting_on_the_loop_itself_is_refused(app: TaskQ) -> None:
    @app.task()
    async def never() -> None: ...

    async with app:
        handle = await in_thread(never.enqueue_sync)

        for ask in (handle.job, handle.status, handle.result, handle.cancel, never.enqueue_sync):
            with pytest.raises(GotaskqError, match="await the method without _sync"):
                ask()


def test_jobs_in_the_memory_of_nobody_are_refused(app: TaskQ) -> None:
    @app.task()
    async def never() -> None: ...

    handle = SyncJobHandle(app, JobId(7), bytes)
    for ask in (never.enqueue_sync, handle.job, handle.result, handle.cancel):
        with pytest.raises(ConfigError, match="jobs in memory are seen only inside `async with app`, in the process"):
            ask()


def test_a_loop_that_ends_lets_its_waiters_go(app: TaskQ) -> None:
    @app.task()
    async def never() -> None: ...

    raised: list[BaseException] = []

    def wait(handle: SyncJobHandle[None]) -> None:
        try:
            handle.result()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            raised.append(error)

    async def main() -> threading.Thread:
        await app.__aenter__()  # and never closed
        job = await never.enqueue()
        thread = threading.Thread(target=wait, args=(SyncJobHandle(app, job.id, bytes),))
        thread.start()
        await someone_waits(app)
        return thread

    asyncio.run(main()).join(timeout=30)

    assert [type(error) for error in raised] == [NotOpenError]


@pytest.mark.parametrize("timeout", [0, None])
def test_a_loop_that_stands_still_is_not_waited_for(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    monkeypatch.setattr("gotaskq.sync_door.LOOP_ANSWERS_WITHIN_S", 0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(app.__aenter__())  # and nobody runs it any more

    with pytest.raises(BackendUnavailableError, match="is it blocked, or has it ended"):
        app.wait_sync(7, timeout=timeout)

    loop.run_until_complete(app.__aexit__())
    loop.close()


class Ended:
    """An app for code that cannot await, in which every job has ended, as the given one."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def get_sync(self, job_id: int) -> Job:
        return self._job

    def wait_sync(self, job_id: int, *, timeout: float | None = None) -> Job:
        return self._job

    def cancel_sync(self, job_id: int) -> Job:
        return self._job


def test_it_needs_no_more_of_an_app_than_three_methods() -> None:
    job = pending()
    handle: SyncJobHandle[bytes] = SyncJobHandle(Ended(job), job.id, bytes)
    asked: list[Callable[[], Job]] = [handle.job, handle.cancel]

    assert [ask() for ask in asked] == [job, job]
