"""Callbacks: whoever asked is told of a job's end, once, however that comes about and whatever fails on the way."""

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from tests.scenarios.conftest import MakeApp

from gotaskq import Callback, Cancel, Context, Discard, Job, JobRequest, Settings, Snooze, Status, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.callback import CALLBACK_HEADER, CALLBACK_QUEUE, CALLBACK_TYPE
from gotaskq.engine.middleware import CallNext
from gotaskq.errors import BackendUnavailableError, InvalidRequestError, QueueFullError, StoreFullError, WithheldError
from gotaskq.events import JobEnqueued
from gotaskq.store_limits import StoreLimits
from gotaskq.testing import drain, frozen_clock
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.flaky import FlakyBackend

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
URL = "https://example.com/ended"
SETTINGS = Settings(callback_secret=SECRET, max_retries=0)


class Receiver:
    """Stands in for what sends: keeps what it was given, and raises what it was told to."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.refusals: list[Exception] = []

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        message_id: str,
        secrets: Sequence[str],
        headers: Mapping[str, str] = {},
        timeout_s: float | None = None,
        count_as: str = "other",
    ) -> object | None:
        assert (url, secrets) == (URL, (SECRET,))
        assert json.loads(body)["id"] == message_id
        self.bodies.append(body)
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.append(json.loads(body))
        return None

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was said of which job."""
        return [(message["type"].removeprefix("gotaskq.job."), message["data"]["id"]) for message in self.taken]


class ServerError(Exception):
    """What is worth a retry."""


@pytest.fixture
def app(make_app: MakeApp) -> TaskQ:
    return with_handlers(make_app(settings=SETTINGS))


@pytest.fixture
def receiver(app: TaskQ) -> Receiver:
    return receiving(app)


def with_handlers(app: TaskQ) -> TaskQ:
    @app.handler("work")
    async def work(job: Job) -> object:
        return {"worked": job.payload}

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise Cancel("it is of no use")

    @app.handler("dawdle")
    async def dawdle(ctx: Context) -> object:
        return Snooze(600) if ctx.job.releases == 0 else None

    return app


def receiving(app: TaskQ) -> Receiver:
    receiver = Receiver()
    app.callbacks.posts = receiver
    return receiver


async def callback_of(app: TaskQ, job: Job) -> Job:
    return await app.get(int((await app.get(job.id)).headers[CALLBACK_HEADER]))


async def callbacks(app: TaskQ) -> list[Job]:
    return (await app.list_jobs(job_type=CALLBACK_TYPE)).jobs


