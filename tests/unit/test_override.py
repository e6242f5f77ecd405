"""An overridden app: another store, no worker, and time that stands still."""

import asyncio

import pytest

from gotaskq import Job, JobRequest, Snooze, Status, TaskQ
from gotaskq.clock import Clock
from gotaskq.errors import EndlessJobsError, GotaskqError, JobNotFoundError, NotOpenError, RegistrationError
from gotaskq.testing import FlakyBackend, drain, frozen_clock
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def app(clock: FakeClock) -> TaskQ:
    app = TaskQ(clock=clock)

    @app.handler("double")
    async def double(job: Job) -> int:
        return 2 * int(job.payload)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    @app.handler("flaky")
    def flaky(job: Job) -> int:
        if job.attempt < 3:
            raise ConnectionError("not yet")
        return job.attempt

    return app


# ---- the store


async def test_the_jobs_of_an_open_app_are_not_touched(app: TaskQ) -> None:
    async with app:
        own = await app.enqueue("double", 1)

        async with app.override():
            stood_in = await app.enqueue("double", 2)
            with pytest.raises(JobNotFoundError):
                await app.get(own.id)
        async with app.override():
            assert (await app.list_jobs()).jobs == []

        assert (await app.list_jobs()).jobs == [own]
        with pytest.raises(JobNotFoundError):
            await app.get(stood_in.id)


