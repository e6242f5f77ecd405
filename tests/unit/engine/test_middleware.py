"""Middleware: the first is the outermost, and each decides what the next one sees and gives."""

from functools import partial

from tests.unit.engine.jobs import running

from gotaskq.engine.middleware import CallNext, compose
from gotaskq.job import Job


async def name(job: Job) -> object:
    return job.type


async def wrap(job: Job, call_next: CallNext, *, brackets: str) -> object:
    return f"{brackets[0]}{await call_next(job)}{brackets[1]}"


async def test_without_middleware_there_is_nothing_around_the_call() -> None:
    assert compose([], name) is name


async def test_the_first_is_the_outermost() -> None:
    call = compose([partial(wrap, brackets="[]"), partial(wrap, brackets="()")], name)

    result = await call(running(type="email"))

    assert result == "[(email)]"


async def test_a_layer_may_pass_on_another_job() -> None:
    async def rename(job: Job, call_next: CallNext) -> object:
        return await call_next(running(type="renamed"))

    call = compose([rename], name)

    result = await call(running(type="email"))

    assert result == "renamed"


async def test_a_layer_may_call_again() -> None:
    async def twice(job: Job, call_next: CallNext) -> object:
        return [await call_next(job), await call_next(job)]

    call = compose([twice], name)

    result = await call(running(type="email"))

    assert result == ["email", "email"]
