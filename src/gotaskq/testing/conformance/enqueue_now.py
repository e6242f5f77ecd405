"""Enqueue now: an ability a backend may have; it does what `enqueue` does, without waiting."""

from gotaskq.backend import Backend, Enqueued, EnqueuesNow
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import Jobs, counted, counts, enqueue, ids, look, reserve
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite
from gotaskq.testing.conformance.waiting import waiting


def able(backend: Backend) -> EnqueuesNow:
    assert isinstance(backend, EnqueuesNow)
    return backend


class EnqueuesNowConformance(ConformanceSuite):
    async def test_a_job_stored_now_is_stored_as_it_was_given(self, backend: Backend, job: Jobs) -> None:
        given = job(priority=7, delay_s=1.5)

        assert able(backend).enqueue_now(given) is Enqueued.OK
        assert await look(backend, given) == given
        assert await counts(backend) == counted(scheduled=1)

    async def test_a_job_stored_now_has_its_place_among_the_others(self, backend: Backend, job: Jobs) -> None:
        low, high = job(priority=0), job(priority=9)
        await enqueue(backend, low)

        able(backend).enqueue_now(high)

        assert ids(await reserve(backend)) == [high.id, low.id]

    async def test_what_enqueue_refuses_is_refused_now(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        given = job()

        replies = [
            able(backend).enqueue_now(one)
            for one in (given, given, job(job_id=given.id, nonce="another"), job(), job(queue="nowhere"))
        ]

        assert replies == [
            Enqueued.OK,
            Enqueued.DUPLICATE,
            Enqueued.COLLISION,
            Enqueued.FULL,
            Enqueued.NO_QUEUE,
        ]
        assert await look(backend, given) == given
        assert await counts(backend) == counted(ready=1)

    async def test_a_job_stored_now_wakes(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        async with waiting(backend, clock) as waiter:
            able(backend).enqueue_now(job())

            assert await waiter.is_woken()
