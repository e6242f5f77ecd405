"""Tasks: a function stays a function, and its calls can be enqueued."""

import asyncio
import inspect
from random import Random
from typing import Annotated

import pytest
from msgspec import Meta

from gotaskq import Context, Job, JobRequest, Settings, Status, TaskQ
from gotaskq.errors import InvalidPayloadError, InvalidRequestError, RegistrationError
from gotaskq.events import JobDied, JobDone
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def app(clock: FakeClock, rng: Random) -> TaskQ:
    return TaskQ(clock=clock, rng=rng)


def greet(name: str, *, loud: bool = False) -> str:
    """Say hello."""
    return f"hello {name}{'!' if loud else ''}"


async def test_a_task_is_still_its_function(app: TaskQ) -> None:
    task = app.task()(greet)

    @app.task("double")
    async def double(number: int) -> int:
        return 2 * number

    assert task("Ada", loud=True) == "hello Ada!"
    assert await double(4) == 8
    assert (task.__name__, task.__doc__, task.__wrapped__) == ("greet", "Say hello.", greet)  # type: ignore[attr-defined]
    assert inspect.signature(task) == inspect.signature(greet)
    assert repr(task) == f"<task 'greet': {__name__}.greet>"


def test_the_type_is_the_functions_name_unless_one_is_given(app: TaskQ) -> None:
    named, given = app.task()(greet), app.task("greeting")(greet)

    assert (named.job_type, given.job_type) == ("greet", "greeting")
    assert app.job_types == ["greet", "greeting"]
    assert app.tasks == {"greet": named, "greeting": given}


def test_a_request_holds_the_payload_and_what_was_asked_for(app: TaskQ) -> None:
    task = app.task(queue="mail", priority=5, max_retries=1)(greet)

    plain = task.job("Ada")
    sent = task.options(queue="Fast", delay=1.5).options(priority=9).job("Ada", loud=True)

    assert plain == JobRequest("greet", plain.payload)
    assert bytes(plain.payload) == b'{"name":"Ada","loud":false}'
    assert bytes(sent.payload) == b'{"name":"Ada","loud":true}'
    assert (sent.queue, sent.delay, sent.priority, sent.max_retries) == ("fast", 1.5, 9, None)


async def test_what_a_request_does_not_say_is_as_the_task_says(app: TaskQ) -> None:
    task = app.task(queue="Mail", priority=5, max_retries=1)(greet)

    async with app:
        jobs = [
            await (await task.enqueue("Ada")).job(),
            await app.enqueue("greet", {"name": "Ada"}),
            *await app.enqueue_many([task.job("Ada"), JobRequest("greet", task.job("Ada").payload)]),
        ]
        other = await app.enqueue("greet", {"name": "Ada"}, queue="default", priority=0, max_retries=0)

    assert {(job.queue, job.priority, job.max_retries) for job in jobs} == {("mail", 5, 1)}
    assert (other.queue, other.priority, other.max_retries) == ("default", 0, 0)


async def test_arguments_are_checked_when_they_are_sent_whoever_sends_them(app: TaskQ) -> None:
    task = app.task()(greet)

    async with app:
        with pytest.raises(InvalidPayloadError, match="Expected `str`, got `int`") as by_call:
            await task.enqueue(7)  # type: ignore[arg-type]
        with pytest.raises(InvalidPayloadError, match="Expected `str`, got `int`") as by_name:
            await app.enqueue("greet", {"name": 7})
        with pytest.raises(InvalidPayloadError, match="Expected `str`, got `int`"):
            await app.enqueue_many([task.job("Ada"), app.job("greet", {"name": 7})])
        depth = (await app.queues())["default"].depth

    assert by_call.value.field == by_name.value.field == "$.payload.name"
    assert depth == 0


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_function_runs_with_what_was_sent(rng: Random, *, is_async: bool) -> None:
    app = TaskQ(rng=rng)
    seen: list[object] = []

    if is_async:

        @app.task("note")
        async def note_async(ctx: Context, text: str, times: int = 1) -> None:
            seen.append((ctx.job.type, ctx.attempt, text, times))
    else:

        @app.task("note")
        def note(ctx: Context, text: str, times: int = 1) -> None:
            seen.append((ctx.job.type, ctx.attempt, text, times))

    done: asyncio.Queue[object] = asyncio.Queue()
    app.observe(done.put_nowait, [JobDone])
    async with app, app.workers(concurrency=1):
        await app.enqueue("note", {"text": "hi"})
        await done.get()

    assert seen == [("note", 1, "hi", 1)]


