"""Rate limits: a queue takes as many jobs a second as its rule says, whoever sends them."""

from collections.abc import Sequence

from gotaskq.backend import Backend, Enqueued, EnqueueReply, Existing
from gotaskq.errors import Quota
from gotaskq.governing import Governor, GovernsQueues
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.keys import FoundBy, Idempotency
from gotaskq.outcome import Reschedule
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import Jobs, counted, counts, given_dead, given_running, lease_of
from gotaskq.testing.conformance.suite import ConformanceSuite

OK, TOO_FAST, WITHHELD = Enqueued.OK, Enqueued.TOO_FAST, Enqueued.WITHHELD


async def limit(backend: Backend, rate_limit: int | None, queue: str = DEFAULT_QUEUE) -> Governor:
    """Let a queue take so many jobs a second."""
    assert isinstance(backend, GovernsQueues)
    await backend.create_queue(queue)
    await backend.governor.change(queue, {"rate_limit": rate_limit})
    return backend.governor


class RateConformance(ConformanceSuite):
    async def test_a_queue_takes_a_second_s_worth_at_once_and_then_as_fast_as_it_may(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await limit(backend, 4)

        at_once = await backend.enqueue([job() for _ in range(6)])
        await clock.advance(0.5)
        later = await backend.enqueue([job() for _ in range(3)])
        await clock.advance(60)
        much_later = await backend.enqueue([job() for _ in range(5)])

        assert at_once == [OK] * 4 + [TOO_FAST] * 2
        assert later == [OK] * 2 + [TOO_FAST]
        assert much_later == [OK] * 4 + [TOO_FAST]

    async def test_a_refused_job_is_not_there_and_may_come_again(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await limit(backend, 1)
        await backend.enqueue([job()])
        refused = job()

        replies = await backend.enqueue([refused])
        seen = await backend.get(refused.id)
        await clock.advance(1)

        assert (replies, seen) == ([TOO_FAST], None)
        assert await backend.enqueue([refused]) == [OK]

    async def test_an_all_or_nothing_call_beyond_the_limit_spends_nothing(self, backend: Backend, job: Jobs) -> None:
        await limit(backend, 3)

        refused = await backend.enqueue([job() for _ in range(4)], atomic=True)
        taken = await backend.enqueue([job() for _ in range(3)], atomic=True)

        assert refused == [WITHHELD] * 3 + [TOO_FAST]
        assert taken == [OK] * 3
        assert await counts(backend) == counted(ready=3)

    async def test_what_was_stored_before_spends_nothing(self, backend: Backend, job: Jobs) -> None:
        await limit(backend, 2)
        request = Idempotency("d", "f")
        keyed, plain = job(request=request), job()
        await backend.enqueue([keyed, plain])

        replies: Sequence[EnqueueReply] = await backend.enqueue([plain, job(request=request), job()])

        assert replies == [Enqueued.DUPLICATE, Existing(keyed.id, FoundBy.IDEMPOTENCY_KEY), TOO_FAST]

    async def test_a_refused_job_takes_no_key(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await limit(backend, 1)
        await backend.enqueue([job()])
        first, again = (job(unique_key="k", request=Idempotency("d", "f")) for _ in range(2))

        replies = await backend.enqueue([first])
        await clock.advance(1)

        assert replies == [TOO_FAST]
        assert await backend.enqueue([again]) == [OK]

    async def test_each_queue_has_its_own_limit(self, backend: Backend, job: Jobs) -> None:
        await limit(backend, 1)
        await limit(backend, 2, "mail")
        await backend.create_queue("bulk")

        replies = await backend.enqueue([job(queue=queue) for queue in [DEFAULT_QUEUE, "mail", "bulk"] * 3])

        assert replies == [OK, OK, OK, TOO_FAST, OK, OK, TOO_FAST, TOO_FAST, OK]

    async def test_a_full_queue_is_full_whatever_its_rate(self, backend: Backend, job: Jobs) -> None:
        governor = await limit(backend, 2)
        await governor.change(DEFAULT_QUEUE, {"max_depth": 1})

        assert await backend.enqueue([job() for _ in range(3)]) == [OK, Enqueued.FULL, Enqueued.FULL]

    async def test_jobs_that_come_back_spend_nothing(self, backend: Backend, job: Jobs) -> None:
        await limit(backend, 3)
        retried, dead = await given_running(backend, job()), await given_dead(backend, job())
        await backend.settle([Reschedule(lease_of(retried), 0, "SMTPError: 421")])
        await backend.replay([dead.id])

        assert await backend.enqueue([job(), job()]) == [OK, TOO_FAST]

    async def test_a_limit_that_is_unset_holds_no_more(self, backend: Backend, job: Jobs) -> None:
        await limit(backend, 1)
        await backend.enqueue([job()])
        governor = await limit(backend, None)

        assert await backend.enqueue([job(), job()]) == [OK, OK]
        assert governor.quota(DEFAULT_QUEUE) is None

    async def test_what_is_left_is_told(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        governor = await limit(backend, 4)
        await backend.enqueue([job() for _ in range(3)])
        some = governor.quota(DEFAULT_QUEUE)
        await backend.enqueue([job() for _ in range(3)])
        none = governor.quota(DEFAULT_QUEUE)
        await clock.advance(0.5)

        assert (some, none) == (Quota(4, 1, 1), Quota(4, 0, 1))
        assert governor.quota(DEFAULT_QUEUE) == Quota(4, 2, 1)
        assert governor.quota("elsewhere") is None
