"""Resources: opened once a worker, in order, given by type, and closed after the drain."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gotaskq import Context, Job, NoRetry, TaskQ
from gotaskq.errors import RegistrationError, StartError
from gotaskq.events import JobDone
from gotaskq.testing import drain


class Database:
    def __init__(self, name: str = "real") -> None:
        self.name = name


class Mailer:
    def __init__(self, database: Database) -> None:
        self.database = database


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def app(log: list[str]) -> TaskQ:
    app = TaskQ(retry=NoRetry())

    @app.resource
    async def open_database() -> AsyncIterator[Database]:
        log.append("open database")
        yield Database()
        log.append("close database")

    @app.resource
    async def open_mailer(database: Database) -> AsyncIterator[Mailer]:
        log.append("open mailer")
        yield Mailer(database)
        log.append("close mailer")

    @app.resource
    async def say_hello() -> AsyncIterator[None]:
        log.append("hello")
        yield
        log.append("goodbye")

    @app.resource
    async def say_more() -> AsyncIterator[None]:
        yield

    @app.handler("async")
    async def in_loop(job: Job, mailer: Mailer, times: int = 1) -> str:
        await asyncio.sleep(0)
        log.append(f"run {job.payload}")
        return mailer.database.name * times

    @app.handler("thread")
    def in_thread(ctx: Context, *, database: Database) -> str:
        return f"{database.name} {ctx.attempt}"

    return app


OPENED = ["open database", "open mailer", "hello"]
CLOSED = ["goodbye", "close mailer", "close database"]


async def test_a_worker_opens_them_once_and_closes_them_after_its_drain(app: TaskQ, log: list[str]) -> None:
    done: asyncio.Queue[object] = asyncio.Queue()
    app.observe(done.put_nowait, [JobDone])

    async with app:
        assert log == []
        async with app.workers(concurrency=1):
            assert log == OPENED
            jobs = await app.enqueue_many([app.job("async", 1), app.job("async", 2), app.job("thread")])
            for _ in jobs:
                await done.get()
        results = [(await app.get(job.id)).result for job in jobs]

    assert log == [*OPENED, "run 1", "run 2", *CLOSED]
    assert results == ["real", "real", "real 1"]


async def test_each_worker_has_its_own(app: TaskQ, log: list[str]) -> None:
    async with app, app.workers(concurrency=1), app.workers(concurrency=1):
        pass

    assert log == [*OPENED, *OPENED, *CLOSED, *CLOSED]


async def test_in_a_drain_they_are_opened_for_an_attempt(app: TaskQ, log: list[str]) -> None:
    async with app.override():
        await app.enqueue("async", 1)
        await drain(app)

    assert log == [*OPENED, "run 1", *CLOSED]


async def test_a_test_may_give_its_own(app: TaskQ, log: list[str]) -> None:
    async with app.override(mode="inline", resources={Database: Database("fake")}):
        assert (await app.enqueue("async", 1)).result == "fake"

    assert "open database" not in log
    assert "open mailer" in log


async def test_where_one_cannot_be_opened_no_worker_starts_and_the_others_are_closed(
    app: TaskQ, log: list[str]
) -> None:
    @app.resource
    async def fail() -> AsyncIterator[int]:
        if log:
            raise OSError("no route")
        yield 1

    async with app:
        with pytest.raises(StartError, match=r"resource .*fail could not be opened: OSError: no route") as failed:
            async with app.workers():
                raise AssertionError("never started")

    assert isinstance(failed.value.__cause__, OSError)
    assert log == [*OPENED, *CLOSED]


async def test_a_worker_that_is_cancelled_closes_them_too(app: TaskQ, log: list[str]) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with app, app.workers(concurrency=1):
            started.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await started.wait()
    working.cancel()
    await asyncio.wait([working])

    assert log == [*OPENED, *CLOSED]


async def test_a_handler_that_wants_what_nobody_yields_stops_the_start(app: TaskQ) -> None:
    @app.handler("wants")
    async def wants(job: Job, cache: dict[str, int]) -> None:
        pass

    async with app:
        with pytest.raises(RegistrationError, match=r"wants cache: dict.*there are: Database, Mailer\. Define one"):
            async with app.workers():
                raise AssertionError("never started")


async def test_a_resource_gets_only_what_was_defined_before_it() -> None:
    app = TaskQ()

    @app.resource
    async def open_mailer(database: Database) -> AsyncIterator[Mailer]:
        yield Mailer(database)

    @app.resource
    async def open_database() -> AsyncIterator[Database]:
        yield Database()

    async with app:
        with pytest.raises(RegistrationError, match="open_mailer wants database: Database"):
            async with app.workers():
                raise AssertionError("never started")


async def test_one_that_yields_twice_is_told() -> None:
    app = TaskQ()

    @app.resource
    async def count() -> AsyncIterator[int]:
        yield 1
        yield 2

    async with app:
        with pytest.raises(RegistrationError, match="yielded twice"):
            async with app.workers():
                pass


async def no_generator() -> int:
    return 1


async def unannotated():  # type: ignore[no-untyped-def]  # the point of the test
    yield 1


async def unreadable(job: Job, x: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821 - likewise
    pass


@pytest.mark.parametrize(
    ("maker", "says"), [(no_generator, "yields it once"), (unannotated, "annotate it")], ids=["function", "unannotated"]
)
def test_what_is_no_resource_is_refused(app: TaskQ, maker: Any, says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        app.resource(maker)


def test_a_type_is_yielded_once(app: TaskQ) -> None:
    with pytest.raises(RegistrationError, match="yields a Database, and so does another"):

        @app.resource
        async def again() -> AsyncIterator[Database]:
            yield Database()


async def test_annotations_that_cannot_be_read_stop_the_start(app: TaskQ) -> None:
    app.handler("unreadable")(unreadable)

    async with app:
        with pytest.raises(RegistrationError, match="cannot be read: name 'Nowhere'"):
            async with app.workers():
                raise AssertionError("never started")


def in_child(job: Job, database: Database) -> None:
    pass


def test_a_handler_in_a_child_gets_none(app: TaskQ) -> None:
    with pytest.raises(RegistrationError, match="opened in the worker"):
        app.handler("child", executor="process")(in_child)
