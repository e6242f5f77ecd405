"""Whatever a handler raises or does, its job ends as a failure and its slot runs the next job."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec import Raw
from tests.scenarios.conftest import Until

from gotaskq import Job, Status, TaskQ
from gotaskq.testing.clock import FakeClock


class OwnError(BaseException):
    """What a library may derive from BaseException, such as the outcomes of a test framework."""


class UnprintableError(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: ValueError("no luck"), "ValueError: no luck"),
    (lambda: ValueError(), "ValueError"),
    (lambda: SystemExit(3), "SystemExit: 3"),
    (lambda: asyncio.CancelledError("mine"), "CancelledError: mine"),
    (lambda: StopIteration(1), "RuntimeError: "),
    (lambda: StopAsyncIteration(1), "StopAsyncIteration: 1"),
    (lambda: TimeoutError("too late"), "TimeoutError: too late"),
    (lambda: ExceptionGroup("both", [ValueError("a"), ValueError("b")]), "ExceptionGroup: both (2 sub-exceptions)"),
    (lambda: BaseExceptionGroup("both", [OwnError("a")]), "BaseExceptionGroup: both (1 sub-exception)"),
    (lambda: OwnError("odd"), "OwnError: odd"),
    (lambda: UnprintableError(), "UnprintableError: <its message cannot be shown>"),
    (lambda: ValueError("x" * 100_000), "ValueError: xxxx"),
    (lambda: ValueError("one\r\ntwo\x1b\u2028three"), "ValueError: one  two  three"),
    (lambda: ValueError("half a pair: \ud800"), "ValueError: half a pair: ?"),
]


@pytest.mark.parametrize(("make", "error"), RAISED, ids=lambda value: value[:24] if isinstance(value, str) else "")
async def test_what_an_async_handler_raises_is_its_jobs_error(
    app: TaskQ, clock: FakeClock, make: Callable[[], BaseException], error: str
) -> None:
    @app.handler("raise")
    async def fail(job: Job) -> None:
        await asyncio.sleep(0)
        raise make()

    failed, following = await run_with_another(app, clock)

    assert failed.status is Status.DEAD
    assert_is_shown_as(failed.error, error)
    assert following.status is Status.DONE


@pytest.mark.parametrize(("make", "error"), RAISED, ids=lambda value: value[:24] if isinstance(value, str) else "")
async def test_what_a_def_handler_raises_is_its_jobs_error(
    app: TaskQ, clock: FakeClock, make: Callable[[], BaseException], error: str
) -> None:
    @app.handler("raise")
    def fail(job: Job) -> None:
        raise make()

    failed, following = await run_with_another(app, clock)

    assert failed.status is Status.DEAD
    assert_is_shown_as(failed.error, error)
    assert following.status is Status.DONE


def assert_is_shown_as(error: str | None, expected: str) -> None:
    assert error is not None
    assert error.startswith(expected)
    assert error.isprintable()
    assert len(error.encode()) <= 1_024


async def run_with_another(app: TaskQ, clock: FakeClock) -> tuple[Job, Job]:
    """Run a job of type `raise`, and after it a good one in the same slot; return both as they ended."""
    ended = asyncio.Event()

    @app.handler("ok")
    async def succeed(job: Job) -> None:
        ended.set()

    async with app, app.workers(concurrency=1):
        failing = await app.enqueue("raise", max_retries=0)
        good = await app.enqueue("ok")
        async with asyncio.timeout(10):  # a thread takes real time
            await ended.wait()
        await clock.settle()
        return await app.get(failing.id), await app.get(good.id)


async def test_a_handler_that_cancels_its_own_task_fails(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("raise")
    async def cancel_self(job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by myself")
        await asyncio.sleep(0)

    failed, following = await run_with_another(app, clock)

    assert (failed.status, failed.error) == (Status.DEAD, "CancelledError: by myself")
    assert following.status is Status.DONE


async def test_a_handler_that_cancels_its_own_task_and_returns_is_done(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("raise")
    async def cancel_self_and_return(job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    done, following = await run_with_another(app, clock)

    assert done.status is Status.DONE
    assert following.status is Status.DONE


async def test_a_handlers_own_timeout_is_an_ordinary_failure(app: TaskQ, clock: FakeClock, until: Until) -> None:
    @app.handler("slow")
    async def slow(job: Job) -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("slow", max_retries=0)
        await clock.advance(5)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.error) == (Status.DEAD, "TimeoutError")


async def test_a_task_group_in_a_handler_works_as_in_any_task(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("raise")
    async def fan_out(job: Job) -> None:
        async def fail() -> None:
            raise ValueError("a child")

        async with asyncio.TaskGroup() as children:
            children.create_task(asyncio.sleep(3600))
            children.create_task(fail())

    failed, following = await run_with_another(app, clock)

    assert failed.error == "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"
    assert following.status is Status.DONE


async def test_a_def_handler_that_returns_a_coroutine_fails_loudly(app: TaskQ, clock: FakeClock) -> None:
    ran: list[int] = []

    async def work(job: Job) -> None:
        ran.append(job.id)

    @app.handler("raise")
    def decorated(job: Job) -> object:
        return work(job)

    failed, following = await run_with_another(app, clock)

    assert ran == []
    assert failed.status is Status.DEAD
    assert failed.error is not None
    assert "`async def`" in failed.error
    assert following.status is Status.DONE


async def test_a_payload_python_cannot_hold_fails_its_job_only(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("raise")
    async def read(job: Job) -> None:
        _ = job.payload

    async with app, app.workers(concurrency=1):
        failing = await app.enqueue("raise", Raw(b"9" * 5_000), max_retries=0)
        await clock.settle()
        dead = await app.get(failing.id)

    assert dead.status is Status.DEAD
    assert dead.error is not None
    assert dead.error.startswith("PayloadDecodeError: ")
