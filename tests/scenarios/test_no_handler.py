"""A job nobody here can run waits for whoever can, for ten minutes, and no attempt is counted."""

from itertools import pairwise

import pytest

from gotaskq import Job, Status, TaskQ
from gotaskq.events import Event, JobDied, JobReleased
from gotaskq.job import DeathReason
from gotaskq.testing.clock import FakeClock

DOUBLING_S = [5, 10, 20, 40, 60, 60, 60]


@pytest.mark.slow
async def test_the_waits_double_up_to_a_minute_and_after_ten_the_job_is_dead(app: TaskQ, clock: FakeClock) -> None:
    released_ms: list[int] = []
    died: list[tuple[int, Event]] = []
    app.observe(lambda event: released_ms.append(clock.now_ms()), [JobReleased])
    app.observe(lambda event: died.append((clock.now_ms(), event)), [JobDied])

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("nobody", max_retries=5)
        await clock.advance(599)
        waiting = await app.get(enqueued.id)
        await clock.advance(121)
        dead = await app.get(enqueued.id)

    waits_s = [(later - earlier) / 1000 for earlier, later in pairwise(released_ms)]
    assert waits_s[:7] == DOUBLING_S
    assert set(waits_s[7:]) <= {60}
    assert (waiting.status, waiting.attempt, waiting.retry_count) == (Status.PENDING, 0, 0)
    assert (dead.status, dead.death_reason, dead.retry_count) == (Status.DEAD, DeathReason.NO_HANDLER, 0)
    assert dead.error == "no handler for job type 'nobody'"
    [(died_ms, _)] = died
    assert 600_000 <= died_ms - released_ms[0] <= 660_000


async def test_a_worker_that_knows_the_type_runs_it_as_if_nothing_had_been(app: TaskQ, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("soon")
        await clock.advance(60)

        @app.handler("soon")
        async def soon(job: Job) -> None:
            pass

        await clock.advance(60)
        done = await app.get(enqueued.id)

    assert (done.status, done.attempt, done.retry_count) == (Status.DONE, 1, 0)


async def test_jobs_nobody_can_run_do_not_hold_up_the_others(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("ok")
    async def succeed(job: Job) -> None:
        pass

    async with app, app.workers(concurrency=1):
        for _ in range(50):
            await app.enqueue("nobody", priority=10)
        enqueued = await app.enqueue("ok")
        await clock.advance(1)
        done = await app.get(enqueued.id)

    assert done.status is Status.DONE