async def test_the_end_is_told_at_once(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", 7, callback=Callback(URL), headers={"tenant": "a"})
        await clock.settle()
        told_by = await callback_of(app, job)

    [message] = receiver.taken
    assert message["id"] == str(told_by.id)
    assert (message["specversion"], message["source"], message["subject"]) == ("1.0", "gotaskq", str(job.id))
    assert message["type"] == "gotaskq.job.done"
    assert message["data"]["result"] == {"worked": 7}
    assert message["data"]["headers"] == {"tenant": "a"}
    assert "payload" not in message["data"]
    assert (told_by.status, told_by.result) == (Status.DONE, {"delivered": True})


async def test_a_death_is_told_with_its_error(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("fail", callback=Callback(URL))
        await clock.settle()

    [message] = receiver.taken
    assert receiver.told == [("dead", str(job.id))]
    assert (message["data"]["status"], message["data"]["reason"]) == ("DEAD", "cancelled")
    assert message["data"]["error"] == "Cancel: it is of no use"


@pytest.mark.parametrize(("on", "told"), [(("cancelled",), 1), (("done", "dead"), 0)])
async def test_a_cancelled_job_is_told_of_where_that_was_asked_for(
    app: TaskQ, receiver: Receiver, clock: FakeClock, on: Any, told: int
) -> None:
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", delay=3_600, callback=Callback(URL, on=on))
        await app.cancel(job.id)
        await clock.settle()
        ended = await callback_of(app, job)

    assert receiver.told == [("cancelled", str(job.id))] * told
    assert ended.status is Status.DONE
    assert ended.result == ({"delivered": True} if told else {"delivered": False, "status": "CANCELLED"})


async def test_a_lost_nudge_costs_time_and_not_the_callback(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=2):
        app.callbacks.listen()
        job = await app.enqueue("dawdle", callback=Callback(URL))
        await clock.advance(599)
        waiting = await callback_of(app, job)
        app.callbacks._is_listening, app.callbacks._nudges = True, None  # nobody hears of the end
        await clock.advance(1)
        assert (await app.get(job.id)).status is Status.DONE
        assert receiver.told == []
        await clock.advance(150)

    assert receiver.told == [("done", str(job.id))]
    assert waiting.attempt == 0  # looking spends nothing
    assert waiting.releases > 0


async def test_a_job_that_is_kept_for_seconds_is_looked_at_in_time(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    async with app, app.workers(concurrency=2):
        await app.queue("default").configure(complete_job_ttl=10)
        app.callbacks.listen()
        job = await app.enqueue("dawdle", callback=Callback(URL))
        await clock.advance(599)
        app.callbacks._nudges = None  # nobody hears of the end
        await clock.advance(7)

    assert receiver.told == [("done", str(job.id))]


async def test_a_job_that_waits_for_its_time_is_looked_at_rarely(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", delay=3_600, callback=Callback(URL))
        await clock.advance(3_599)
        looks = (await callback_of(app, job)).releases
        await clock.advance(2)

    assert looks == 3
    assert receiver.told == [("done", str(job.id))]


async def test_a_failed_delivery_is_tried_again_with_the_same_words(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.refusals = [ServerError("500")]

    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", 7, callback=Callback(URL))
        await clock.settle()
        failed = await callback_of(app, job)
        await app.delete(job.id)  # what was seen is told, whatever becomes of the job
        await clock.advance(8)

    assert receiver.told == [("done", str(job.id))]
    assert (failed.status, failed.retry_count, failed.error) == (Status.PENDING, 1, "ServerError: 500")
    assert receiver.bodies[0] == receiver.bodies[1]


async def test_a_delivery_that_always_fails_is_a_dead_letter_and_can_be_replayed(
    app: TaskQ, receiver: Receiver
) -> None:
    receiver.refusals = [ServerError("500")] * 13

    async with app.override():
        job = await app.enqueue("work", 7, callback=Callback(URL))
        callback_id = (await callback_of(app, job)).id
        with frozen_clock(app) as time:
            for _ in range(14):
                await drain(app, raise_errors=False)
                time.tick(seconds=5_041)
        dead = await app.get(callback_id)
        await app.replay(callback_id)
        await drain(app)

    assert (dead.status, dead.retry_count) == (Status.DEAD, 12)
    assert receiver.told == [("done", str(job.id))]
    assert len(set(receiver.bodies)) == 1


async def test_a_receiver_that_refuses_for_good_makes_a_dead_letter(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.refusals = [Discard("410 Gone")]

    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", callback=Callback(URL))
        await clock.settle()
        callback = await callback_of(app, job)

    assert (callback.status, callback.error) == (Status.DEAD, "Discard: 410 Gone")


async def test_a_job_that_is_no_longer_kept_is_told_of_as_gone(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    async with app:
        job = await app.enqueue("work", queue="default", delay=3_600, callback=Callback(URL))
        await app.delete(job.id)
        async with app.workers(concurrency=1):
            await clock.advance(1)

    assert receiver.told == [("gone", str(job.id))]
    assert receiver.taken[0]["data"] == {"id": str(job.id), "type": "work", "queue": "default"}


async def test_the_first_end_that_is_seen_is_the_one_that_is_told(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    async with app, app.workers(concurrency=2):
        job = await app.enqueue("fail", callback=Callback(URL))
        await clock.settle()
        await app.replay(job.id)
        await clock.settle()
        replayed = await app.get(job.id)

    assert (replayed.status, replayed.replays) == (Status.DEAD, 1)
    assert receiver.told == [("dead", str(job.id))]


async def test_a_large_result_is_left_out_and_said_to_be(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=2):
        await app.enqueue("work", "x" * 50_000, callback=Callback(URL))
        await clock.settle()

    assert receiver.taken[0]["data"]["result_omitted"] is True
    assert "result" not in receiver.taken[0]["data"]


async def test_a_worker_without_a_secret_sends_nothing_and_says_why(
    app: TaskQ, receiver: Receiver, clock: FakeClock
) -> None:
    async with app, app.workers(concurrency=2):
        app.callbacks._secrets = ()  # as a process has it that was started without
        job = await app.enqueue("work", callback=Callback(URL))
        await clock.settle()
        failed = await callback_of(app, job)

    assert receiver.bodies == []
    assert (failed.status, failed.retry_count) == (Status.PENDING, 1)
    assert "CALLBACK_SECRET" in (failed.error or "")


async def test_callbacks_pass_no_middleware_and_are_known_to_strict_doors(make_app: MakeApp, clock: FakeClock) -> None:
    seen: list[str] = []

    async def note(job: Job, call_next: CallNext) -> object:
        seen.append(job.type)
        return await call_next(job)

    settings = Settings(callback_secret=SECRET, strict_types=True)
    app = with_handlers(make_app(settings=settings, middleware=[note]))
    receiver = receiving(app)

    async with app, app.workers(concurrency=2):
        job = await app.enqueue("work", callback=Callback(URL))
        await clock.settle()

    assert receiver.told == [("done", str(job.id))]
    assert seen == ["work"]


# -- the door ----------------------------------------------------------------------------------------------------------


async def test_without_a_secret_no_callback_is_taken(make_app: MakeApp) -> None:
    async with make_app() as app:
        with pytest.raises(InvalidRequestError, match="CALLBACK_SECRET") as refused:
            await app.enqueue("work", callback=Callback(URL))

        assert refused.value.field == "callback"
        assert (await app.list_jobs()).jobs == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user:word@example.com/",
        "https://example.com/#part",
        "https://example.com:port/",
        "https://[::1/",
        "https://exämple.com/",
        "https://example.com/a b",
        "https://example.com/" + "a" * 2_048,
    ],
)
async def test_a_url_that_is_none_is_refused(app: TaskQ, url: str) -> None:
    async with app:
        with pytest.raises(InvalidRequestError) as refused:
            await app.enqueue("work", callback=Callback(url))

        assert refused.value.field == "callback.url"
        assert (await app.list_jobs()).jobs == []


@pytest.mark.parametrize("on", [(), ("ended",), "done", (["done"],)])
async def test_an_end_nobody_knows_is_refused(app: TaskQ, on: Any) -> None:
    async with app:
        with pytest.raises(InvalidRequestError) as refused:
            await app.enqueue("work", callback=Callback(URL, on=on))

    assert refused.value.field == "callback.on"


async def test_what_is_ours_is_not_to_be_sent(app: TaskQ) -> None:
    async with app:
        with pytest.raises(InvalidRequestError) as of_header:
            await app.enqueue("work", headers={CALLBACK_HEADER: "1"})
        with pytest.raises(InvalidRequestError) as of_type:
            await app.enqueue(CALLBACK_TYPE, {})

    assert (of_header.value.field, of_type.value.field) == ("headers", "type")


async def test_a_header_that_looks_like_ours_hastens_nothing(app: TaskQ, clock: FakeClock) -> None:
    async with app, app.workers(concurrency=1):
        app.callbacks.listen()
        job = await app.enqueue("work", headers={"x": CALLBACK_HEADER})
        await clock.settle()

        assert (await app.get(job.id)).status is Status.DONE


async def test_a_batch_brings_callbacks_for_those_that_asked(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    requests = [
        JobRequest("work"),
        JobRequest("work", callback=Callback(URL)),
        JobRequest("fail", callback=Callback(URL)),
    ]

    async with app, app.workers(concurrency=2):
        jobs = await app.enqueue_many(requests)
        await clock.settle()

    assert sorted(receiver.told) == sorted([("done", str(jobs[1].id)), ("dead", str(jobs[2].id))])


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_batch_refuses_the_job_whose_callback_is_none(app: TaskQ, atomic: bool) -> None:
    requests = [
        JobRequest("work", callback=Callback(URL)),
        JobRequest("work", callback=Callback("no")),
        JobRequest("work"),
    ]

    async with app:
        first, second, third = await app.door.submit_many(requests, atomic=atomic)
        stored = len((await app.list_jobs()).jobs)

    assert isinstance(second, InvalidRequestError)
    assert second.field == "callback.url"
    assert [isinstance(one, WithheldError) for one in (first, third)] == [atomic, atomic]
    assert stored == (0 if atomic else 3)


async def test_a_full_queue_of_callbacks_refuses_the_job(app: TaskQ) -> None:
    async with app:
        await app.enqueue("work", callback=Callback(URL))
        await app.queue(CALLBACK_QUEUE).configure(max_depth=1)
        with pytest.raises(QueueFullError) as full:
            await app.enqueue("work", callback=Callback(URL))

        assert full.value.queue == CALLBACK_QUEUE
        assert len((await app.list_jobs(job_type="work")).jobs) == 1


async def test_a_batch_says_which_job_found_no_room_for_its_key(
    make_app: MakeApp, clock: FakeClock, rng: Random
) -> None:
    backend = MemoryBackend(StoreLimits(max_idempotency_keys=1), clock=clock, rng=rng)
    requests = [JobRequest("work", callback=Callback(URL)), JobRequest("work", idempotency_key="new")]

    async with make_app(settings=SETTINGS, backend=backend) as app:
        await app.enqueue("work", idempotency_key="old")
        await app.create_queue(CALLBACK_QUEUE)
        withheld, full = await app.door.submit_many(requests, atomic=True)

    assert isinstance(withheld, WithheldError)
    assert isinstance(full, StoreFullError)


# -- once --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["idempotency_key", "unique_key"])
async def test_a_job_that_was_there_gets_no_second_callback(
    app: TaskQ, receiver: Receiver, clock: FakeClock, key: str
) -> None:
    async with app:
        first = await app.enqueue("work", callback=Callback(URL), **{key: "k"})  # type: ignore[arg-type]
        again = await app.enqueue("work", callback=Callback(URL), **{key: "k"})  # type: ignore[arg-type]
        waiting = [job for job in await callbacks(app) if job.status is Status.PENDING]
        async with app.workers(concurrency=2):
            await clock.advance(2)

    assert again.id == first.id
    assert again.was_there
    assert len(waiting) == 1
    assert receiver.told == [("done", str(first.id))]


async def test_a_key_with_another_callback_is_another_request(app: TaskQ) -> None:
    async with app:
        await app.enqueue("work", idempotency_key="k", callback=Callback(URL))
        with pytest.raises(InvalidRequestError, match="came before with another request"):
            await app.enqueue("work", idempotency_key="k", callback=Callback(URL, on=("done",)))


async def test_a_lost_answer_leaves_both_or_none(app: TaskQ, receiver: Receiver, clock: FakeClock) -> None:
    flaky = FlakyBackend()
    async with app.override(wrap=flaky.around):
        flaky.fail("enqueue")
        with pytest.raises(BackendUnavailableError) as unknown:
            await app.enqueue("work", callback=Callback(URL), idempotency_key="k")
        none = (await app.list_jobs()).jobs
        await app.create_queue(CALLBACK_QUEUE)
        flaky.lose_reply("enqueue")
        with pytest.raises(BackendUnavailableError):
            await app.enqueue("work", callback=Callback(URL), idempotency_key="k")
        again = await app.enqueue("work", callback=Callback(URL), idempotency_key="k")
        both = [job for job in (await app.list_jobs()).jobs if job.status is Status.PENDING]

    assert unknown.value.job_id is not None
    assert none == []
    assert again.was_there
    assert sorted(job.type for job in both) == [CALLBACK_TYPE, "work"]


async def test_who_has_no_callbacks_sees_nothing_of_them(app: TaskQ, clock: FakeClock) -> None:
    enqueued: list[str] = []
    app.observe(lambda event: enqueued.append(event.job.type), [JobEnqueued])  # type: ignore[union-attr]

    async with app, app.workers(concurrency=1):
        await app.enqueue("work")
        await clock.settle()
        queues, types = list(await app.queues()), app.job_types

    assert queues == ["default"]
    assert CALLBACK_TYPE not in types
    assert enqueued == ["work"]
    assert not app.callbacks._is_listening
