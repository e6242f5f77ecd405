"""Timeouts go on while a worker drains, and a job is settled or given back once."""

import asyncio

from tests.scenarios.conftest import MakeApp, Until
from tests.scenarios.stubborn import Stubborn

from gotaskq import Job, NoRetry, Settings, Status
from gotaskq.engine.deadlines import LAST_GRACE_S, STOP_GRACE_S
from gotaskq.engine.worker import CANCEL_GRACE_S
from gotaskq.events import Event, JobReleased
from gotaskq.testing.clock import FakeClock

TOO_LONG = "JobTimeoutError: ran longer than 30 s"


async def test_timeouts_go_on_while_draining(make_app: MakeApp, clock: FakeClock) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=60_000))

    @app.handler("slow", timeout=30, retry=NoRetry())
    async def slow(job: Job) -> None:
        await asyncio.Event().wait()

    async with app:
        enqueued = await app.enqueue("slow")
        async with app.workers(concurrency=1) as worker:
            await clock.advance(10)
            worker.stop()
            await clock.advance(20)
            is_over = worker.ended.is_set()
        dead = await app.get(enqueued.id)

    assert is_over
    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)


async def test_one_given_up_while_draining_is_replaced_and_the_drain_ends(
    make_app: MakeApp, clock: FakeClock, until: Until
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=3_600_000))
    stubborn = app.handler("stubborn", timeout=30, retry=NoRetry())(Stubborn())

    async with app:
        enqueued = await app.enqueue("stubborn")
        async with app.workers(concurrency=1) as worker:
            await clock.advance(1)
            worker.stop()
            await clock.advance(29 + STOP_GRACE_S + LAST_GRACE_S)
            is_over = worker.ended.is_set()
        dead = await app.get(enqueued.id)
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)

    assert is_over
    assert (dead.status, dead.error) == (Status.DEAD, TOO_LONG)
    assert not worker.is_worn_out  # it was to end anyway


async def test_one_whose_time_is_over_while_the_drain_interrupts_it_was_interrupted(
    make_app: MakeApp, clock: FakeClock, until: Until, events: list[Event]
) -> None:
    app = make_app(settings=Settings(shutdown_timeout_ms=1_000))
    told: list[Event] = []
    app.observe(told.append)
    stubborn = app.handler("stubborn", timeout=30)(Stubborn())

    async with app:
        enqueued = await app.enqueue("stubborn")
        async with app.workers(concurrency=1) as worker:
            await clock.advance(28)
            worker.stop()
            await clock.advance(1 + CANCEL_GRACE_S + LAST_GRACE_S)
        given_back = await app.get(enqueued.id)
        stubborn.let_go.set()
        await until(lambda: not stubborn.running)

    assert (given_back.status, given_back.attempt, given_back.retry_count) == (Status.PENDING, 0, 0)
    assert [type(event) for event in told][-1] is JobReleased
