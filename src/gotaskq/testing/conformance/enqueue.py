"""Enqueue: each job is stored whole or not at all, once, and as it was given."""

import asyncio

import pytest

from gotaskq.backend import Backend, Enqueued
from gotaskq.job import DEFAULT_QUEUE, Status
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    counted,
    counts,
    enqueue,
    given_cancelled,
    given_done,
    ids,
    lease_of,
    look,
    reserve,
    walk,
)
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite

PAYLOADS = {
    "null": b"null",
    "spaces": b' {"b" : 1,  "a":[ ] } ',
    "key twice": b'{"a":1,"a":2}',
    "number spelling": b"[1.0,1e5,1E+5,-0,0.10]",
    "number too large for a double": b"[1e400,123456789012345678901234567890]",
    "escapes": rb'"\u00e4\/\"\\"',
    "utf-8": '"äöü \U0001f600"'.encode(),
    "long": b'"' + b"x" * 1_000_000 + b'"',
}


class EnqueueConformance(ConformanceSuite):
    async def test_a_job_is_stored_as_it_was_given(self, backend: Backend, job: Jobs) -> None:
        given = job(job_type="invoice.print", priority=7, delay_s=1.5, max_retries=9, nonce="n")

        replies = await backend.enqueue([given])

        assert replies == [Enqueued.OK]
        assert await backend.get(given.id) == given

    @pytest.mark.parametrize("payload_json", PAYLOADS.values(), ids=list(PAYLOADS))
    async def test_a_payload_comes_back_verbatim(self, backend: Backend, job: Jobs, payload_json: bytes) -> None:
        given = job(payload_json=payload_json)

        await enqueue(backend, given)

        [running] = await reserve(backend)
        assert running.payload_json == payload_json
        assert (await look(backend, given)).payload_json == payload_json

    async def test_no_jobs_are_no_trouble(self, backend: Backend) -> None:
        assert await backend.enqueue([]) == []
        assert await backend.enqueue([], atomic=True) == []

    async def test_an_id_never_stored_is_not_found(self, backend: Backend, job: Jobs) -> None:
        assert await backend.get(job().id) is None

    async def test_the_same_call_again_stores_nothing(self, backend: Backend, job: Jobs) -> None:
        given = job()
        await enqueue(backend, given)

        again = await backend.enqueue([given])

        assert again == [Enqueued.DUPLICATE]
        assert await counts(backend) == counted(ready=1)
        assert ids(await reserve(backend)) == [given.id]

    async def test_the_same_job_twice_in_a_call_is_stored_once(self, backend: Backend, job: Jobs) -> None:
        given = job()

        assert await backend.enqueue([given, given]) == [Enqueued.OK, Enqueued.DUPLICATE]
        assert await counts(backend) == counted(ready=1)

    async def test_the_same_call_again_does_not_bring_back_a_job_that_ended(self, backend: Backend, job: Jobs) -> None:
        given = job()
        done = await given_done(backend, given)

        again = await backend.enqueue([given])

        assert again == [Enqueued.DUPLICATE]
        assert await look(backend, given) == done

    async def test_another_job_with_a_taken_id_collides(self, backend: Backend, job: Jobs) -> None:
        first = job(nonce="one")
        second = job(job_id=first.id, nonce="another", job_type="sms.send", priority=9)
        await enqueue(backend, first)

        reply = await backend.enqueue([second])

        assert reply == [Enqueued.COLLISION]
        assert await look(backend, first) == first
        assert await counts(backend) == counted(ready=1)

    async def test_a_full_queue_refuses(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=2))
        await backend.create_queue("other")
        stored, scheduled, refused, elsewhere = job(), job(delay_s=60), job(), job(queue="other")

        replies = await backend.enqueue([stored, scheduled, refused, elsewhere])

        assert replies == [Enqueued.OK, Enqueued.OK, Enqueued.FULL, Enqueued.OK]
        assert await backend.get(refused.id) is None
        assert await counts(backend) == counted(ready=1, scheduled=1)

    async def test_a_full_queue_refuses_those_who_come_alone_too(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=2))
        await backend.create_queue("other")
        given = [job(), job(delay_s=60), job(), job(queue="other"), job(queue="nowhere")]

        replies = [await backend.enqueue([one]) for one in given]
        again = [await backend.enqueue([one]) for one in (given[0], job(job_id=given[0].id, nonce="another"))]

        refused = [Enqueued.FULL], [Enqueued.OK], [Enqueued.NO_QUEUE]
        assert replies == [[Enqueued.OK], [Enqueued.OK], *refused]
        assert again == [[Enqueued.DUPLICATE], [Enqueued.COLLISION]]
        assert await counts(backend) == counted(ready=1, scheduled=1)

    async def test_a_full_queue_knows_its_duplicates(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        given = job()
        await enqueue(backend, given)

        again = await backend.enqueue([given, job(job_id=given.id, nonce="another")])

        assert again == [Enqueued.DUPLICATE, Enqueued.COLLISION]

    async def test_only_waiting_jobs_fill_a_queue(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        await enqueue(backend, job())
        await reserve(backend)
        await given_cancelled(backend, job())

        assert await backend.enqueue([job()]) == [Enqueued.OK]

    async def test_an_unknown_queue_stores_nothing(self, backend: Backend, job: Jobs) -> None:
        given = job(queue="nowhere")

        assert await backend.enqueue([given]) == [Enqueued.NO_QUEUE]
        assert await backend.get(given.id) is None
        assert "nowhere" not in await backend.queues()

    async def test_each_job_is_stored_on_its_own(self, backend: Backend, job: Jobs) -> None:
        first, lost, last = job(), job(queue="nowhere"), job()

        replies = await backend.enqueue([first, lost, last])

        assert replies == [Enqueued.OK, Enqueued.NO_QUEUE, Enqueued.OK]
        assert await walk(backend) == [last.id, first.id]

    async def test_a_deleted_job_can_be_stored_again(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given, later = job(), job(delay_s=60)
        for cancelled in (given, later):
            await given_cancelled(backend, cancelled)
        await backend.delete([given.id, later.id])
        as_scheduled = job(job_id=given.id, delay_s=30)
        as_ready = job(job_id=later.id)

        replies = await backend.enqueue([as_scheduled, as_ready])

        assert replies == [Enqueued.OK, Enqueued.OK]
        assert await walk(backend) == [later.id, given.id]
        assert await counts(backend) == counted(ready=1, scheduled=1)
        assert ids(await reserve(backend, limit=1)) == [later.id]
        assert await reserve(backend, limit=1) == []
        await clock.advance(60)
        assert await counts(backend) == counted(ready=1, running=1)
        assert ids(await reserve(backend, limit=1)) == [given.id]

    async def test_the_id_of_a_deleted_job_is_free_for_any_queue(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await backend.create_queue("mail")
        at_once, later = job(), job(delay_s=5)
        for gone in (at_once, later):
            await given_cancelled(backend, gone)
        await backend.delete([at_once.id, later.id])
        elsewhere = [job(job_id=gone.id, nonce="another", queue="mail") for gone in (at_once, later)]
        next_one = job()
        await enqueue(backend, *elsewhere, next_one)

        assert ids(await reserve(backend, limit=1)) == [next_one.id]
        await clock.advance(5)
        assert await backend.promote(limit=9) == 0
        assert await backend.queues() == {DEFAULT_QUEUE: counted(running=1), "mail": counted(ready=2)}
        assert ids(await reserve(backend, "mail")) == ids(elsewhere)

    async def test_many_callers_at_once_lose_nothing(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(50)]

        async with asyncio.TaskGroup() as callers:
            for one in given:
                callers.create_task(enqueue(backend, one))

        assert sorted(await walk(backend)) == sorted(ids(given))
        assert await counts(backend) == counted(ready=50)

    async def test_many_callers_at_once_do_not_overfill(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=10))

        async with asyncio.TaskGroup() as callers:
            calls = [callers.create_task(backend.enqueue([job(), job()])) for _ in range(10)]

        replies = [reply for call in calls for reply in call.result()]
        assert replies.count(Enqueued.OK) == 10
        assert replies.count(Enqueued.FULL) == 10
        assert await counts(backend) == counted(ready=10)


class AtomicEnqueueConformance(ConformanceSuite):
    async def test_together_all_are_stored(self, backend: Backend, job: Jobs) -> None:
        given = [job(), job(delay_s=5), job()]

        replies = await backend.enqueue(given, atomic=True)

        assert replies == [Enqueued.OK] * 3
        assert await counts(backend) == counted(ready=2, scheduled=1)

    async def test_together_or_none(self, backend: Backend, job: Jobs) -> None:
        taken = job(nonce="one")
        await enqueue(backend, taken)
        given = [job(), job(job_id=taken.id, nonce="another"), job(queue="nowhere"), job()]

        replies = await backend.enqueue(given, atomic=True)

        assert replies == [Enqueued.WITHHELD, Enqueued.COLLISION, Enqueued.NO_QUEUE, Enqueued.WITHHELD]
        assert await walk(backend) == [taken.id]
        assert await counts(backend) == counted(ready=1)

    async def test_together_they_must_fit(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=3))
        await enqueue(backend, job(delay_s=60))

        refused = await backend.enqueue([job(), job(), job()], atomic=True)
        stored = await backend.enqueue([job(), job()], atomic=True)

        assert Enqueued.FULL in refused
        assert set(refused) <= {Enqueued.FULL, Enqueued.WITHHELD}
        assert stored == [Enqueued.OK, Enqueued.OK]
        assert await counts(backend) == counted(ready=2, scheduled=1)

    async def test_the_same_atomic_call_again_stores_nothing(self, backend: Backend, job: Jobs) -> None:
        given = [job(), job()]
        await backend.enqueue(given, atomic=True)

        again = await backend.enqueue(given, atomic=True)

        assert again == [Enqueued.DUPLICATE] * 2
        assert await counts(backend) == counted(ready=2)

    async def test_a_duplicate_is_no_obstacle_to_the_others(self, backend: Backend, job: Jobs) -> None:
        known, new = job(), job()
        await enqueue(backend, known)

        assert await backend.enqueue([known, new], atomic=True) == [Enqueued.DUPLICATE, Enqueued.OK]

    async def test_what_was_stored_before_is_not_withheld(self, backend: Backend, job: Jobs) -> None:
        known, new = job(), job()
        await enqueue(backend, known)

        replies = await backend.enqueue([known, new, new, job(queue="nowhere")], atomic=True)

        assert replies == [Enqueued.DUPLICATE, Enqueued.WITHHELD, Enqueued.WITHHELD, Enqueued.NO_QUEUE]
        assert await walk(backend) == [known.id]

    async def test_one_job_twice_in_an_atomic_call_needs_one_place(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        given = job()

        assert await backend.enqueue([given, given], atomic=True) == [Enqueued.OK, Enqueued.DUPLICATE]
        assert await counts(backend) == counted(ready=1)

    async def test_two_jobs_of_an_atomic_call_can_collide(self, backend: Backend, job: Jobs) -> None:
        first = job(nonce="one")
        second = job(job_id=first.id, nonce="another")

        replies = await backend.enqueue([first, second], atomic=True)

        assert replies == [Enqueued.WITHHELD, Enqueued.COLLISION]
        assert await backend.get(first.id) is None

    async def test_what_was_withheld_can_be_stored_later(self, backend: Backend, job: Jobs) -> None:
        given = job()
        await backend.enqueue([given, job(queue="nowhere")], atomic=True)

        assert await backend.enqueue([given]) == [Enqueued.OK]
        [running] = await reserve(backend)
        assert lease_of(running).job_id == given.id
        assert running.status is Status.RUNNING
