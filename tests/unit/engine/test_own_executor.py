"""An executor that a handler brings along is opened, asked and closed with the app."""

from collections.abc import Awaitable
from typing import Any

import pytest

from gotaskq import Context, Job, TaskQ
from gotaskq.errors import RegistrationError
from gotaskq.executor import Handler
from gotaskq.executors.asyncio_task import AsyncioExecutor
from gotaskq.testing import drain


class Telling(AsyncioExecutor):
    def __init__(self) -> None:
        self.told: list[str] = []

    def open(self) -> None:
        self.told.append("open")

    def close(self) -> None:
        self.told.append("close")

    def run(self, handler: Handler, job: Job) -> Awaitable[object]:
        self.told.append(job.type)
        return super().run(handler, job)


async def test_it_runs_its_handlers_and_no_others() -> None:
    app, executor = TaskQ(), Telling()

    @app.handler("first", executor=executor)
    async def first(job: Job) -> None:
        pass

    @app.handler("second", executor=executor)
    async def second(ctx: Context) -> int:
        return ctx.attempt

    @app.handler("third")
    async def third(job: Job) -> None:
        pass

    async with app.override():
        jobs = await app.enqueue_many([app.job(job_type) for job_type in ("first", "second", "third")])
        await drain(app)
        results = [(await app.get(job.id)).result for job in jobs]

    assert executor.told == ["open", "first", "second", "close"]
    assert results == [None, 1, None]


async def test_an_open_app_has_it_open_again_after_an_override() -> None:
    app, executor = TaskQ(), Telling()
    app.handler("first", executor=executor)(ignore)

    async with app:
        async with app.override(mode="inline"):
            await app.enqueue("first")
        assert executor.told == ["open", "open", "first", "close", "open"]

    assert executor.told[-1] == "close"


async def ignore(job: Job) -> None:
    pass


def test_a_name_that_is_none_of_ours_is_refused() -> None:
    executor: Any = "thread"

    with pytest.raises(RegistrationError, match="'thread' is none of ours"):
        TaskQ().handler("email", executor=executor)(print)