async def test_an_app_that_was_closed_is_closed_again(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("double", 1)

    with pytest.raises(NotOpenError):
        await app.get(job.id)
    with pytest.raises(GotaskqError, match=r"app\.override"):
        _ = app.stand_in


async def test_a_program_that_opens_the_app_finds_it_open_and_leaves_it_so(app: TaskQ) -> None:
    async with app.override():
        job = await app.enqueue("double", 1)

        async with app:
            assert await app.get(job.id) == job

        assert await app.get(job.id) == job


async def test_a_program_that_starts_workers_starts_none(app: TaskQ, clock: FakeClock) -> None:
    async with app.override(), app.workers(concurrency=3) as worker:
        job = await app.enqueue("double", 1)
        await clock.advance(60)

        assert (await app.get(job.id)).status is Status.PENDING
        assert (app.busy, worker.ended.is_set()) == (0, False)


async def test_overrides_nest(app: TaskQ) -> None:
    async with app.override():
        outer = await app.enqueue("double", 1)

        async with app.override(mode="inline"):
            assert (await app.enqueue("double", 2)).result == 4

        assert (await app.list_jobs()).jobs == [outer]


async def test_a_store_of_ones_own_and_what_stands_before_it(app: TaskQ) -> None:
    flaky = FlakyBackend()

    async with app.override(wrap=flaky.around):
        await app.enqueue("double", 1)
        async with app.override(flaky):
            assert len((await app.list_jobs()).jobs) == 1

    assert "enqueue" in flaky.calls


async def test_after_a_start_that_failed_the_app_is_as_before(app: TaskQ) -> None:
    with pytest.raises(GotaskqError, match="nowhere"):
        async with app.override("nowhere://"):
            raise AssertionError("never opened")

    async with app:
        assert app.backend_name == "memory://"


# ---- time


async def test_time_stands_still_until_a_tick(app: TaskQ, clock: FakeClock) -> None:
    started_ms = clock.now_ms()

    async with app.override():
        await clock.advance(60)
        first = await app.enqueue("double", 1)
        with frozen_clock(app) as time:
            time.tick(seconds=1.5)
            second = await app.enqueue("double", 1)
            with pytest.raises(ValueError, match="forward"):
                time.tick(seconds=-1)

    assert (first.created_at_ms - started_ms, second.created_at_ms - started_ms) == (0, 1_500)


async def test_who_sleeps_sleeps_by_the_own_clock(app: TaskQ, clock: FakeClock) -> None:
    async with app.override():
        standing = app.stand_in.clock
        sleeping = asyncio.create_task(standing.sleep(5))
        waiting = asyncio.create_task(wait_for_ever(standing))
        await clock.advance(2)
        assert isinstance(waiting.exception(), TimeoutError)
        assert not sleeping.done()
        await clock.advance(3)

        assert sleeping.done()
        assert standing.monotonic_s() == 0


async def wait_for_ever(clock: Clock) -> None:
    async with clock.timeout(1):
        await asyncio.Event().wait()


# ---- inline


async def test_inline_a_job_has_ended_when_its_enqueue_returns(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        done = await app.enqueue("double", 21)
        later = await app.enqueue("double", 1, delay=3_600)
        by_request = await app.submit(JobRequest("double", app.job("double", 3).payload))

    assert [(job.status, job.result) for job in (done, later, by_request)] == [
        (Status.DONE, 42),
        (Status.DONE, 2),
        (Status.DONE, 6),
    ]


async def test_inline_retries_are_over_too(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        job = await app.enqueue("flaky")

    assert (job.status, job.retry_count, job.result) == (Status.DONE, 2, 3)


async def test_inline_what_made_a_job_die_is_raised(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        with pytest.raises(ValueError, match="no luck") as raised:
            await app.enqueue("fail", max_retries=2)
        [dead] = (await app.list_jobs(status=Status.DEAD)).jobs

    assert dead.attempt == 3
    assert raised.value.__notes__ == [f"in attempt 3 of job {dead.id}, type 'fail'"]


async def test_inline_it_is_not_raised_where_nobody_wants_it(app: TaskQ) -> None:
    async with app.override(mode="inline", raise_errors=False):
        job = await app.enqueue("fail", max_retries=0)

    assert (job.status, job.error) == (Status.DEAD, "ValueError: no luck")


async def test_inline_many_run_in_their_order(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        jobs = await app.enqueue_many([app.job("double", number) for number in range(5)])

    assert [job.result for job in jobs] == [0, 2, 4, 6, 8]


async def test_inline_a_handler_may_enqueue(app: TaskQ) -> None:
    @app.handler("parent")
    async def parent(job: Job) -> int:
        child = await app.enqueue("double", job.payload)
        return int(child.result) + 1

    async with app.override(mode="inline"):
        assert (await app.enqueue("parent", 5)).result == 11


async def test_inline_enqueues_at_the_same_time_each_wait_for_their_own_job(app: TaskQ) -> None:
    @app.handler("parents")
    async def parents(job: Job) -> list[int]:
        async with asyncio.TaskGroup() as tasks:
            children = [tasks.create_task(app.enqueue("double", number)) for number in range(3)]
        return [child.result().result for child in children]

    async with app.override(mode="inline"), asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(app.enqueue("double", number)) for number in range(30)]
        calls.append(tasks.create_task(app.enqueue("parents", priority=9)))
        failing = tasks.create_task(app.enqueue("flaky"))

    assert [call.result().result for call in calls] == [*range(0, 60, 2), [0, 2, 4]]
    assert failing.result().status is Status.DONE


async def test_inline_jobs_without_end_are_told(app: TaskQ) -> None:
    @app.handler("again")
    async def again(job: Job) -> None:
        await app.enqueue("again", max_retries=0)

    @app.handler("snooze")
    async def snooze(job: Job) -> Snooze:
        return Snooze(5)

    async with app.override(mode="inline"):
        with pytest.raises(EndlessJobsError, match="without end"):
            await app.enqueue("snooze")
    async with app.override(mode="inline"):
        with pytest.raises(EndlessJobsError, match="without end"):
            await app.enqueue("again", max_retries=0)


async def test_inline_a_job_of_a_paused_queue_waits(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        await app.pause("default")

        job = await app.enqueue("double", 1)

        assert job.status is Status.PENDING


async def test_inline_a_type_without_handler_is_told(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        with pytest.raises(RegistrationError, match="'nobody'"):
            await app.enqueue("nobody")


async def test_the_fast_lane_is_not_offered_inline(app: TaskQ) -> None:
    async with app.override(mode="inline"):
        inline = app.door.is_immediate
    async with app.override():
        manual = app.door.is_immediate
        await app.enqueue("double", 1)
        assert await drain(app) == {"done": 1, "dead": 0, "pending": 0}

    assert (inline, manual) == (False, True)


async def test_inline_a_job_that_is_there_is_not_run_again(app: TaskQ) -> None:
    seen: list[bool] = []

    @app.handler("again")
    async def again(job: Job) -> None:
        seen.append((await app.enqueue("again", unique_key="w:1")).was_there)

    async with app.override(mode="inline"):
        job = await app.enqueue("again", unique_key="w:1")

    assert (job.status, job.was_there, seen) == (Status.DONE, False, [True])
