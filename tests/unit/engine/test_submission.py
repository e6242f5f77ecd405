"""Middleware around an enqueue: in order, once for each job, and one call to the store for those of one call."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import Raw
from msgspec.structs import replace

from gotaskq import Job, JobRequest, TaskQ
from gotaskq.engine.submission import EnqueueMiddleware, SubmitNext
from gotaskq.errors import BackendUnavailableError, InvalidRequestError, QueueNotFoundError, WithheldError
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock

seen: list[str] = []


def named(name: str) -> EnqueueMiddleware:
    async def note(request: JobRequest, call_next: SubmitNext) -> Job:
        seen.append(f"{name}>")
        job = await call_next(request)
        seen.append(f"<{name}")
        return job

    return note


async def raise_priority(request: JobRequest, call_next: SubmitNext) -> Job:
    return await call_next(replace(request, priority=9))


async def refuse_odd(request: JobRequest, call_next: SubmitNext) -> Job:
    if int(bytes(request.payload)) % 2:
        raise InvalidRequestError("odd", field="payload")
    return await call_next(request)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def make_app(*middleware: EnqueueMiddleware, clock: FakeClock | None = None) -> TaskQ:
    return TaskQ(enqueue_middleware=middleware, clock=clock or FakeClock())


def numbered(numbers: Sequence[int]) -> list[JobRequest]:
    return [TaskQ.job("email", number) for number in numbers]


async def test_the_first_is_the_outermost() -> None:
    async with make_app(named("a"), named("b")) as app:
        await app.enqueue("email")
        assert not app.door.is_immediate

    assert seen == ["a>", "b>", "<b", "<a"]


async def test_it_may_change_the_request() -> None:
    async with make_app(raise_priority) as app:
        job = await app.enqueue("email", priority=1)

        assert (job.priority, await app.get(job.id)) == (9, job)


async def test_it_may_refuse_and_then_nothing_is_stored() -> None:
    async with make_app(refuse_odd) as app:
        with pytest.raises(InvalidRequestError, match="odd"):
            await app.enqueue("email", 1)

        assert (await app.list_jobs()).jobs == []


async def test_it_may_answer_with_a_job_that_is_there() -> None:
    known: list[Job] = []

    async def once(request: JobRequest, call_next: SubmitNext) -> Job:
        if not known:
            known.append(await call_next(request))
        return known[0]

    async with make_app(once) as app:
        first, second = await app.enqueue("email"), await app.enqueue("email")
        [third] = await app.enqueue_many(numbered([1]))

        assert first == second == third
        assert len((await app.list_jobs()).jobs) == 1


async def test_what_the_store_says_comes_through_it() -> None:
    async def spare(request: JobRequest, call_next: SubmitNext) -> Job:
        try:
            return await call_next(request)
        except QueueNotFoundError:
            return await call_next(replace(request, queue="default"))

    async with make_app(spare) as app:
        assert (await app.enqueue("email", queue="nowhere")).queue == "default"


async def test_without_any_an_enqueue_is_immediate() -> None:
    async with TaskQ() as app:
        assert app.door.is_immediate


# ---- many at once


async def test_many_pass_one_by_one_and_are_stored_in_one_call() -> None:
    flaky = FlakyBackend()
    async with make_app(named("a"), raise_priority).override(wrap=flaky.around) as app:
        jobs = await app.enqueue_many(numbered(range(5)))

    assert [(job.payload, job.priority) for job in jobs] == [(number, 9) for number in range(5)]
    assert flaky.calls.count("enqueue") == 1
    assert seen == ["a>"] * 5 + ["<a"] * 5


async def test_of_no_jobs_there_is_nothing_to_pass() -> None:
    async with make_app(named("a")) as app:
        assert await app.enqueue_many([]) == []


async def test_all_or_none_holds_for_what_it_refuses() -> None:
    async with make_app(refuse_odd) as app:
        with pytest.raises(InvalidRequestError, match="odd"):
            await app.enqueue_many(numbered([0, 1, 2]))

        assert (await app.list_jobs()).jobs == []


async def test_each_is_answered_for_itself_where_each_is_stored_on_its_own() -> None:
    unread = InvalidRequestError("no JSON")
    async with make_app(refuse_odd) as app:
        answers = await app.door.submit_many(
            [*numbered([0, 1]), unread, replace(numbered([2])[0], queue="nowhere"), *numbered([4])], atomic=False
        )
        stored = [job.payload for job in (await app.list_jobs()).jobs]

    assert [type(answer) for answer in answers] == [
        Job,
        InvalidRequestError,
        InvalidRequestError,
        QueueNotFoundError,
        Job,
    ]
    assert answers[2] is unread
    assert stored == [4, 0]


async def test_one_that_the_store_refuses_withholds_the_others() -> None:
    async with make_app(named("a")) as app:
        answers = await app.door.submit_many([*numbered([0]), replace(numbered([1])[0], queue="nowhere")], atomic=True)

    assert [type(answer) for answer in answers] == [WithheldError, QueueNotFoundError]
    assert seen == ["a>", "a>"]


async def test_an_outage_is_raised_as_it_is() -> None:
    flaky = FlakyBackend()
    async with make_app(named("a")).override(wrap=flaky.around) as app:
        flaky.fail("enqueue")

        with pytest.raises(BackendUnavailableError):
            await app.enqueue_many(numbered([1, 2]))


async def test_a_middleware_that_breaks_breaks_the_call_and_stores_nothing() -> None:
    async def break_third(request: JobRequest, call_next: SubmitNext) -> Job:
        if bytes(request.payload) == b"3":
            raise ZeroDivisionError
        return await call_next(request)

    async with make_app(break_third) as app:
        with pytest.raises(ZeroDivisionError):
            await app.enqueue_many(numbered(range(5)))

        assert (await app.list_jobs()).jobs == []


async def test_of_many_none_may_be_stored_twice() -> None:
    async def twice(request: JobRequest, call_next: SubmitNext) -> Job:
        await call_next(request)
        return await call_next(request)

    async with make_app(twice) as app:
        with pytest.raises(RuntimeError, match="call_next twice"):
            await app.enqueue_many(numbered([1]))


async def test_one_that_waits_keeps_the_others_waiting() -> None:
    let_go = asyncio.Event()

    async def wait_for_it(request: JobRequest, call_next: SubmitNext) -> Job:
        if bytes(request.payload) == b"1":
            await let_go.wait()
        return await call_next(request)

    clock = FakeClock()
    async with make_app(wait_for_it, clock=clock) as app:
        enqueueing = asyncio.create_task(app.enqueue_many(numbered([0, 1])))
        await clock.settle()
        before = (await app.list_jobs()).jobs
        let_go.set()

        assert len(await enqueueing) == 2
        assert before == []


async def test_a_payload_is_what_middleware_makes_it() -> None:
    async def sign(request: JobRequest, call_next: SubmitNext) -> Job:
        return await call_next(replace(request, payload=Raw(b'{"signed":%b}' % bytes(request.payload))))

    async with make_app(sign) as app:
        assert (await app.enqueue("email", 1)).payload == {"signed": 1}
