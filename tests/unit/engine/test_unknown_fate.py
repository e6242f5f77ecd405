"""A call with many jobs of which the store did not answer for all: each job has what is known of it, and no more."""

from collections.abc import Sequence
from random import Random
from typing import cast

import pytest

from gotaskq import TaskQ
from gotaskq.assembly import submit_all
from gotaskq.backend import Backend, Enqueued, Existing
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.refusal import refusal_of
from gotaskq.engine.requests import JobRequest
from gotaskq.engine.submission import SubmitNext
from gotaskq.engine.ways import Answers
from gotaskq.errors import (
    BackendUnavailableError,
    InvalidRequestError,
    QueueFullError,
    StoreFullError,
    UnavailableError,
    WithheldError,
)
from gotaskq.events import JobEnqueued
from gotaskq.job import Job, JobId
from gotaskq.keys import FoundBy
from gotaskq.partly_stored import PartlyStoredError, Told
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock

AWAY = BackendUnavailableError("redis://:hunter2@cache: EOF")
FULL = StoreFullError(7)
MAX_DEPTH = 9


class Answering:
    """A store that answers calls as it was told, one after the other; it shows no job it is asked for."""

    def __init__(self, *answers: Sequence[Told] | UnavailableError) -> None:
        self._answers = list(answers)
        self.calls: list[list[Job]] = []
        self.asked_for: list[JobId] = []

    async def enqueue(self, jobs: Sequence[Job], *, atomic: bool = False) -> list[Told]:
        self.calls.append(list(jobs))
        answer = self._answers.pop(0)
        if isinstance(answer, UnavailableError):
            raise answer
        if any(isinstance(reply, UnavailableError) for reply in answer):
            raise PartlyStoredError(answer)
        return list(answer)

    async def get(self, job_id: JobId) -> Job | None:
        self.asked_for.append(job_id)
        raise AWAY


@pytest.fixture
def announced() -> list[JobId]:
    return []


def door_to(store: Answering, announced: list[JobId], clock: FakeClock) -> Admission:
    bus = EventBus()
    bus.subscribe(JobEnqueued, lambda event: announced.append(event.job.id))
    return Admission(
        cast("Backend", store),
        bus=bus,
        clock=clock,
        rng=Random(1),
        ordering=PriorityFifo(),
        max_retries=4,
        max_queue_depth=MAX_DEPTH,
    )


def shown(answers: Answers) -> list[type | JobId | None]:
    """Return for each answer the id of a job of unknown fate, else its kind."""
    return [answer.job_id if isinstance(answer, BackendUnavailableError) else type(answer) for answer in answers]


async def test_what_is_stored_is_announced_and_the_rest_is_as_it_is_known(
    announced: list[JobId], clock: FakeClock
) -> None:
    store = Answering([Enqueued.OK, AWAY, FULL, Enqueued.FULL])
    door = door_to(store, announced, clock)

    answers = await door.submit_many([JobRequest("a") for _ in range(4)], atomic=False)

    [[stored, unknown, *_]] = store.calls
    assert shown(answers) == [Job, unknown.id, StoreFullError, QueueFullError]
    assert announced == [stored.id]
    assert refusal_of(answers) is None


async def test_when_the_store_says_nothing_the_fate_of_all_that_were_sent_is_unknown(
    announced: list[JobId], clock: FakeClock
) -> None:
    store = Answering(AWAY)
    door = door_to(store, announced, clock)

    answers = await door.submit_many([JobRequest("a"), JobRequest(""), JobRequest("a")], atomic=False)

    refusal = refusal_of(answers)
    sent = [job.id for job in store.calls[0]]
    assert shown(answers) == [sent[0], InvalidRequestError, sent[1]]
    assert isinstance(refusal, BackendUnavailableError)
    assert (refusal.job_ids, refusal.job_id) == (tuple(sent), None)
    assert announced == []


async def test_a_full_store_is_certain(announced: list[JobId], clock: FakeClock) -> None:
    door = door_to(Answering(FULL), announced, clock)

    answers = await door.submit_many([JobRequest("a"), JobRequest("a")], atomic=False)

    assert answers == [FULL, FULL]
    assert refusal_of(answers) is FULL


async def test_what_was_stored_before_an_id_was_drawn_again_stays_stored(
    announced: list[JobId], clock: FakeClock
) -> None:
    store = Answering([Enqueued.OK, Enqueued.COLLISION], AWAY)
    door = door_to(store, announced, clock)

    answers = await door.submit_many([JobRequest("a"), JobRequest("a")], atomic=False)

    [_, [stored, unknown]] = store.calls
    assert shown(answers) == [Job, unknown.id]
    assert announced == [stored.id]


async def test_what_is_unknown_is_not_sent_again_for_an_id_that_is_taken(
    announced: list[JobId], clock: FakeClock
) -> None:
    store = Answering([AWAY, Enqueued.COLLISION])
    door = door_to(store, announced, clock)

    answers = await door.submit_many([JobRequest("a"), JobRequest("a")], atomic=False)

    [[unknown, _]] = store.calls
    assert shown(answers) == [unknown.id, None]


async def test_the_jobs_that_are_there_by_a_key_are_named_by_their_own_ids_and_waited_for_once(
    announced: list[JobId], clock: FakeClock
) -> None:
    there = [JobId(number) for number in (7, 8)]
    store = Answering([AWAY, *(Existing(job_id, FoundBy.IDEMPOTENCY_KEY) for job_id in there), Enqueued.OK])
    door = door_to(store, announced, clock)

    answers = await door.submit_many([JobRequest("a", idempotency_key=key) for key in "xyzw"], atomic=False)

    [[unknown, *_, stored]] = store.calls
    assert shown(answers) == [unknown.id, *there, Job]
    assert store.asked_for == there[:1]
    assert announced == [stored.id]


async def test_a_call_of_the_library_names_all_its_jobs(announced: list[JobId], clock: FakeClock) -> None:
    store = Answering(AWAY)

    with pytest.raises(BackendUnavailableError, match="EOF") as error:
        await submit_all(door_to(store, announced, clock), [JobRequest("a"), JobRequest("b")])

    assert error.value.job_ids == tuple(job.id for job in store.calls[0])


async def test_behind_middleware_each_job_has_its_own_error() -> None:
    seen: list[JobId | None] = []

    async def watch(request: JobRequest, call_next: SubmitNext) -> Job:
        try:
            return await call_next(request)
        except BackendUnavailableError as error:
            seen.append(error.job_id)
            raise

    flaky = FlakyBackend()
    async with TaskQ(enqueue_middleware=[watch], clock=FakeClock()).override(wrap=flaky.around) as app:
        flaky.lose_reply("enqueue")
        with pytest.raises(BackendUnavailableError) as error:
            await app.enqueue_many([app.job("a"), app.job("a")])

    assert None not in seen
    assert error.value.job_ids == tuple(seen)


def test_of_refusals_the_first_speaks_that_says_more_than_that_another_was_refused() -> None:
    wrong = InvalidRequestError("type is required", field="type")

    assert refusal_of([WithheldError(), wrong, FULL]) is wrong
    assert refusal_of([]) is None
