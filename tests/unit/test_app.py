"""TaskQ: what a program holds in its hand, opened and closed, and what it refuses."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest
from msgspec import Raw

from gotaskq import Job, JobRequest, NoRetry, Settings, Status, TaskQ
from gotaskq.errors import (
    ConfigError,
    GotaskqError,
    InvalidRequestError,
    JobExistsError,
    JobNotFoundError,
    NotOpenError,
    QueueNotFoundError,
    RegistrationError,
    ShuttingDownError,
)
from gotaskq.testing import drain
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def app(clock: FakeClock, rng: Random) -> TaskQ:
    return TaskQ(clock=clock, rng=rng)


async def succeed(job: Job) -> None:
    pass


# ---- opening and closing


@pytest.mark.parametrize(
    "act",
    [
        lambda app: app.enqueue("email"),
        lambda app: app.enqueue_many([]),
        lambda app: app.get(1),
        lambda app: app.cancel(1),
        lambda app: app.replay(1),
        lambda app: app.list_jobs(),
        lambda app: app.queues(),
        lambda app: app.create_queue("mail"),
        lambda app: app.pause("default"),
        lambda app: app.metrics_page(),
        lambda app: app.workers().__aenter__(),
    ],
)
async def test_outside_its_context_nothing_works(app: TaskQ, act: Callable[[TaskQ], Awaitable[object]]) -> None:
    with pytest.raises(NotOpenError, match="async with app"):
        await act(app)

    assert not app.is_open
    assert not app.is_accepting


async def test_it_is_opened_once_at_a_time(app: TaskQ) -> None:
    async with app:
        with pytest.raises(GotaskqError, match="open already"):
            await app.__aenter__()

        assert app.is_open
        assert app.is_accepting
    async with app:
        assert app.is_open


async def test_settings_are_taken_before_it_is_opened_only(app: TaskQ) -> None:
    app.configure(Settings(max_retries=1))

    async with app:
        with pytest.raises(GotaskqError, match="configure it before"):
            app.configure(Settings(max_retries=2))
        job = await app.enqueue("email")

    assert job.max_retries == 1


async def test_once_it_stops_accepting_what_is_stored_stays(app: TaskQ) -> None:
    async with app:
        job = await app.enqueue("email")

        app.stop_accepting()

        with pytest.raises(ShuttingDownError):
            await app.enqueue("email")
        assert await app.get(job.id) == job
        assert app.is_open
        assert not app.is_accepting


def test_the_environment_makes_the_settings() -> None:
    assert TaskQ.from_env({"NUM_WORKERS": "3"}).settings.num_workers == 3
    with pytest.raises(ConfigError, match="NUM_WORKERS"):
        TaskQ.from_env({"NUM_WORKERS": "none"})


@pytest.mark.parametrize("url", ["memory://somewhere", "nothing://", "nothing"])
async def test_a_backend_nobody_serves_is_refused_when_it_is_opened(url: str) -> None:
    with pytest.raises(ConfigError, match="BACKEND_URL"):
        await TaskQ(url).__aenter__()


async def test_two_apps_in_a_process_share_nothing(clock: FakeClock, rng: Random) -> None:
    first, second = TaskQ(clock=clock, rng=rng), TaskQ(clock=clock, rng=rng)
    first.handler("email")(succeed)

    async with first, second:
        job = await first.enqueue("email")
        await first.create_queue("mail")

        with pytest.raises(JobNotFoundError):
            await second.get(job.id)
        assert list(await second.queues()) == ["default"]
        assert (first.job_types, second.job_types) == (["email"], [])
        assert b'type="email"' not in await second.metrics_page()


# ---- handlers


def test_a_decorated_handler_stays_a_plain_function(app: TaskQ) -> None:
    decorated = app.handler("email")(succeed)

    assert decorated is succeed
    assert app.has_handler("email")
    assert not app.has_handler("mail")


def test_a_type_cannot_have_two_handlers(app: TaskQ) -> None:
    app.handler("email")(succeed)

    with pytest.raises(RegistrationError):
        app.handler("email")(succeed)


# ---- enqueueing


async def test_a_payload_is_any_json_value(app: TaskQ) -> None:
    async with app:
        jobs = [await app.enqueue("email", payload) for payload in (None, {"to": "a@b.c"}, [1, "é"], Raw(b"1e400"))]

    assert [job.payload_json for job in jobs] == [b"null", b'{"to":"a@b.c"}', '[1,"é"]'.encode(), b"1e400"]


@pytest.mark.parametrize("payload", [float("nan"), [float("inf")], object(), {1j: 2}, "\ud800"])
async def test_a_payload_that_is_no_json_is_refused(app: TaskQ, payload: object) -> None:
    async with app:
        with pytest.raises(InvalidRequestError) as error:
            await app.enqueue("email", payload)

        assert (await app.list_jobs()).jobs == []

    assert error.value.field == "payload"


class TickingClock(FakeClock):
    """A clock on which a millisecond passes between any two looks at it."""

    def now_ms(self) -> int:
        self.set_now_ms(super().now_ms() + 1)
        return super().now_ms()


@pytest.mark.parametrize(
    "delay",
    [
        0,
        9,
    ],
)
async def test_a_job_is_returned_as_it_is_stored(rng: Random, delay: int) -> None:
    async with TaskQ(clock=TickingClock(), rng=rng) as app:
        job = await app.enqueue("email", delay=delay)

        assert await app.get(job.id) == job


async def test_many_are_enqueued_together_or_not_at_all(app: TaskQ) -> None:
    async with app:
        jobs = await app.enqueue_many([JobRequest("a"), JobRequest("b", priority=9)])

        with pytest.raises(QueueNotFoundError):
            await app.enqueue_many([JobRequest("c"), JobRequest("d", queue="nowhere")])

        listed = (await app.list_jobs()).jobs

    assert [job.type for job in jobs] == ["a", "b"]
    assert sorted(job.type for job in listed) == ["a", "b"]


async def test_jobs_are_listed_by_what_they_are(app: TaskQ, clock: FakeClock) -> None:
    async with app:
        await app.create_queue("mail")
        for job_type, queue in [("a", "default"), ("b", "mail"), ("a", "mail")]:
            await app.enqueue(job_type, queue=queue)
            await clock.advance(1)

        by_type = [(job.type, job.queue) for job in (await app.list_jobs(job_type="a")).jobs]
        by_queue = [(job.type, job.queue) for job in (await app.list_jobs(queue="mail")).jobs]
        by_status = (await app.list_jobs(status=Status.DONE)).jobs
        first = await app.list_jobs(limit=2)
        rest = await app.list_jobs(limit=2, cursor=first.next_cursor)

    assert by_type == [("a", "mail"), ("a", "default")]
    assert by_queue == [("a", "mail"), ("b", "mail")]
    assert by_status == []
    assert [len(first.jobs), len(rest.jobs)] == [2, 1]
    assert rest.next_cursor is None


# ---- workers


async def test_workers_come_and_go_while_it_is_open(app: TaskQ, clock: FakeClock) -> None:
    app.handler("email")(succeed)

    async with app:
        for _ in range(2):
            async with app.workers(concurrency=1):
                job = await app.enqueue("email")
                await clock.settle()
                assert (await app.get(job.id)).status is Status.DONE
        waiting = await app.enqueue("email")
        await clock.advance(5)

        assert (await app.get(waiting.id)).status is Status.PENDING
        assert app.busy == 0


# ---- keys


async def test_a_call_made_again_returns_the_job_it_made(app: TaskQ) -> None:
    async with app:
        first, again = [await app.enqueue("email", 1, idempotency_key="k") for _ in range(2)]
        other = await app.enqueue("email", 1, unique_key="w:1")
        [kept] = await app.enqueue_many([app.job("email", 2, unique_key="w:1")])

    assert (first.was_there, again.was_there, again.id) == (False, True, first.id)
    assert (kept.was_there, kept.id, kept.payload, kept.unique_key) == (True, other.id, 1, "w:1")


async def test_a_handle_says_whether_its_job_was_there(app: TaskQ) -> None:
    @app.task()
    async def greet(name: str) -> None: ...

    async with app:
        first = await greet.options(unique_key="w:1").enqueue("ada")
        again = await greet.options(unique_key="w:1", delay=60).enqueue("bob")

    assert (first.was_there, again.was_there, again.id) == (False, True, first.id)


async def test_a_dead_job_whose_twin_lives_is_not_replayed(app: TaskQ) -> None:
    @app.handler("broken", retry=NoRetry())
    async def broken(job: Job) -> None:
        raise ValueError

    async with app.override():
        dead = await app.enqueue("broken", unique_key="w:1")
        await drain(app, raise_errors=False)
        twin = await app.enqueue("broken", unique_key="w:1")

        with pytest.raises(JobExistsError, match=f"job {dead.id} cannot be replayed") as refusal:
            await app.replay(dead.id)
        await app.cancel(twin.id)
        replayed = await app.replay(dead.id)

    assert refusal.value.unique_key == "w:1"
    assert (replayed.status, replayed.unique_key) == (Status.PENDING, "w:1")