async def test_a_stored_payload_that_does_not_fit_is_given_up_with_what_is_wrong(rng: Random) -> None:
    app = TaskQ(rng=rng)
    app.task(max_retries=5)(greet)
    died: asyncio.Queue[object] = asyncio.Queue()
    app.observe(died.put_nowait, [JobDied])

    async with app:
        app.door._checks.clear()  # as if it had come in before the task was there
        job = await app.enqueue("greet", {"name": 7})
        async with app.workers(concurrency=1):
            await died.get()
            dead = await app.get(job.id)

    assert dead.status is Status.DEAD
    assert dead.error == (
        "Discard: the payload does not fit task 'greet': Expected `str`, got `int`, at $.payload.name"
    )


async def test_tasks_are_defined_before_the_app_is_opened(app: TaskQ) -> None:
    async with app:
        with pytest.raises(RegistrationError, match="define its tasks before `async with app`"):
            app.task()


def test_parentheses_that_were_forgotten_are_asked_for(app: TaskQ) -> None:
    with pytest.raises(RegistrationError, match=r"write `@app.task\(\)`, with its parentheses"):
        app.task(greet)  # type: ignore[arg-type]


def _private(value: int) -> None: ...


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": "no queue"}, "task 'greet': queue name must be"),
        ({"priority": 11}, "task 'greet': priority must be between 0 and 10"),
        ({"max_retries": -1}, "task 'greet': max_retries must be between 0 and 100"),
        ({"version": 2}, "task 'greet' has version 2 and no upcast"),
    ],
)
def test_an_option_outside_its_limits_is_refused_at_definition(
    app: TaskQ, options: dict[str, object], words: str
) -> None:
    with pytest.raises(RegistrationError, match=words):
        app.task(**options)(greet)  # type: ignore[arg-type]

    assert app.job_types == []
    assert app.tasks == {}


def test_a_name_that_can_be_no_type_asks_for_one(app: TaskQ) -> None:
    with pytest.raises(RegistrationError, match="job type '_private' must be"):
        app.task()(_private)


def test_a_type_has_one_task(app: TaskQ) -> None:
    app.task()(greet)

    with pytest.raises(RegistrationError, match=r"has a handler already: .*task 'greet'"):
        app.task()(greet)


@pytest.mark.parametrize("job_type", ["greet", "other"])
async def test_strict_apps_take_types_they_know(clock: FakeClock, rng: Random, job_type: str) -> None:
    app = TaskQ(settings=Settings(strict_types=True), clock=clock, rng=rng)
    app.task()(greet)

    @app.handler("other")
    async def other(job: Job) -> None: ...

    async with app:
        job = await app.enqueue(job_type, {"name": "Ada"})
        with pytest.raises(InvalidRequestError, match="unknown type 'greeet'; known here: greet, other") as refused:
            await app.enqueue("greeet")

    assert job.type == job_type
    assert refused.value.field == "type"


async def test_a_constraint_holds_for_every_sender(app: TaskQ) -> None:
    @app.task()
    async def mail(to: Annotated[str, Meta(pattern="@")]) -> None: ...

    async with app:
        with pytest.raises(InvalidPayloadError, match="matching regex '@'"):
            await mail.enqueue("nobody")
