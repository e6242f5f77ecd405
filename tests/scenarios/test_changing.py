"""Changing a job while it waits: it runs when, and with what, it was changed to; one that runs is left alone."""

from datetime import datetime, timedelta

import pytest
from tests.scenarios.conftest import MakeApp, Until

from gotaskq import Context, Fifo, Job, Status, TaskQ
from gotaskq.errors import InvalidPayloadError, InvalidRequestError, JobNotFoundError, JobStateError
from gotaskq.events import Event, JobAmended, JobReplayed
from gotaskq.testing.clock import FakeClock


async def test_a_worker_that_sleeps_wakes_for_a_job_that_is_run_now(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    ran: list[int] = []

    @app.handler("later")
    async def later(job: Job) -> None:
        ran.append(job.id)

    async with app, app.workers(concurrency=1):
        job = await app.enqueue("later", delay=3_600)
        await clock.settle()
        hastened = await app.run_now(job.id)
        await clock.settle()

    assert ran == [job.id]
    assert (hastened.status, hastened.run_after_ms) == (Status.PENDING, clock.now_ms())
    assert [event.job.id for event in events if isinstance(event, JobAmended)] == [job.id]


async def test_a_retry_uses_what_was_changed_while_it_waited(app: TaskQ, clock: FakeClock) -> None:
    seen: list[tuple[object, int]] = []

    @app.handler("send")
    async def send(job: Job) -> None:
        seen.append((job.payload, job.attempt))
        if job.payload["to"] == "nobody":
            raise ValueError("no such address")

    async with app, app.workers(concurrency=1):
        job = await app.enqueue("send", {"to": "nobody"}, max_retries=1)
        await clock.settle()
        await app.amend(job.id, payload={"to": "a@b.c"}, delay=0)
        await clock.settle()
        done = await app.get(job.id)

    assert seen == [({"to": "nobody"}, 1), ({"to": "a@b.c"}, 2)]
    assert (done.status, done.retry_count) == (Status.DONE, 1)


async def test_priority_changes_the_order_of_the_apps_own_ordering(make_app: MakeApp, clock: FakeClock) -> None:
    for ordering, expected in ((None, ["second", "first"]), (Fifo(), ["first", "second"])):
        app = make_app(ordering=ordering)
        ran: list[str] = []

        @app.handler("note")
        async def note(job: Job, ran: list[str] = ran) -> None:
            ran.append(job.payload)

        async with app:
            await app.enqueue("note", "first")
            await clock.advance(1)
            second = await app.enqueue("note", "second")
            await app.amend(second.id, priority=9)
            async with app.workers(concurrency=1):
                await clock.settle()

        assert ran == expected


async def test_a_running_job_is_left_alone(app: TaskQ, clock: FakeClock, until: Until) -> None:
    running: list[int] = []

    @app.handler("work")
    async def work(job: Job) -> None:
        running.append(job.id)
        await clock.sleep(10)

    async with app, app.workers(concurrency=1):
        job = await app.enqueue("work")
        await until(lambda: bool(running))
        for act in (app.amend(job.id, priority=9), app.run_now(job.id), app.retry(job.id)):
            with pytest.raises(JobStateError) as error:
                await act
            assert error.value.status is Status.RUNNING
        await clock.advance(10)

        assert (await app.get(job.id)).status is Status.DONE


async def test_run_again_is_a_replay_for_the_dead_and_haste_for_a_retry(
    app: TaskQ, clock: FakeClock, events: list[Event]
) -> None:
    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app:
        dead, waiting = await app.enqueue("fail", max_retries=0), await app.enqueue("fail", max_retries=1)
        async with app.workers(concurrency=1):
            await clock.settle()
        again = await app.retry(dead.id)
        hastened = await app.retry(waiting.id)

    assert (again.replays, hastened.replays, hastened.retry_count) == (1, 0, 1)
    assert hastened.run_after_ms == clock.now_ms()
    told = [(type(event), event.job.id) for event in events if isinstance(event, JobAmended | JobReplayed)]
    assert told == [(JobReplayed, dead.id), (JobAmended, waiting.id)]


async def test_each_value_is_checked_as_at_enqueue(app: TaskQ) -> None:
    @app.task("email")
    async def email(ctx: Context, to: str) -> None: ...

    async with app:
        job = await app.enqueue("email", {"to": "a@b.c"})
        with pytest.raises(InvalidPayloadError):
            await app.amend(job.id, payload={"to": 7})
        with pytest.raises(InvalidRequestError, match="nothing to change"):
            await app.amend(job.id)
        with pytest.raises(InvalidRequestError, match="must name its time zone"):
            await app.amend(job.id, run_after=datetime(2026, 12, 1))  # noqa: DTZ001 - that is the point
        with pytest.raises(InvalidRequestError, match="JSON"):
            await app.amend(job.id, payload=float("nan"))
        with pytest.raises(JobNotFoundError):
            await app.amend(7, priority=1)
        with pytest.raises(JobNotFoundError):
            await app.run_now(7)

        assert await app.get(job.id) == job


async def test_many_dead_are_replayed_in_one_call(app: TaskQ, clock: FakeClock) -> None:
    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    async with app:
        dead = [(await app.enqueue("fail", max_retries=0)).id for _ in range(3)]
        async with app.workers(concurrency=1):
            await clock.settle()
        replayed = await app.replay_many([*dead, 7])

        assert [job.id for job in replayed] == dead


async def test_the_library_lists_by_the_same_filters(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        old = await app.enqueue("note", {"user": {"id": 7}})
        await clock.advance(60)
        young = await app.enqueue("note", {"user": {"id": "7"}})

        async def listed(**filters: object) -> list[int]:
            return [job.id for job in (await app.list_jobs(**filters)).jobs]  # type: ignore[arg-type]  # any of them

        assert await listed(since=timedelta(seconds=30)) == [young.id]
        assert await listed(until=timedelta(seconds=30)) == [old.id]
        assert await listed(payload={"user.id": 7}) == [old.id]
        assert await listed(payload={"user.id": "7"}, text="NOTE") == [young.id]
