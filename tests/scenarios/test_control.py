"""What handlers say of their jobs: again later, not now, never; from the loop, from threads, whatever the policy."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.scenarios.conftest import Until, UntilEvent

from gotaskq import Cancel, Context, Discard, Job, NoRetry, Retry, Snooze, Status, TaskQ
from gotaskq.control import Control
from gotaskq.events import Event, JobCancelled, JobDied, JobDone, JobRetryScheduled, JobSnoozed
from gotaskq.job import DeathReason
from gotaskq.testing.clock import FakeClock

Says = Callable[[Job], Any]


class Handler:
    """Says at each attempt what comes next in a list; at last it is done."""

    def __init__(self, *wishes: Control | None, returns: bool = False) -> None:
        self._wishes = list(wishes)
        self._returns = returns
        self.attempts: list[int] = []

    def __call__(self, job: Job) -> object:
        self.attempts.append(job.attempt)
        wish = self._wishes.pop(0) if self._wishes else None
        if wish is not None and not self._returns:
            raise wish
        return wish

    async def on_loop(self, job: Job) -> object:
        return self(job)


@pytest.fixture(params=["on the loop", "in a thread"])
def place(request: pytest.FixtureRequest) -> Callable[[Handler], Says]:
    """Return what puts a handler where it runs."""
    return lambda handler: handler.on_loop if request.param == "on the loop" else handler


@pytest.mark.parametrize("returns", [False, True])
async def test_a_snoozed_job_runs_again_and_nothing_is_spent(
    app: TaskQ,
    clock: FakeClock,
    events: list[Event],
    until_event: UntilEvent,
    place: Callable[[Handler], Says],
    returns: bool,
) -> None:
    handler = Handler(Snooze(30), returns=returns)
    app.handler("email")(place(handler))

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email", max_retries=0)
        await until_event(JobSnoozed)
        snoozed = await app.get(enqueued.id)
        await clock.advance(29.9)
        started_early = len(handler.attempts) > 1
        await clock.advance(0.2)
        await until_event(JobDone)
        done = await app.get(enqueued.id)

    assert (snoozed.status, snoozed.attempt, snoozed.retry_count, snoozed.error) == (Status.PENDING, 0, 0, None)
    assert snoozed.trail.attempts == ()
    assert not started_early
    assert (done.status, handler.attempts) == (Status.DONE, [1, 1])
    [told] = [event for event in events if isinstance(event, JobSnoozed)]
    assert (told.job.id, told.delay_ms) == (enqueued.id, 30_000)
    assert not any(isinstance(event, JobRetryScheduled) for event in events)


async def test_a_job_may_be_snoozed_far_more_often_than_it_may_be_retried(app: TaskQ, clock: FakeClock) -> None:
    handler = Handler(*[Snooze(1) for _ in range(20)])
    app.handler("email")(handler.on_loop)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email", max_retries=1)
        await clock.advance(20)
        done = await app.get(enqueued.id)

    assert (done.status, done.attempt, done.retry_count) == (Status.DONE, 1, 0)
    assert handler.attempts == [1] * 21


async def test_a_snoozed_job_can_be_cancelled(app: TaskQ, clock: FakeClock, events: list[Event]) -> None:
    handler = Handler(Snooze(30))
    app.handler("email")(handler.on_loop)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email")
        await clock.settle()
        cancelled = await app.cancel(enqueued.id)
        await clock.advance(60)

    assert cancelled.status is Status.CANCELLED
    assert handler.attempts == [1]
    assert sum(isinstance(event, JobCancelled) for event in events) == 1


async def test_a_job_that_is_cancelled_while_its_handler_snoozes_it_is_cancelled(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    @app.handler("email")
    async def email(job: Job) -> None:
        await app._parts.backend.cancel(job.id)  # as another process does, which this one has not heard of
        raise Snooze(30)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email")
        await clock.settle()
        cancelled = await app.get(enqueued.id)

    assert cancelled.status is Status.CANCELLED
    assert [type(event) for event in events][2:] == [JobCancelled]


async def test_a_handler_says_when_it_wants_its_retry(
    app: TaskQ, clock: FakeClock, events: list[Event], until_event: UntilEvent, place: Callable[[Handler], Says]
) -> None:
    handler = Handler(Retry(90, "the shop is closed"))
    app.handler("email", retry=NoRetry())(place(handler))

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email")
        await until_event(JobRetryScheduled)
        waiting = await app.get(enqueued.id)
        await clock.advance(89.9)
        started_early = len(handler.attempts) > 1
        await clock.advance(0.2)
        await until_event(JobDone)

    assert (waiting.status, waiting.retry_count, waiting.error) == (Status.PENDING, 1, "Retry: the shop is closed")
    assert [attempt.error for attempt in waiting.trail.attempts] == ["Retry: the shop is closed"]
    assert not started_early
    assert handler.attempts == [1, 2]
    [told] = [event for event in events if isinstance(event, JobRetryScheduled)]
    assert told.delay_ms == 90_000


async def test_a_retry_too_many_is_the_end(app: TaskQ, clock: FakeClock) -> None:
    handler = Handler(Retry(1), Retry(1), Retry(1))
    app.handler("email")(handler.on_loop)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email", max_retries=2)
        await clock.advance(10)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.death_reason) == (Status.DEAD, DeathReason.RETRIES_EXHAUSTED)
    assert handler.attempts == [1, 2, 3]


@pytest.mark.parametrize(
    ("wish", "reason", "error"),
    [
        (Cancel("no need"), DeathReason.CANCELLED, "Cancel: no need"),
        (Discard("no use"), DeathReason.DISCARDED, "Discard: no use"),
    ],
)
async def test_a_handler_that_gives_its_job_up_is_not_asked_again(
    app: TaskQ,
    clock: FakeClock,
    events: list[Event],
    until_event: UntilEvent,
    place: Callable[[Handler], Says],
    wish: Control,
    reason: DeathReason,
    error: str,
) -> None:
    handler = Handler(wish)
    app.handler("email")(place(handler))

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email", max_retries=5)
        await until_event(JobDied)
        await clock.advance(60)
        dead = await app.get(enqueued.id)

    assert (dead.status, dead.death_reason, dead.error) == (Status.DEAD, reason, error)
    assert handler.attempts == [1]
    [told] = [event for event in events if isinstance(event, JobDied)]
    assert (told.reason, told.error) == (reason, error)


async def test_what_was_given_up_can_be_replayed(app: TaskQ, clock: FakeClock) -> None:
    handler = Handler(Discard("no use"))
    app.handler("email")(handler.on_loop)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email")
        await clock.settle()
        await app.replay(enqueued.id)
        await clock.settle()
        done = await app.get(enqueued.id)

    assert (done.status, done.error, done.death_reason) == (Status.DONE, None, None)


async def test_a_wish_with_a_value_it_cannot_have_is_a_failure(app: TaskQ, clock: FakeClock, until: Until) -> None:
    @app.handler("email", retry=NoRetry())
    async def email(ctx: Context) -> None:
        raise Snooze(-1)

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("email")
        await clock.settle()
        dead = await app.get(enqueued.id)

    assert dead.error == "ValueError: delay_s is -1; it must be from 0 to 31536000 seconds"
