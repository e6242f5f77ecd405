"""Tasks that are given resources: by type, beside their payload; refused where they cannot be."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from msgspec import Meta

from gotaskq import INJECTED, Context, Job, NoRetry, TaskQ
from gotaskq.descriptions import describe_types
from gotaskq.errors import GotaskqError, InvalidPayloadError, JobFailedError, RegistrationError
from gotaskq.testing import Trial, drain, run_job


class Database:
    def __init__(self, name: str = "real") -> None:
        self.name = name


class Cache:
    pass


@pytest.fixture
def app() -> TaskQ:
    app = TaskQ(retry=NoRetry())

    @app.resource
    async def connect() -> AsyncIterator[Database]:
        yield Database()

    return app


async def test_they_are_given_by_type_on_the_loop_and_in_threads(app: TaskQ) -> None:
    @app.task()
    async def on_loop(ctx: Context, word: str, *, database: Database = INJECTED) -> str:
        return f"{word} {database.name} {ctx.attempt}"

    @app.task(version=2, upcast=lambda payload, _: {"word": payload["text"]})
    def in_thread(database: Database, word: str = "hi") -> str:
        return f"{word} {database.name}"

    async with app, app.workers(concurrency=2):
        handles = [
            await on_loop.enqueue("hello"),
            await in_thread.enqueue(word="hello"),  # type: ignore[call-arg]  # without INJECTED a checker asks for it
        ]
        older = await app.enqueue("in_thread", {"text": "from code before"})

        assert [await handle.result(timeout=5) for handle in handles] == ["hello real 1", "hello real"]
        assert (await app.wait(older.id, timeout=5)).result == "from code before real"


async def test_they_are_no_part_of_the_payload(app: TaskQ) -> None:
    @app.task()
    async def note(word: Annotated[str, Meta(max_length=3)], database: Database = INJECTED) -> None: ...

    async with app:
        job = await (await note.enqueue("x")).job()
        with pytest.raises(InvalidPayloadError, match="unknown field `database`"):
            await app.enqueue("note", {"word": "x", "database": None})
    with pytest.raises(TypeError, match="database"):
        await note.enqueue("x", database=Database())

    assert job.payload == {"word": "x"}
    [entry] = describe_types(app.tasks, app.job_types)
    assert list(entry["schema"]["properties"]) == ["word"]


async def test_a_test_gives_its_own(app: TaskQ) -> None:
    @app.task()
    async def name(database: Database = INJECTED) -> str:
        return database.name

    @app.handler("name-it")
    def name_it(job: Job, database: Database = INJECTED) -> str:
        return f"{database.name} {job.payload}"

    fakes: dict[type, object] = {Database: Database("fake")}
    async with app.override(resources=fakes):
        handle = await name.enqueue()
        await drain(app)

        assert await handle.result() == "fake"
    assert await Trial(resources=fakes).run(name) == "fake"
    assert await Trial(resources=fakes).run(name_it, 7) == "fake 7"
    assert await name(database=Database("by hand")) == "by hand"


async def test_without_one_it_says_what_is_missing(app: TaskQ) -> None:
    @app.task()
    async def name(database: Database = INJECTED) -> str:
        return database.name

    with pytest.raises(GotaskqError, match=r"no Database is open here.*Trial\(resources=…\)"):
        await run_job(name)


async def test_middleware_stands_around_it_as_around_any_other() -> None:
    async def shout(job: Job, call_next: Any) -> object:
        return str(await call_next(job)).upper()

    app = TaskQ(middleware=[shout])

    @app.resource
    async def connect() -> AsyncIterator[Database]:
        yield Database()

    @app.task()
    def name(database: Database = INJECTED) -> str:
        return database.name

    async with app, app.workers(concurrency=1):
        assert await (await name.enqueue()).result(timeout=5) == "REAL"


async def test_what_it_does_with_it_may_fail_as_anything_else(app: TaskQ) -> None:
    @app.task()
    async def spoil(database: Database = INJECTED) -> None:
        raise ValueError(database.name)

    async with app, app.workers(concurrency=1):
        with pytest.raises(JobFailedError, match="ValueError: real"):
            await (await spoil.enqueue()).result(timeout=5)


def test_a_child_process_has_none(app: TaskQ) -> None:
    def name(database: Database = INJECTED) -> str:
        return database.name

    with pytest.raises(RegistrationError, match="wants Database, and cannot run in a process"):
        app.task(executor="process")(name)
    with pytest.raises(RegistrationError, match="wants Database, and cannot run in a process"):
        app.task(isolate_after_crash=True)(name)
    assert not app.tasks


def test_one_that_nothing_yields_is_refused_with_what_to_do(app: TaskQ) -> None:
    with pytest.raises(
        RegistrationError, match=r"'cache'.* no resource yields a Cache; define one with @app\.resource"
    ):

        @app.task()
        async def injected(cache: Cache = INJECTED) -> None: ...

    with pytest.raises(RegistrationError, match=r"'cache'.*What a worker opens is injected: define an @app\.resource"):

        @app.task()
        async def plain(cache: Cache) -> None: ...


def test_a_resource_comes_above_the_tasks_that_want_it(app: TaskQ) -> None:
    @app.task()
    async def count(numbers: dict[str, int], word: str) -> None: ...

    with pytest.raises(RegistrationError, match=r"yields a str, which task 'count' takes from its payload"):

        @app.resource
        async def word() -> AsyncIterator[str]:
            yield "x"
