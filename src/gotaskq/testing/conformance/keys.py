"""Keys: a request that comes again makes no new job, and one job at most with a unique key waits or runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from msgspec.structs import replace

from gotaskq.backend import Backend, Enqueued, Existing
from gotaskq.errors import InvalidRequestError
from gotaskq.job import DEFAULT_QUEUE, Job, Status
from gotaskq.keys import NO_KEYS, FoundBy, Idempotency, Keys
from gotaskq.outcome import Cancel, Release
from gotaskq.policies.scheduling import Turn
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    LEASE_S,
    Jobs,
    counted,
    counts,
    die,
    enqueue,
    fail,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    ids,
    lease_of,
    look,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite

KEY: Final = "w:1"
MAX_CRASHES: Final = 3
ASKED: Final = Idempotency("d1", "f1")  # a request
OTHERWISE: Final = Idempotency("d1", "f2")  # another with the same key
TTL_S: Final = 86_400


def by_unique_key(job: Job) -> Existing:
    return Existing(job.id, FoundBy.UNIQUE_KEY)


def by_request(job: Job) -> Existing:
    return Existing(job.id, FoundBy.IDEMPOTENCY_KEY)


async def given_waiting(backend: Backend, job: Job) -> Job:
    await enqueue(backend, job)
    return await look(backend, job)


async def given_delayed(backend: Backend, job: Job) -> Job:
    return await given_waiting(backend, replace(job, delay_ms=60_000, run_after_ms=job.run_after_ms + 60_000))


async def given_retrying(backend: Backend, job: Job) -> Job:
    return await fail(backend, await given_running(backend, job), delay_s=30)


async def given_released(backend: Backend, job: Job) -> Job:
    running = await given_running(backend, job)
    await backend.settle([Release(lease_of(running), 0, is_unhandled=False)])
    return await look(backend, job)


async def given_cancelled_by_holder(backend: Backend, job: Job) -> Job:
    running = await given_running(backend, job)
    await backend.cancel(job.id)
    await backend.settle([Cancel(lease_of(running))])
    return await look(backend, job)


async def given_cancelled_instead_of_retried(backend: Backend, job: Job) -> Job:
    running = await given_running(backend, job)
    await backend.cancel(job.id)
    await backend.settle([Release(lease_of(running), 0, is_unhandled=False)])
    return await look(backend, job)


Bring = Callable[[Backend, Job], Awaitable[Job]]
ALIVE: Final = [given_waiting, given_delayed, given_running, given_retrying, given_released]
ENDED: Final = [
    given_done,
    given_dead,
    given_cancelled,
    given_cancelled_by_holder,
    given_cancelled_instead_of_retried,
]


class KeptOrRefusedConformance(ConformanceSuite):
    async def test_a_key_is_kept_or_refused(self, backend: Backend, job: Jobs) -> None:
        first = job(unique_key=KEY)

        try:
            replies = [*await backend.enqueue([first]), *await backend.enqueue([job(unique_key=KEY)])]
        except InvalidRequestError:
            replies = []  # a store that keeps none says so

        assert replies in ([], [Enqueued.OK, by_unique_key(first)])


class UniqueConformance(ConformanceSuite):
    async def test_a_job_is_stored_with_its_unique_key(self, backend: Backend, job: Jobs) -> None:
        given = job(unique_key=KEY)

        await enqueue(backend, given)

        assert await look(backend, given) == given

    @pytest.mark.parametrize("bring", ALIVE, ids=lambda bring: bring.__name__)
    async def test_the_key_of_a_job_that_waits_or_runs_is_taken(
        self, backend: Backend, job: Jobs, bring: Bring
    ) -> None:
        alive = await bring(backend, job(unique_key=KEY))

        replies = await backend.enqueue([job(unique_key=KEY), job(unique_key="w:2"), job()])

        assert replies == [by_unique_key(alive), Enqueued.OK, Enqueued.OK]
        assert await look(backend, alive) == alive

    @pytest.mark.parametrize("bring", ENDED, ids=lambda bring: bring.__name__)
    async def test_the_key_of_a_job_that_has_ended_is_free(self, backend: Backend, job: Jobs, bring: Bring) -> None:
        ended = await bring(backend, job(unique_key=KEY))
        next_one = job(unique_key=KEY)

        replies = await backend.enqueue([next_one, job(unique_key=KEY)])

        assert ended.status not in (Status.PENDING, Status.RUNNING)
        assert replies == [Enqueued.OK, by_unique_key(next_one)]
        assert await look(backend, ended) == ended

    async def test_a_key_is_one_for_all_queues(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        first = job(unique_key=KEY)

        replies = await backend.enqueue([first, job(unique_key=KEY, queue="mail")])

        assert replies == [Enqueued.OK, by_unique_key(first)]

    async def test_the_same_enqueue_again_is_a_duplicate_all_the_same(self, backend: Backend, job: Jobs) -> None:
        given = job(unique_key=KEY, request=ASKED)
        await enqueue(backend, given)

        assert await backend.enqueue([given]) == [Enqueued.DUPLICATE]

    async def test_what_is_refused_takes_no_key(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        await backend.create_queue("mail")
        await enqueue(backend, job())

        refused = [job(unique_key=KEY), job(unique_key=KEY, queue="nowhere", request=ASKED)]
        replies = await backend.enqueue([*refused, job(unique_key=KEY, queue="mail", request=ASKED)])

        assert replies == [Enqueued.FULL, Enqueued.NO_QUEUE, Enqueued.OK]

    async def test_a_job_that_is_there_is_found_though_its_queue_is_full(
        self, backend_with: BackendMaker, job: Jobs
    ) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        first = job(unique_key=KEY)
        await enqueue(backend, first)

        assert await backend.enqueue([job(unique_key=KEY), job()]) == [by_unique_key(first), Enqueued.FULL]

    async def test_a_job_that_lost_its_worker_keeps_its_key_until_it_dies(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        first = job(unique_key=KEY)
        await enqueue(backend, first)

        for crash in range(1, MAX_CRASHES + 1):
            assert await backend.enqueue([job(unique_key=KEY)]) == [by_unique_key(first)]
            await _lose(backend, clock)
            assert (await look(backend, first)).crashes == crash

        assert await backend.enqueue([job(unique_key=KEY)]) == [Enqueued.OK]

    async def test_a_cancelled_job_that_lost_its_worker_frees_its_key(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        running = await given_running(backend, job(unique_key=KEY))
        await backend.cancel(running.id)

        taken = await backend.enqueue([job(unique_key=KEY)])
        await clock.advance(LEASE_S + 0.001)
        await backend.reap(limit=1, max_crashes=MAX_CRASHES)

        assert taken == [by_unique_key(running)]
        assert await backend.enqueue([job(unique_key=KEY)]) == [Enqueued.OK]

    async def test_a_job_that_waited_too_long_frees_its_key(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, job(unique_key=KEY, schedule_s=5))

        await clock.advance(5.001)
        await backend.expire(limit=1)

        assert await backend.enqueue([job(unique_key=KEY)]) == [Enqueued.OK]

    async def test_a_replayed_job_takes_its_key_again(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job(unique_key=KEY))

        [replayed] = await backend.replay([dead.id])

        assert replayed.unique_key == KEY
        assert await backend.enqueue([job(unique_key=KEY)]) == [by_unique_key(dead)]

    async def test_a_dead_job_is_not_replayed_while_another_has_its_key(self, backend: Backend, job: Jobs) -> None:
        dead = await given_dead(backend, job(unique_key=KEY))
        twin = job(unique_key=KEY)
        running = await given_running(backend, twin)

        refused = await backend.replay([dead.id])

        assert refused == []
        assert await look(backend, dead) == dead
        assert await counts(backend) == counted(running=1, dead=1)
        await die(backend, running)
        assert ids(await backend.replay([dead.id, twin.id])) == [dead.id]

    async def test_deleting_a_job_frees_no_key_of_another(self, backend: Backend, job: Jobs) -> None:
        done = await given_done(backend, job(unique_key=KEY))
        twin = job(unique_key=KEY)
        await enqueue(backend, twin)

        assert await backend.delete([done.id]) == 1
        assert await backend.enqueue([job(unique_key=KEY)]) == [by_unique_key(twin)]

    async def test_of_many_at_once_one_is_stored(self, backend: Backend, job: Jobs) -> None:
        jobs = [job(unique_key=KEY) for _ in range(50)]

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(backend.enqueue([one])) for one in jobs]

        replies = [call.result()[0] for call in calls]
        stored = jobs[replies.index(Enqueued.OK)]
        assert replies.count(Enqueued.OK) == 1
        assert replies.count(by_unique_key(stored)) == 49
        assert await counts(backend) == counted(ready=1)


async def _lose(backend: Backend, clock: MovableClock) -> None:
    """Let a worker take the next job and vanish with it."""
    await clock.advance(LEASE_S)  # past the pause before a last chance
    [running] = await backend.reserve([Turn(DEFAULT_QUEUE, 1)], limit=1, lease_ms=LEASE_S * 1000, worker="lost")
    await clock.advance(LEASE_S + 0.001)
    assert ids(await backend.reap(limit=9, max_crashes=MAX_CRASHES)) == [running.id]


class IdempotencyConformance(ConformanceSuite):
    async def test_what_a_job_was_asked_by_is_not_kept_with_it(self, backend: Backend, job: Jobs) -> None:
        given = job(unique_key=KEY, request=ASKED)

        await enqueue(backend, given)

        assert await look(backend, given) == replace(given, keys=Keys(KEY))

    async def test_a_request_that_comes_again_makes_no_new_job(self, backend: Backend, job: Jobs) -> None:
        first = job(request=ASKED)

        replies = await backend.enqueue([first, job(request=ASKED), job(request=Idempotency("d2", "f1"))])

        assert replies == [Enqueued.OK, by_request(first), Enqueued.OK]
        assert (await look(backend, first)).keys == NO_KEYS
        assert (await counts(backend)).ready == 2

    async def test_another_request_with_the_same_key_is_refused(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, job(request=ASKED))

        assert await backend.enqueue([job(request=OTHERWISE)]) == [Enqueued.KEY_REUSED]
        assert (await counts(backend)).ready == 1

    @pytest.mark.parametrize("bring", ENDED, ids=lambda bring: bring.__name__)
    async def test_it_stands_for_a_job_that_has_ended(self, backend: Backend, job: Jobs, bring: Bring) -> None:
        ended = await bring(backend, job(request=ASKED))

        assert await backend.enqueue([job(request=ASKED)]) == [by_request(ended)]

    async def test_it_stands_for_a_job_that_is_gone(self, backend: Backend, job: Jobs) -> None:
        gone = await given_done(backend, job(request=ASKED))
        await backend.delete([gone.id])

        replies = await backend.enqueue([job(request=ASKED), job(request=OTHERWISE)])

        assert replies == [by_request(gone), Enqueued.KEY_REUSED]
        assert await backend.get(gone.id) is None

    async def test_it_counts_for_its_time_from_the_first_on(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        first = job(request=ASKED)
        await enqueue(backend, first)

        await clock.advance(TTL_S - 0.001)
        late = await backend.enqueue([job(request=ASKED)])
        await clock.advance(0.002)
        await backend.prune(limit=9)
        too_late = await backend.enqueue([job(request=OTHERWISE)])

        assert (late, too_late) == ([by_request(first)], [Enqueued.OK])

    async def test_a_request_that_found_a_job_by_its_unique_key_finds_it_again(
        self, backend: Backend, job: Jobs
    ) -> None:
        running = await given_running(backend, job(unique_key=KEY))

        found = await backend.enqueue([job(unique_key=KEY, request=ASKED)])
        await die(backend, running)
        again = await backend.enqueue([job(unique_key=KEY, request=ASKED), job(unique_key=KEY, request=OTHERWISE)])

        assert found == [by_unique_key(running)]
        assert again == [by_request(running), Enqueued.KEY_REUSED]

    async def test_of_many_at_once_one_is_stored_for_a_request(self, backend: Backend, job: Jobs) -> None:
        jobs = [job(request=ASKED) for _ in range(50)]

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(backend.enqueue([one])) for one in jobs]

        replies = [call.result()[0] for call in calls]
        stored = jobs[replies.index(Enqueued.OK)]
        assert replies.count(by_request(stored)) == 49
        assert await counts(backend) == counted(ready=1)


class AtomicKeysConformance(ConformanceSuite):
    async def test_jobs_that_are_there_are_no_reason_to_withhold_others(self, backend: Backend, job: Jobs) -> None:
        alive, asked = job(unique_key=KEY), job(request=ASKED)
        await enqueue(backend, alive, asked)

        replies = await backend.enqueue([job(unique_key=KEY), job(request=ASKED), job()], atomic=True)

        assert replies == [by_unique_key(alive), by_request(asked), Enqueued.OK]

    async def test_a_key_reused_withholds_the_others(self, backend: Backend, job: Jobs) -> None:
        alive = job(unique_key=KEY)
        await enqueue(backend, alive, job(request=ASKED))

        replies = await backend.enqueue(
            [job(), job(unique_key=KEY), job(request=OTHERWISE), job(unique_key="w:2")], atomic=True
        )

        assert replies == [Enqueued.WITHHELD, by_unique_key(alive), Enqueued.KEY_REUSED, Enqueued.WITHHELD]
        assert await backend.enqueue([job(unique_key="w:2")]) == [Enqueued.OK]

    async def test_a_key_that_comes_twice_in_a_call_finds_the_first(self, backend: Backend, job: Jobs) -> None:
        unique, asked = job(unique_key=KEY), job(request=ASKED)

        replies = await backend.enqueue([unique, asked, job(request=ASKED), job(unique_key=KEY)], atomic=True)

        assert replies == [Enqueued.OK, Enqueued.OK, by_request(asked), by_unique_key(unique)]

    async def test_what_would_be_found_within_a_call_that_is_refused_is_withheld(
        self, backend: Backend, job: Jobs
    ) -> None:
        replies = await backend.enqueue(
            [job(unique_key=KEY, request=ASKED), job(unique_key=KEY), job(request=OTHERWISE), job(request=ASKED)],
            atomic=True,
        )

        assert replies == [Enqueued.WITHHELD, Enqueued.WITHHELD, Enqueued.KEY_REUSED, Enqueued.WITHHELD]
        assert await counts(backend) == counted()
        assert await backend.enqueue([job(unique_key=KEY, request=OTHERWISE)]) == [Enqueued.OK]

    async def test_a_job_found_within_a_call_takes_no_place(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=2))
        first = job(unique_key=KEY)

        replies = await backend.enqueue([first, job(unique_key=KEY), job()], atomic=True)

        assert replies == [Enqueued.OK, by_unique_key(first), Enqueued.OK]
