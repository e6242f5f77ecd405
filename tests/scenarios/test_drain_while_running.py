"""Draining: what runs may finish, nothing else begins, and what cannot finish is given back unharmed."""

import asyncio
import contextlib

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Job, Settings, Status, TaskQ
from gotaskq.api.server import HTTP_GRACE_S
from gotaskq.backend import Settled
from gotaskq.engine.deadlines import LAST_GRACE_S
from gotaskq.engine.worker import CANCEL_GRACE_S, FLUSH_S
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import Event, JobReleased
from gotaskq.testing.clock import FakeClock


class Held:
    """A handler that runs until it is let go."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.let_go = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, job: Job) -> None:
        self.started.append(job.id)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_what_runs_finishes_and_what_waits_stays(app: TaskQ, clock: FakeClock, until: Until) -> None:
    held = app.handler("held")(Held())

    async with app:
        async with app.workers(concurrency=2) as worker:
            jobs = [await app.enqueue("held") for _ in range(5)]
            await until(lambda: len(held.started) == 2)
            worker.stop()
            await clock.advance(1)
            held.let_go.set()
        statuses = [(await app.get(job.id)).status for job in jobs]
        waiting = await app.get(jobs[-1].id)

    assert statuses == [Status.DONE, Status.DONE, Status.PENDING, Status.PENDING, Status.PENDING]
    assert len(held.started) == 2
    assert (waiting.attempt, waiting.lease) == (0, None)


async def test_leaving_the_workers_drains(app: TaskQ, clock: FakeClock, until: Until) -> None:
    held = app.handler("held")(Held())

    async with app:
        async with app.workers(concurrency=1):
            enqueued = await app.enqueue("held")
            await until(lambda: bool(held.started))
            asyncio.get_running_loop().call_soon(held.let_go.set)
        done = await app.get(enqueued.id)

    assert done.status is Status.DONE


async def test_what_outlasts_the_timeout_is_cancelled_and_given_back(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=20_000))
    released: list[Event] = []
    app.observe(released.append, [JobReleased])
    held = app.handler("held")(Held())

    async with app:
        enqueued = await app.enqueue("held")
        draining = asyncio.create_task(run_until_drained(app, until, held.started))
        await until(lambda: bool(held.started))
        await clock.advance(19.9)
        was_cancelled_early = held.was_cancelled
        await clock.advance(0.2)
        await draining
        given_back = await app.get(enqueued.id)

    assert not was_cancelled_early
    assert held.was_cancelled
    assert (given_back.status, given_back.attempt, given_back.retry_count) == (Status.PENDING, 0, 0)
    assert (given_back.error, given_back.lease) == (None, None)
    assert len(released) == 1


async def test_a_handler_that_swallows_its_cancellation_is_left_behind(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=1_000))
    started: list[int] = []
    let_go = asyncio.Event()

    @app.handler("stubborn")
    async def stubborn(job: Job) -> None:
        started.append(job.id)
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    async with app:
        enqueued = await app.enqueue("stubborn")
        draining = asyncio.create_task(run_until_drained(app, until, started))
        await until(lambda: bool(started))
        await clock.advance(1 + CANCEL_GRACE_S)
        await clock.advance(LAST_GRACE_S)
        await draining
        given_back = await app.get(enqueued.id)
        let_go.set()
        await clock.settle()
        later = await app.get(enqueued.id)

    assert (given_back.status, given_back.attempt) == (Status.PENDING, 0)
    assert later == given_back


async def test_hurry_gives_back_at_once(make_app: MakeApp, clock: FakeClock, until: Until) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=3_600_000))
    held = app.handler("held")(Held())

    async with app:
        enqueued = await app.enqueue("held")
        async with app.workers(concurrency=1) as worker:
            await until(lambda: bool(held.started))
            worker.stop()
            await clock.settle()
            worker.hurry()
        given_back = await app.get(enqueued.id)

    assert held.was_cancelled
    assert (given_back.status, given_back.attempt) == (Status.PENDING, 0)


@pytest.mark.parametrize("turns", range(12))
async def test_hurry_gives_back_however_many_turns_of_the_loop_the_end_takes(
    make_app: MakeApp, clock: FakeClock, until: Until, turns: int
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=3_600_000))
    started: list[int] = []

    @app.handler("tidy")
    async def tidy(job: Job) -> None:
        started.append(job.id)
        left = turns
        while left >= 0:
            try:
                await (asyncio.sleep(0) if left < turns else asyncio.Event().wait())
            except asyncio.CancelledError:
                if left == 0:
                    raise
            left -= 1
        raise asyncio.CancelledError

    async with app:
        enqueued = await app.enqueue("tidy")
        async with app.workers(concurrency=1) as worker:
            await until(lambda: bool(started))
            worker.hurry()
        given_back = await app.get(enqueued.id)

    assert (given_back.status, given_back.attempt) == (Status.PENDING, 0)


async def test_a_handler_that_ends_as_the_last_grace_does_is_settled(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=1_000))
    started: list[int] = []

    @app.handler("late")
    async def late(job: Job) -> None:
        started.append(job.id)
        end_s = clock.monotonic_s() + 1 + CANCEL_GRACE_S + LAST_GRACE_S
        while (left_s := end_s - clock.monotonic_s()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await clock.sleep(left_s)

    async with app:
        enqueued = await app.enqueue("late")
        draining = asyncio.create_task(run_until_drained(app, until, started))
        await until(lambda: bool(started))
        await clock.advance(1 + CANCEL_GRACE_S + LAST_GRACE_S)
        await draining
        ended = await app.get(enqueued.id)

    assert ended.status in (Status.DONE, Status.PENDING)
    assert ended.lease is None


async def test_what_was_given_back_runs_first_in_the_next_worker(app: TaskQ, clock: FakeClock, until: Until) -> None:
    held = app.handler("held")(Held())

    async with app:
        first = await app.enqueue("held")
        async with app.workers(concurrency=1) as worker:
            await until(lambda: bool(held.started))
            await app.enqueue("held")
            worker.hurry()
        held.let_go.set()
        async with app.workers(concurrency=1):
            await until(lambda: len(held.started) == 3)
            await clock.settle()

    assert held.started[:2] == [first.id, first.id]


async def test_a_failure_while_draining_is_settled(app: TaskQ, clock: FakeClock, until: Until) -> None:
    started = asyncio.Event()
    let_go = asyncio.Event()

    @app.handler("fail")
    async def fail(job: Job) -> None:
        started.set()
        await let_go.wait()
        raise ValueError("no luck")

    async with app:
        enqueued = await app.enqueue("fail", max_retries=0)
        async with app.workers(concurrency=1) as worker:
            await until(started.is_set)
            worker.stop()
            await clock.settle()
            let_go.set()
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.error) == (Status.DEAD, "ValueError: no luck")


async def test_a_drain_ends_in_time_though_nothing_ends_and_the_store_is_away(
    make_app: MakeApp, clock: FakeClock, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=20_000))
    started: list[int] = []
    let_go = asyncio.Event()

    @app.handler("stubborn")
    async def stubborn(job: Job) -> None:
        started.append(job.id)
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    async def fail(_: object) -> list[Settled]:
        raise BackendUnavailableError

    async with app, app.workers(concurrency=1) as worker:
        await app.enqueue("stubborn")
        await until(lambda: bool(started))
        monkeypatch.setattr(app._parts.backend, "settle", fail)
        worker.stop()
        await clock.advance(20 + CANCEL_GRACE_S + LAST_GRACE_S + FLUSH_S - 0.1)
        has_ended_early = worker.ended.is_set()
        await clock.advance(0.2)
        has_ended = worker.ended.is_set()
        let_go.set()

    assert (has_ended_early, has_ended) == (False, True)
    assert 20 + CANCEL_GRACE_S + LAST_GRACE_S + FLUSH_S + HTTP_GRACE_S <= 30


async def test_results_may_take_what_is_left_of_the_shutdown_timeout(
    make_app: MakeApp, clock: FakeClock, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=20_000))
    held = app.handler("held")(Held())

    async def fail(_: object) -> list[Settled]:
        raise BackendUnavailableError

    async with app, app.workers(concurrency=1) as worker:
        enqueued = await app.enqueue("held")
        await until(lambda: bool(held.started))
        with monkeypatch.context() as outage:
            outage.setattr(app._parts.backend, "settle", fail)
            worker.stop()
            held.let_go.set()
            await clock.advance(5)
        await clock.advance(14)

        assert worker.ended.is_set()
        assert (await app.get(enqueued.id)).status is Status.DONE


async def run_until_drained(app: TaskQ, until: Until, started: list[int]) -> None:
    """Run a worker until its first handler has started, then drain it."""
    async with app.workers(concurrency=1):
        await until(lambda: bool(started))
