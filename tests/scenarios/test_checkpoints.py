"""Checkpoints and progress: shown soon, there for the next attempt however this one ends, and never another's."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from tests.scenarios.away import AwayBackend
from tests.scenarios.conftest import MakeApp, Until, UntilEvent
from tests.scenarios.stubborn import Stubborn

from gotaskq import Context, FixedDelay, Job, NoRetry, Settings, Status, TaskQ, current_context
from gotaskq.backend import Note
from gotaskq.engine.deadlines import LAST_GRACE_S, STOP_GRACE_S
from gotaskq.errors import NoAttemptError
from gotaskq.events import Event, JobDone, JobProgressed, JobRetryScheduled
from gotaskq.job import held_lease
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.desk import PATIENCE_S
from gotaskq.trail import MAX_STATE_BYTES


class Paging:
    """A handler that leaves the page it came to, and ends as it is told; it notes where each attempt began."""

    def __init__(self, *, fails: int = 0, hangs: int = 0) -> None:
        self.began_at: list[Any] = []
        self._fails = fails
        self._hangs = hangs

    async def __call__(self, ctx: Context) -> None:
        page = (ctx.job.checkpoint or {"page": 0})["page"]
        self.began_at.append(page)
        ctx.checkpoint({"page": page + 1})
        ctx.progress(0.5, f"page {page + 1}")
        if len(self.began_at) <= self._fails:
            raise ValueError("no luck")
        if len(self.began_at) <= self._hangs:
            await asyncio.Event().wait()


async def test_progress_is_shown_with_the_job_within_a_second(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    @app.handler("long")
    async def long(ctx: Context) -> None:
        for step in range(10):
            current_context().progress(step / 10, f"step {step}")
            await clock.sleep(1)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("long")
        shown = []
        for pause_s in (0.9, 1, 1):
            await clock.advance(pause_s)
            trail = (await app.get(enqueued.id)).trail
            shown.append((trail.progress, trail.note))
        await clock.advance(10)
        done = await app.get(enqueued.id)

    assert shown == [(0.0, "step 0"), (0.1, "step 1"), (0.2, "step 2")]
    assert (done.status, done.trail.progress, done.trail.note) == (Status.DONE, 0.9, "step 9")
    told = [event for event in events if isinstance(event, JobProgressed)]
    assert [event.progress for event in told] == [step / 10 for step in range(10)]


# ---- there for the next attempt


async def test_after_a_failure(app: TaskQ, clock: FakeClock) -> None:
    paging = Paging(fails=2)
    app.handler("paging", retry=FixedDelay(1_000))(paging)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("paging")
        await clock.settle()
        waiting = await app.get(enqueued.id)
        await clock.advance(5)
        done = await app.get(enqueued.id)

    assert (waiting.status, waiting.checkpoint) == (Status.PENDING, {"page": 1})
    assert (waiting.trail.progress, waiting.trail.note) == (None, "")  # the next attempt begins anew
    assert (done.status, paging.began_at) == (Status.DONE, [0, 1, 2])


async def test_after_a_drain_gave_the_job_back(make_app: MakeApp, clock: FakeClock, until: Until) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=1_000))
    paging = Paging(hangs=1)
    app.handler("paging")(paging)

    async with app:
        enqueued = await app.enqueue("paging")
        async with app.workers(concurrency=1) as worker:
            await until(lambda: bool(paging.began_at))
            worker.hurry()
        given_back = await app.get(enqueued.id)
        async with app.workers(concurrency=1):
            await clock.settle()
        done = await app.get(enqueued.id)

    assert (given_back.status, given_back.attempt, given_back.checkpoint) == (Status.PENDING, 0, {"page": 1})
    assert (done.status, paging.began_at) == (Status.DONE, [0, 1])


async def test_after_a_timeout(app: TaskQ, clock: FakeClock) -> None:
    paging = Paging(hangs=1)
    app.handler("paging", timeout=30, retry=FixedDelay(0))(paging)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("paging")
        await clock.advance(32)
        done = await app.get(enqueued.id)

    assert (done.status, paging.began_at) == (Status.DONE, [0, 1])


async def test_after_the_worker_vanished(make_app: MakeApp, clock: FakeClock) -> None:
    backend = AwayBackend(clock=clock)
    app = make_app(backend=backend, settings=Settings(lease_ms=30_000))
    paging = Paging()
    app.handler("paging")(paging)

    async with app:
        enqueued = await app.enqueue("paging")
        [taken] = await backend.reserve([Turn("default", 1)], limit=1, lease_ms=30_000, worker="vanishing")
        await backend.note([Note(held_lease(taken), progress=0.5, text="page 4", checkpoint_json=b'{"page":4}')])
        async with app.workers(concurrency=1):
            await clock.advance(60)
        done = await app.get(enqueued.id)

    assert (done.status, done.crashes, paging.began_at) == (Status.DONE, 1, [4])


async def test_what_was_left_just_before_the_end_is_stored_before_the_end_is(
    make_app: MakeApp, clock: FakeClock
) -> None:
    backend = AwayBackend(clock=clock)
    backend.failing_notes = 3
    app = make_app(backend=backend)
    paging = Paging(fails=1)
    app.handler("paging", retry=FixedDelay(1_000))(paging)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("paging")
        await clock.advance(10)
        done = await app.get(enqueued.id)

    assert (done.status, paging.began_at) == (Status.DONE, [0, 1])
    assert [isinstance(taken, Note) for taken in backend.taken] == [True, False, True, False]


async def test_while_the_store_is_away_nothing_is_lost(make_app: MakeApp, clock: FakeClock) -> None:
    backend = AwayBackend(clock=clock)
    app = make_app(backend=backend)
    paging = Paging(fails=1)
    app.handler("paging", retry=FixedDelay(1_000))(paging)

    async with app, app.workers(concurrency=1):
        backend.is_away = True
        enqueued = await app.enqueue("paging")
        await clock.advance(20)
        running = await app.get(enqueued.id)
        backend.is_away = False
        await clock.advance(10)
        done = await app.get(enqueued.id)

    assert (running.status, running.checkpoint) == (Status.RUNNING, None)
    assert (done.status, paging.began_at) == (Status.DONE, [0, 1])


async def test_from_a_thread(app: TaskQ, clock: FakeClock, until_event: UntilEvent) -> None:
    began_at: list[Any] = []

    @app.handler("paging", retry=FixedDelay(0))
    def paging(job: Job) -> None:
        context = current_context()
        began_at.append(job.checkpoint)
        context.checkpoint({"page": job.attempt})
        context.progress(1)
        if job.attempt == 1:
            raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("paging")
        await until_event(JobRetryScheduled)
        await clock.advance(2)
        await until_event(JobDone)
        done = await app.get(enqueued.id)

    assert began_at == [None, {"page": 1}]
    assert (done.checkpoint, done.trail.progress) == ({"page": 2}, 1.0)


@pytest.mark.parametrize(("size", "status"), [(MAX_STATE_BYTES, Status.DONE), (MAX_STATE_BYTES + 1, Status.DEAD)])
async def test_a_checkpoint_has_64_kib_at_most(app: TaskQ, clock: FakeClock, size: int, status: Status) -> None:
    @app.handler("greedy", retry=NoRetry())
    async def greedy(ctx: Context) -> None:
        ctx.checkpoint("small")
        ctx.checkpoint("y" * (size - len('""')))

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("greedy")
        await clock.settle()
        ended = await app.get(enqueued.id)

    assert ended.status is status
    if status is Status.DEAD:
        assert (ended.error or "").startswith("ValueError: the checkpoint has 65537 bytes as JSON")
        assert ended.checkpoint == "small"


# ---- never another's


async def test_a_task_that_outlives_its_attempt_finds_no_context(app: TaskQ, clock: FakeClock) -> None:
    left_behind: list[asyncio.Task[Context]] = []
    go_on = asyncio.Event()

    async def look() -> Context:
        await go_on.wait()
        return current_context()

    @app.handler("careless")
    async def careless(job: Job) -> None:
        if job.payload == "first":
            left_behind.append(asyncio.create_task(look()))
        else:
            current_context().progress(0.5)
            go_on.set()
            await asyncio.wait(left_behind)

    async with app, app.workers(concurrency=1):
        await app.enqueue("careless", "first")
        second = await app.enqueue("careless", "second")
        await clock.settle()
        done = await app.get(second.id)

    assert done.status is Status.DONE
    with pytest.raises(NoAttemptError):
        await left_behind[0]


async def test_what_a_handler_that_was_given_up_says_does_not_reach_the_next_attempt(
    app: TaskQ, clock: FakeClock, until: Until, events: list[Event]
) -> None:
    stubborn = Stubborn()
    contexts: list[Context] = []

    @app.handler("paging", timeout=30, retry=FixedDelay(0))
    async def paging(ctx: Context) -> None:
        contexts.append(ctx)
        if ctx.attempt == 1:
            await stubborn(ctx.job)
        ctx.checkpoint("present")
        ctx.progress(0.2, "present")
        with contextlib.suppress(asyncio.CancelledError):
            await clock.sleep(20)

    async with app, app.workers(concurrency=2):
        enqueued = await app.enqueue("paging")
        await clock.advance(30 + STOP_GRACE_S + LAST_GRACE_S + 2)
        contexts[0].checkpoint("abandoned")
        contexts[0].progress(0.9, "abandoned")
        contexts[0].extend(3_600)
        await clock.advance(1)
        running = await app.get(enqueued.id)
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)
        await clock.advance(20)
        done = await app.get(enqueued.id)

    assert (running.attempt, running.checkpoint, running.trail.note) == (2, "present", "present")
    assert (done.status, done.checkpoint) == (Status.DONE, "present")
    assert all(event.note != "abandoned" for event in events if isinstance(event, JobProgressed))


async def test_a_thread_that_was_abandoned_is_not_heard(app: TaskQ, clock: FakeClock, until_event: UntilEvent) -> None:
    started, go_on, has_said = threading.Event(), threading.Event(), threading.Event()
    errors: list[BaseException] = []

    @app.handler("paging", timeout=30, retry=FixedDelay(0))
    def paging(ctx: Context) -> str | None:
        if ctx.attempt > 1:
            return "done by the next"
        started.set()
        go_on.wait(PATIENCE_S)
        ctx.checkpoint("abandoned")
        ctx.progress(0.9)
        try:
            current_context()
        except NoAttemptError as error:
            errors.append(error)
        has_said.set()
        return "done at last"

    async with app, app.workers(concurrency=3):
        enqueued = await app.enqueue("paging")
        await asyncio.to_thread(started.wait, PATIENCE_S)
        await clock.advance(30 + STOP_GRACE_S + 2)
        await until_event(JobDone)
        go_on.set()
        await asyncio.to_thread(has_said.wait, PATIENCE_S)
        await clock.advance(1)
        done = await app.get(enqueued.id)

    assert (done.result, done.checkpoint, done.trail.progress) == ("done by the next", None, None)
    assert len(errors) == 1
