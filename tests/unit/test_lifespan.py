"""Lifespans: entered once the store is open, left before it is closed, whether the process runs jobs or not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gotaskq import TaskQ
from gotaskq.errors import ConfigError, NotOpenError, RegistrationError, StartError
from gotaskq.testing import drain


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def app(log: list[str]) -> TaskQ:
    app = TaskQ()

    @app.lifespan
    async def outer() -> AsyncIterator[None]:
        log.append("outer")
        await app.create_queue("mail")  # the store is open
        yield
        log.append(f"outer ends, {len(await app.queues())} queues")

    @app.lifespan
    async def inner() -> AsyncIterator[None]:
        log.append("inner")
        yield
        log.append("inner ends")

    return app


WHOLE = ["outer", "inner", "inner ends", "outer ends, 2 queues"]


async def test_they_go_with_the_app_and_not_with_its_workers(app: TaskQ, log: list[str]) -> None:
    async with app:
        assert log == WHOLE[:2]
        async with app.workers(concurrency=1), app.workers(concurrency=1):
            assert log == WHOLE[:2]

    assert log == WHOLE


async def test_each_opening_has_them_anew(app: TaskQ, log: list[str]) -> None:
    for _ in range(2):
        async with app:
            pass

    assert log == [*WHOLE, *WHOLE]


async def test_a_test_has_them_too_unless_they_are_there_already(app: TaskQ, log: list[str]) -> None:
    async with app.override(), app:
        await drain(app)
    assert log == WHOLE

    log.clear()
    async with app, app.override():
        assert log == WHOLE[:2]

    assert log == WHOLE


async def test_one_that_fails_stops_the_start_and_what_was_there_is_taken_down(app: TaskQ, log: list[str]) -> None:
    @app.lifespan
    async def connect() -> AsyncIterator[None]:
        if app.is_open:
            raise OSError("no route")
        yield

    with pytest.raises(StartError, match=r"^lifespan .*connect could not be opened: OSError: no route$") as failed:
        async with app:
            raise AssertionError("never open")

    assert isinstance(failed.value.__cause__, OSError)
    assert log == WHOLE
    with pytest.raises(NotOpenError):
        await app.queues()


async def test_an_error_of_ours_says_all_by_itself() -> None:
    app = TaskQ()

    @app.lifespan
    async def look() -> AsyncIterator[None]:
        if app.is_open:
            raise ConfigError("DSN", "", "must name a database")
        yield

    with pytest.raises(ConfigError, match="must name a database"):
        async with app:
            raise AssertionError("never open")


async def test_one_that_does_not_yield_is_told() -> None:
    app = TaskQ()

    @app.lifespan
    async def leave() -> AsyncIterator[None]:
        if app.is_open:
            return
        yield

    with pytest.raises(StartError, match="it ended before it yielded"):
        async with app:
            raise AssertionError("never open")


async def test_one_that_cannot_be_left_keeps_no_other_from_it(app: TaskQ, log: list[str]) -> None:
    @app.lifespan
    async def spoil() -> AsyncIterator[None]:
        yield
        raise ValueError("cannot be taken down")

    with pytest.raises(ValueError, match="cannot be taken down"):
        async with app:
            pass

    assert log == WHOLE
    assert not app.is_open


async def test_a_cancelled_program_leaves_them(app: TaskQ, log: list[str]) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with app:
            started.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await started.wait()
    working.cancel()
    await asyncio.wait([working])

    assert log == WHOLE


def plain() -> None:
    pass


async def with_parameter(app: TaskQ) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("lifespan", "says"), [(plain, "plain is no lifespan: write an `async def`"), (with_parameter, "has parameters")]
)
def test_what_is_none_is_refused(app: TaskQ, lifespan: Any, says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        app.lifespan(lifespan)
