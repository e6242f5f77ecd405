"""A dead job comes back: on its own queue, with a fresh count, and is dead no more."""

import pytest

from gotaskq import Job, Status, TaskQ
from gotaskq.errors import DeadJobNotFoundError
from gotaskq.events import Event, JobReplayed
from gotaskq.testing.clock import FakeClock


async def test_a_replayed_job_runs_again_with_all_its_retries(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    is_fixed = False
    attempts: list[tuple[int, int]] = []

    @app.handler("send")
    async def send(job: Job) -> None:
        attempts.append((job.attempt, job.retry_count))
        if not is_fixed or job.retry_count == 0:
            raise ConnectionError("the other side is away")

    async with app, app.workers(concurrency=1):
        await app.create_queue("mail")
        enqueued = await app.enqueue("send", {"to": "a@b.c"}, queue="mail", max_retries=1)
        await clock.advance(60)
        dead = await app.get(enqueued.id)
        is_fixed = True
        replayed = await app.replay(enqueued.id)
        await clock.advance(60)
        done = await app.get(enqueued.id)

    assert (dead.status, dead.retry_count) == (Status.DEAD, 1)
    assert (replayed.status, replayed.queue, replayed.retry_count) == (Status.PENDING, "mail", 0)
    assert (replayed.error, replayed.death_reason, replayed.replays) == (None, None, 1)
    assert (done.status, done.payload_json) == (Status.DONE, b'{"to":"a@b.c"}')
    assert attempts == [(1, 0), (2, 1), (3, 0), (4, 1)]
    assert [event.job.id for event in events if isinstance(event, JobReplayed)] == [enqueued.id]


async def test_only_a_dead_job_can_be_replayed_or_deleted(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("ok")
    async def succeed(job: Job) -> None:
        pass

    async with app, app.workers(concurrency=1):
        enqueued = await app.enqueue("ok")
        await clock.settle()

        with pytest.raises(DeadJobNotFoundError):
            await app.replay(enqueued.id)
        with pytest.raises(DeadJobNotFoundError):
            await app.delete_dead(enqueued.id)

        assert (await app.get(enqueued.id)).status is Status.DONE


async def test_dead_jobs_are_listed_latest_death_first_until_replayed(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app, app.workers(concurrency=1):
        ids = [(await app.enqueue("fail", max_retries=0, delay=delay)).id for delay in (3, 1, 2)]
        await clock.advance(10)
        listed = [job.id for job in (await app.list_jobs(status=Status.DEAD)).jobs]
        counts = (await app.queues())["default"]

        assert listed == [ids[0], ids[2], ids[1]]
        assert counts.dead == 3
