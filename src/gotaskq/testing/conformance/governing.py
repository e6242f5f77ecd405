"""Queues that are governed one by one: their rules, the age of their oldest ready job, purging and deleting them."""

import pytest

from gotaskq.backend import Backend, Enqueued, QueueCounts
from gotaskq.errors import InvalidRequestError, QueueNotFoundError
from gotaskq.governing import Governor, GovernsQueues
from gotaskq.job import DEFAULT_QUEUE
from gotaskq.outcome import Complete, Reschedule
from gotaskq.queue_rules import NO_RULES, QueueRules
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    ALL,
    Jobs,
    counted,
    counts,
    enqueue,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    ids,
    lease_of,
    reserve,
)
from gotaskq.testing.conformance.own_retention import OwnRetentionConformance
from gotaskq.testing.conformance.rates import RateConformance
from gotaskq.testing.conformance.suite import BackendMaker, ConformanceSuite


def governor_of(backend: Backend) -> Governor:
    assert isinstance(backend, GovernsQueues)
    return backend.governor


class RulesConformance(ConformanceSuite):
    async def test_a_queue_has_no_rules_at_first(self, backend: Backend) -> None:
        governor = governor_of(backend)

        assert await governor.rules_of(DEFAULT_QUEUE) == NO_RULES
        assert dict(governor.rules) == {}

    async def test_rules_are_set_one_by_one(self, backend: Backend) -> None:
        governor = governor_of(backend)
        await governor.change(DEFAULT_QUEUE, {"max_depth": 7, "ordering": "fifo", "is_draining": True})

        rules = await governor.change(DEFAULT_QUEUE, {"max_retries": 0, "max_age_ms": 1_500, "ordering": None})

        assert rules == QueueRules(max_depth=7, max_retries=0, max_age_ms=1_500, is_draining=True)
        assert await governor.rules_of(DEFAULT_QUEUE) == rules
        assert dict(governor.rules) == {DEFAULT_QUEUE: rules}

    async def test_rules_that_are_unset_leave_nothing_behind(self, backend: Backend) -> None:
        governor = governor_of(backend)
        await governor.change(DEFAULT_QUEUE, {"rate_limit": 7, "is_draining": True})

        rules = await governor.change(DEFAULT_QUEUE, {"rate_limit": None, "is_draining": False})

        assert rules == NO_RULES
        assert dict(governor.rules) == {}

    async def test_rules_that_contradict_each_other_are_refused(self, backend: Backend) -> None:
        governor = governor_of(backend)
        await governor.change(DEFAULT_QUEUE, {"max_delay_ms": 1_000})

        with pytest.raises(InvalidRequestError) as error:
            await governor.change(DEFAULT_QUEUE, {"base_delay_ms": 1_001})

        assert error.value.field == "base_delay"
        assert await governor.rules_of(DEFAULT_QUEUE) == QueueRules(max_delay_ms=1_000)

    async def test_the_mapping_of_rules_stays_the_same(self, backend: Backend) -> None:
        governor = governor_of(backend)
        rules = governor.rules

        await governor.change(DEFAULT_QUEUE, {"max_depth": 7})

        assert governor.rules is rules
        assert dict(rules) == {DEFAULT_QUEUE: QueueRules(max_depth=7)}

    async def test_a_queue_that_is_not_there_cannot_be_governed(self, backend: Backend) -> None:
        governor = governor_of(backend)

        for call in (
            governor.rules_of("nowhere"),
            governor.change("nowhere", {"max_depth": 7}),
            governor.purge("nowhere", limit=1),
            governor.delete("nowhere"),
        ):
            with pytest.raises(QueueNotFoundError):
                await call

    async def test_a_queue_takes_as_many_jobs_as_its_own_limit_says(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        await governor_of(backend).change("mail", {"max_depth": 2})

        replies = await backend.enqueue([*(job(queue="mail", delay_s=place) for place in range(3)), job()])

        assert replies == [Enqueued.OK, Enqueued.OK, Enqueued.FULL, Enqueued.OK]

    async def test_an_own_limit_holds_for_all_or_none_too(self, backend: Backend, job: Jobs) -> None:
        await governor_of(backend).change(DEFAULT_QUEUE, {"max_depth": 2})

        replies = await backend.enqueue([job() for _ in range(3)], atomic=True)

        assert replies == [Enqueued.WITHHELD, Enqueued.WITHHELD, Enqueued.FULL]

    async def test_an_own_limit_may_be_above_the_stores(self, backend_with: BackendMaker, job: Jobs) -> None:
        backend = await backend_with(StoreLimits(max_queue_depth=1))
        await backend.create_queue("mail")
        await governor_of(backend).change("mail", {"max_depth": 2})

        replies = await backend.enqueue([job(queue=queue) for queue in ("mail", "mail", DEFAULT_QUEUE, DEFAULT_QUEUE)])

        assert replies == [Enqueued.OK, Enqueued.OK, Enqueued.OK, Enqueued.FULL]


class AgeConformance(ConformanceSuite):
    async def test_a_queue_without_ready_jobs_has_no_age(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await given_running(backend, job())
        await enqueue(backend, job(delay_s=60))
        await clock.advance(10)

        assert await governor_of(backend).ages_ms([DEFAULT_QUEUE]) == [0]

    async def test_the_age_is_that_of_the_oldest_whatever_its_priority(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, job(priority=0))
        await clock.advance(5)
        await enqueue(backend, job(priority=10))
        await clock.advance(2)
        governor = governor_of(backend)
        before = await governor.ages_ms([DEFAULT_QUEUE])

        [urgent] = await reserve(backend, limit=1)
        between = await governor.ages_ms([DEFAULT_QUEUE])
        await reserve(backend, limit=1)

        assert urgent.priority == 10
        assert (before, between, await governor.ages_ms([DEFAULT_QUEUE])) == ([7_000], [7_000], [0])

    async def test_a_delayed_job_is_as_old_as_it_has_been_due(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, job(delay_s=10))
        await clock.advance(13)

        assert await governor_of(backend).ages_ms([DEFAULT_QUEUE]) == [3_000]

    async def test_a_retried_job_is_as_old_as_its_retry(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(20)
        await backend.settle([Reschedule(lease_of(running), 1_000, "SMTPError: 421")])
        await clock.advance(4)
        await backend.promote(limit=ALL)

        assert await governor_of(backend).ages_ms([DEFAULT_QUEUE]) == [3_000]

    async def test_a_cancelled_job_has_no_age(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        gone = job()
        await enqueue(backend, gone)
        await clock.advance(5)
        await enqueue(backend, job())
        await clock.advance(2)
        await backend.cancel(gone.id)

        assert await governor_of(backend).ages_ms([DEFAULT_QUEUE]) == [2_000]

    async def test_each_queue_has_its_own_age(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await backend.create_queue("mail")
        await backend.create_queue("idle")
        await enqueue(backend, job())
        await clock.advance(1)
        await enqueue(backend, job(queue="mail"))
        await clock.advance(1)

        assert await governor_of(backend).ages_ms(["mail", "idle", DEFAULT_QUEUE]) == [1_000, 0, 2_000]


class PurgeConformance(ConformanceSuite):
    async def test_waiting_jobs_are_purged_and_no_others(self, backend: Backend, job: Jobs) -> None:
        dead, running = await given_dead(backend, job()), await given_running(backend, job())
        waiting = [job(), job(delay_s=60), job(schedule_s=60)]
        await enqueue(backend, *waiting)

        purged = await governor_of(backend).purge(DEFAULT_QUEUE, limit=ALL)

        assert purged == 3
        assert await counts(backend) == counted(running=1, dead=1)
        assert [await backend.get(one.id) for one in waiting] == [None, None, None]
        assert await backend.get(dead.id) is not None
        assert await backend.settle([Complete(lease_of(running))])

    async def test_no_more_than_the_limit_is_purged_at_once(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, *(job() for _ in range(3)), *(job(delay_s=60) for _ in range(2)))
        governor = governor_of(backend)

        purged = [await governor.purge(DEFAULT_QUEUE, limit=2) for _ in range(4)]

        assert purged == [2, 2, 1, 0]

    async def test_other_queues_are_left_alone(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        kept = job()
        await enqueue(backend, job(queue="mail"), kept)

        await governor_of(backend).purge("mail", limit=ALL)

        assert ids(await reserve(backend, "mail", DEFAULT_QUEUE)) == [kept.id]

    async def test_what_was_purged_never_runs_and_never_expires(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        await enqueue(backend, job(delay_s=1), job(schedule_s=5), job())
        await governor_of(backend).purge(DEFAULT_QUEUE, limit=ALL)

        await clock.advance(10)

        assert await backend.promote(limit=ALL) == 0
        assert await backend.expire(limit=ALL) == []
        assert await reserve(backend) == []

    async def test_cancelled_jobs_are_not_purged(self, backend: Backend, job: Jobs) -> None:
        gone, late = job(), job(delay_s=60)
        await enqueue(backend, gone, late, job())
        await backend.cancel(gone.id)
        await backend.cancel(late.id)

        assert await governor_of(backend).purge(DEFAULT_QUEUE, limit=ALL) == 1
        assert await backend.get(gone.id) is not None


class DeleteQueueConformance(ConformanceSuite):
    async def test_an_empty_queue_is_deleted_with_its_rules(self, backend: Backend) -> None:
        await backend.create_queue("mail")
        governor = governor_of(backend)
        await governor.change("mail", {"max_depth": 1})

        assert await governor.delete("mail")

        assert list(await backend.queues()) == [DEFAULT_QUEUE]
        await backend.create_queue("mail")
        assert await governor.rules_of("mail") == NO_RULES

    @pytest.mark.parametrize(
        ("state", "seen"),
        [
            ("ready", counted(ready=1)),
            ("scheduled", counted(scheduled=1)),
            ("running", counted(running=1)),
            ("dead", counted(dead=1)),
        ],
    )
    async def test_a_queue_that_has_jobs_stays(
        self, backend: Backend, job: Jobs, state: str, seen: QueueCounts
    ) -> None:
        await backend.create_queue("mail")
        given = job(queue="mail", delay_s=60 if state == "scheduled" else 0)
        if state == "dead":
            await given_dead(backend, given)
        elif state == "running":
            await given_running(backend, given)
        else:
            await enqueue(backend, given)

        assert not await governor_of(backend).delete("mail")

        assert await counts(backend, "mail") == seen

    async def test_a_deleted_queue_takes_no_jobs(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        await governor_of(backend).delete("mail")

        assert await backend.enqueue([job(queue="mail")]) == [Enqueued.NO_QUEUE]
        with pytest.raises(QueueNotFoundError):
            await reserve(backend, "mail")

    async def test_a_job_that_has_ended_outlives_its_queue(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        done, cancelled = (
            await given_done(backend, job(queue="mail")),
            await given_cancelled(backend, job(queue="mail")),
        )
        assert await governor_of(backend).delete("mail")

        looked_at = [await backend.get(one.id) for one in (done, cancelled)]
        asked_to_end = [await backend.cancel(one.id) for one in (done, cancelled)]

        assert looked_at == asked_to_end == [done, cancelled]
        assert await backend.delete([done.id, cancelled.id]) == 2


class GovernorConformance(
    RulesConformance, AgeConformance, PurgeConformance, DeleteQueueConformance, OwnRetentionConformance, RateConformance
):
    """What a backend keeps that says it governs queues one by one."""
