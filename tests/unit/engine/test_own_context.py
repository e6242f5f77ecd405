"""An attempt on the event loop: the handler runs in its slot's task, but in a context of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial

import pytest
from tests.unit.engine.jobs import running

from gotaskq.engine.own_context import Rest, begin_in_own_context
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.job import Job

JOB = running()
user: ContextVar[str] = ContextVar("user", default="nobody")


async def run(handler: Callable[[Job], Awaitable[object]]) -> object:
    """Run a handler to its end in a context of its own, and return what it returned in there."""
    returned: list[object] = []

    async def keep(job: Job) -> None:
        returned.append(await handler(job))

    begun = begin_in_own_context(partial(AsyncioExecutor().run, keep), JOB)
    if isinstance(begun, Rest):
        await begun
    return returned[0]


async def test_the_handler_gets_its_job_and_runs_to_its_end() -> None:
    async def answer(job: Job) -> object:
        await asyncio.sleep(0)
        return job

    assert await run(answer) is JOB


async def test_what_the_handler_raises_comes_through_as_it_is() -> None:
    error = ValueError("no luck")

    async def fail(job: Job) -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(ValueError, match="no luck") as raised:
        await run(fail)

    assert raised.value is error


async def test_the_handler_runs_in_its_callers_task() -> None:
    async def name(job: Job) -> object:
        return asyncio.current_task()

    assert await run(name) is asyncio.current_task()


async def test_what_the_handler_sets_stays_inside() -> None:
    seen: list[str] = []

    async def set_user(job: Job) -> None:
        user.set("ada")
        await asyncio.sleep(0)
        seen.append(user.get())

    await run(set_user)

    assert seen == ["ada"]
    assert user.get() == "nobody"


async def test_the_handler_sees_what_its_caller_has_set() -> None:
    async def get_user(job: Job) -> str:
        await asyncio.sleep(0)
        return user.get()

    token = user.set("bob")
    seen = await run(get_user)
    user.reset(token)

    assert seen == "bob"


async def test_a_cancellation_reaches_the_handler_where_it_waits() -> None:
    steps: list[str] = []

    async def hang(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            steps.append(f"cancelled: {error}")
            await asyncio.sleep(0)
            steps.append("cleaned up")
            raise

    task = asyncio.create_task(run(hang))
    await asyncio.sleep(0)
    task.cancel("enough")
    await asyncio.wait([task])

    assert steps == ["cancelled: enough", "cleaned up"]
    assert task.cancelled()


async def test_timeouts_and_task_groups_work_as_in_any_task() -> None:
    async def child(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def work(job: Job) -> list[int]:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(number)) for number in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        return [task.result() for task in tasks]

    assert await run(work) == [0, 1, 2]


async def test_futures_and_async_generators_can_be_awaited() -> None:
    loop = asyncio.get_running_loop()

    async def count() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def work(job: Job) -> list[int]:
        future = loop.create_future()
        loop.call_soon(future.set_result, 10)
        return [number async for number in count()] + [await future]

    assert await run(work) == [0, 1, 2, 10]


async def test_a_handler_that_does_not_wait_is_run_at_once() -> None:
    async def answer(job: Job) -> int:
        return 7

    assert begin_in_own_context(answer, JOB) == 7
