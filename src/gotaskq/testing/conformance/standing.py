"""Standing: how many go before a waiting job, or how long the lease of a running one lasts; for those who can say."""

from gotaskq.amendment import Amendment
from gotaskq.backend import Backend, Standing, TellsStanding
from gotaskq.job import Job
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    LEASE_S,
    Jobs,
    enqueue,
    fail,
    given_running,
    ids,
    look,
    reserve,
)
from gotaskq.testing.conformance.suite import ConformanceSuite


async def standing(backend: Backend, job: Job) -> Standing:
    assert isinstance(backend, TellsStanding)
    return await backend.standing(await look(backend, job))


class StandingConformance(ConformanceSuite):
    async def test_the_place_is_the_number_of_reservations_before(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = [job(priority=(5, 0, 10, 5, 0)[number % 5]) for number in range(10)]
        await enqueue(backend, *given)
        await backend.cancel(given[0].id)
        await backend.amend(given[1].id, Amendment(delay_ms=5_000))

        told = {one.id: await standing(backend, one) for one in given[2:]}

        taken = ids(await reserve(backend))
        assert [told[job_id] for job_id in taken] == [Standing(ahead=place) for place in range(8)]

    async def test_other_queues_do_not_count(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        mail = job(queue="mail")
        await enqueue(backend, job(), mail, job())

        assert await standing(backend, mail) == Standing(ahead=0)

    async def test_a_job_that_is_not_due_has_no_place(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given, other = job(delay_s=5), job(priority=10, delay_s=5)
        await enqueue(backend, given, other)

        before = await standing(backend, given)
        await clock.advance(5)
        await backend.promote(limit=10)

        assert before == Standing()
        assert await standing(backend, given) == Standing(ahead=1)

    async def test_a_retry_keeps_its_age(self, backend: Backend, job: Jobs) -> None:
        running = await given_running(backend, job())
        other = job()
        await enqueue(backend, other)
        retried = await fail(backend, running)

        assert await standing(backend, retried) == Standing(ahead=0)
        assert await standing(backend, other) == Standing(ahead=1)

    async def test_a_lease_runs_down(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        running = await given_running(backend, job())
        await clock.advance(10)

        at_first = await standing(backend, running)
        await clock.advance(LEASE_S)

        assert at_first == Standing(lease_left_ms=(LEASE_S - 10) * 1000)
        assert await standing(backend, running) == Standing(lease_left_ms=-10_000)
