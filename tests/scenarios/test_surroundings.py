"""What surrounds a handler: its context variables, its thread, its middleware; and who watches."""

import asyncio
import threading
from contextvars import ContextVar

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Status, TaskQ
from gotaskq.engine.middleware import CallNext
from gotaskq.events import Event, JobDone
from gotaskq.testing.clock import FakeClock

user: ContextVar[str] = ContextVar("user", default="nobody")


# ---- context variables


async def test_what_one_job_sets_the_next_in_its_slot_does_not_see(app: TaskQ, clock: FakeClock, until: Until) -> None:
    seen: list[str] = []

    @app.handler("set")
    async def set_user(job: Job) -> None:
        seen.append(user.get())
        user.set("somebody")
        await asyncio.sleep(0)
        seen.append(user.get())

    async with app, app.workers(concurrency=1):
        for _ in range(3):
            await app.enqueue("set")
        await until(lambda: len(seen) == 6)

    assert seen == ["nobody", "somebody"] * 3


async def test_what_a_thread_sets_the_next_job_does_not_see(app: TaskQ, clock: FakeClock) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    @app.handler("set")
    def set_user(job: Job) -> None:
        loop.call_soon_threadsafe(seen.put_nowait, user.get())
        user.set("somebody")

    async with app, app.workers(concurrency=1), asyncio.timeout(10):
        for _ in range(3):
            await app.enqueue("set")
        assert [await seen.get() for _ in range(3)] == ["nobody"] * 3


async def test_what_middleware_sets_the_handler_sees_and_the_next_job_does_not(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    seen: list[str] = []

    async def set_user(job: Job, call_next: CallNext) -> object:
        seen.append(user.get())
        user.set(str(job.payload))
        return await call_next(job)

    app = make_app(middleware=[set_user])

    @app.handler("look")
    async def look(job: Job) -> None:
        seen.append(user.get())

    async with app, app.workers(concurrency=1):
        await app.enqueue("look", "ada")
        await app.enqueue("look", "bob")
        await until(lambda: len(seen) == 4)

    assert seen == ["nobody", "ada", "nobody", "bob"]


# ---- threads


async def test_a_def_handler_runs_in_a_thread_and_the_loop_goes_on(app: TaskQ, clock: FakeClock) -> None:
    threads: list[threading.Thread] = []
    started, let_go, ended = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    app.observe(lambda event: ended.set(), [JobDone])

    @app.handler("blocking")
    def blocking(job: Job) -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(started.set)
        let_go.wait(10)

    async with app, app.workers(concurrency=1), asyncio.timeout(10):
        enqueued = await app.enqueue("blocking")
        await started.wait()
        while_it_blocks = await app.get(enqueued.id)
        let_go.set()
        await ended.wait()
        done = await app.get(enqueued.id)

    assert (while_it_blocks.status, done.status) == (Status.RUNNING, Status.DONE)
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon


# ---- middleware


async def test_middleware_runs_in_order_the_first_outermost(make_app: MakeApp, clock: FakeClock) -> None:
    steps: list[str] = []

    async def outer(job: Job, call_next: CallNext) -> object:
        steps.append("outer in")
        try:
            return await call_next(job)
        finally:
            steps.append("outer out")

    async def inner(job: Job, call_next: CallNext) -> object:
        steps.append("inner in")
        result = await call_next(job)
        steps.append(f"inner out with {result}")
        return result

    app = make_app(middleware=[outer, inner])

    @app.handler("work")
    async def work(job: Job) -> str:
        steps.append("handler")
        return "a result"

    async with app, app.workers(concurrency=1):
        await app.enqueue("work")
        await clock.settle()

    assert steps == ["outer in", "inner in", "handler", "inner out with a result", "outer out"]


async def test_middleware_can_turn_a_failure_into_success(make_app: MakeApp, clock: FakeClock) -> None:
    async def forgive(job: Job, call_next: CallNext) -> object:
        try:
            return await call_next(job)
        except KeyError:
            return None

    job = await run_one(make_app(middleware=[forgive]), clock, KeyError("a"))

    assert (job.status, job.error) == (Status.DONE, None)


async def test_middleware_can_fail_a_job(make_app: MakeApp, clock: FakeClock) -> None:
    async def refuse(job: Job, call_next: CallNext) -> object:
        raise PermissionError("not today")

    job = await run_one(make_app(middleware=[refuse]), clock, None)

    assert (job.status, job.error) == (Status.DEAD, "PermissionError: not today")


async def test_middleware_can_leave_the_handler_out(make_app: MakeApp, clock: FakeClock) -> None:
    async def skip(job: Job, call_next: CallNext) -> object:
        return None

    job = await run_one(make_app(middleware=[skip]), clock, ValueError("never raised"))

    assert job.status is Status.DONE


async def run_one(app: TaskQ, clock: FakeClock, error: Exception | None) -> Job:
    """Run a job whose handler raises `error`, if there is one, and return it as it ended."""

    @app.handler("work")
    async def work(job: Job) -> None:
        if error is not None:
            raise error

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("work", max_retries=0)
        await clock.settle()
        return await app.get(enqueued.id)


# ---- observers


async def test_an_observer_that_raises_harms_nothing(
    app: TaskQ, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def broken(event: Event) -> None:
        raise RuntimeError("the observer is broken")

    app.observe(broken)
    app.observe(lambda event: seen.append(type(event).__name__))

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("fail", max_retries=1)
        await clock.advance(60)
        dead = await app.get(enqueued.id)

    assert dead.status is Status.DEAD
    assert seen == ["JobEnqueued", "JobStarted", "JobRetryScheduled", "JobStarted", "JobDied"]
    assert caplog.messages == ["observer failed"] * 5


async def test_an_observer_hears_only_what_it_asked_for(app: TaskQ, clock: FakeClock) -> None:
    seen: list[Event] = []
    app.observe(seen.append, [JobDone])

    @app.handler("ok")
    async def succeed(job: Job) -> None:
        pass

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("ok")
        await clock.settle()

    [event] = seen
    assert isinstance(event, JobDone)
    assert event.job.id == enqueued.id


async def test_an_event_is_told_after_the_store_confirmed_it(app: TaskQ, clock: FakeClock) -> None:
    told: list[asyncio.Task[Job]] = []

    def look_up(event: Event) -> None:
        assert isinstance(event, JobDone)
        told.append(asyncio.ensure_future(app.get(event.job.id)))

    app.observe(look_up, [JobDone])

    @app.handler("ok")
    async def succeed(job: Job) -> None:
        pass

    async with app, app.workers(concurrency=1):
        await app.enqueue("ok")
        await clock.settle()
        [stored] = [await task for task in told]

    assert stored.status is Status.DONE
