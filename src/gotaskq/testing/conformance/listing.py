"""Listing: newest first, page by page, each job at most once and none missed that was there all along."""

import pytest

from gotaskq.backend import Backend, JobQuery
from gotaskq.errors import InvalidRequestError
from gotaskq.job import JobId, Status
from gotaskq.outcome import Complete
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    die,
    enqueue,
    given_cancelled,
    given_dead,
    given_done,
    given_running,
    ids,
    lease_of,
    look,
    reserve,
    walk,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

BAD_CURSORS = {
    "empty": "",
    "word": "no cursor",
    "digits of another script": "٣",
    "nul": "\x00",
    "long": "9" * 400,
}

DEAD = JobQuery(status=Status.DEAD)


async def page_of(backend: Backend, query: JobQuery, after: str | None, *, limit: int) -> tuple[list[JobId], str]:
    """Return the ids of one page that is not the last one, and the cursor behind it."""
    page = await backend.list_jobs(query, after=after, limit=limit)
    assert page.next_cursor is not None
    return ids(page.jobs), page.next_cursor


async def rest_of(backend: Backend, query: JobQuery, after: str) -> list[JobId]:
    """Return the ids of what a listing holds behind a cursor, by pages of two."""
    listed: list[JobId] = []
    cursor: str | None = after
    while cursor is not None:
        page = await backend.list_jobs(query, after=cursor, limit=2)
        listed += ids(page.jobs)
        cursor = page.next_cursor
    return listed


class ListingConformance(ConformanceSuite):
    async def test_an_empty_store_lists_nothing(self, backend: Backend) -> None:
        assert await walk(backend) == []
        assert await walk(backend, DEAD) == []

    async def test_the_newest_job_comes_first(self, backend: Backend, job: Jobs) -> None:
        given = [job(priority=number % 3, delay_s=number % 2) for number in range(7)]
        await enqueue(backend, *given[3:])
        await enqueue(backend, *given[:3])

        assert await walk(backend) == ids(reversed(given))

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
    async def test_pages_make_up_the_whole(self, backend: Backend, job: Jobs, limit: int) -> None:
        given = [job() for _ in range(7)]
        await enqueue(backend, *given)

        assert await walk(backend, limit=limit) == ids(reversed(given))
        await die(backend, *await reserve(backend))
        assert sorted(await walk(backend, DEAD, limit=limit)) == sorted(ids(given))

    async def test_listed_jobs_are_whole(self, backend: Backend, job: Jobs) -> None:
        given = await given_running(backend, job())
        dead = await given_dead(backend, job())

        everything = await backend.list_jobs(JobQuery(), after=None, limit=10)
        the_dead = await backend.list_jobs(DEAD, after=None, limit=10)

        assert everything.jobs == [dead, given]
        assert the_dead.jobs == [dead]

    async def test_status_queue_and_type_narrow_a_listing(self, backend: Backend, job: Jobs) -> None:
        await backend.create_queue("mail")
        running = await given_running(backend, job())
        done = await given_done(backend, job(job_type="sms.send"))
        dead_mail = await given_dead(backend, job(queue="mail"))
        cancelled = await given_cancelled(backend, job())
        waiting, waiting_sms, waiting_mail = job(), job(job_type="sms.send", delay_s=9), job(queue="mail")
        await enqueue(backend, waiting, waiting_sms, waiting_mail)

        async def listed(query: JobQuery) -> list[JobId]:
            found = await walk(backend, query, limit=2)
            assert found == await walk(backend, query)
            return found

        assert await listed(JobQuery(status=Status.PENDING)) == ids([waiting_mail, waiting_sms, waiting])
        assert await listed(JobQuery(status=Status.RUNNING)) == [running.id]
        assert await listed(JobQuery(status=Status.DONE)) == [done.id]
        assert await listed(JobQuery(status=Status.CANCELLED)) == [cancelled.id]
        assert await listed(JobQuery(status=Status.FAILED)) == []
        assert await listed(DEAD) == [dead_mail.id]
        assert await listed(JobQuery(queue="mail")) == ids([waiting_mail, dead_mail])
        assert await listed(JobQuery(type="sms.send")) == ids([waiting_sms, done])
        assert await listed(JobQuery(type="sms.send", status=Status.DONE)) == [done.id]
        assert await listed(JobQuery(queue="mail", status=Status.DEAD)) == [dead_mail.id]
        assert await listed(JobQuery(type="sms.send", status=Status.DEAD)) == []
        assert await listed(JobQuery(queue="nowhere")) == []
        assert await listed(JobQuery(type="nothing")) == []

    async def test_a_listing_holds_while_everything_moves(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        given = [job() for _ in range(9)]
        await enqueue(backend, *given)
        first, cursor = await page_of(backend, JobQuery(), None, limit=3)

        running = await reserve(backend, limit=2)
        await backend.settle([Complete(lease_of(running[0]))])
        await backend.cancel(given[7].id)
        await backend.cancel(given[2].id)
        await backend.delete([given[7].id, given[2].id])
        await clock.advance(1)
        await enqueue(backend, job(), job())

        assert first == ids([given[8], given[7], given[6]])
        assert await rest_of(backend, JobQuery(), cursor) == ids([given[5], given[4], given[3], given[1], given[0]])

    async def test_a_cursor_outlives_the_job_it_stands_for(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(5)]
        await enqueue(backend, *given)
        first, cursor = await page_of(backend, JobQuery(), None, limit=2)

        for job_id in first:
            await backend.cancel(job_id)
        await backend.delete(first)

        assert await rest_of(backend, JobQuery(), cursor) == ids([given[2], given[1], given[0]])

    async def test_a_narrowed_listing_misses_none_that_was_there_all_along(self, backend: Backend, job: Jobs) -> None:
        given = [job() for _ in range(8)]
        await enqueue(backend, *given)
        waiting = JobQuery(status=Status.PENDING)
        first, cursor = await page_of(backend, waiting, None, limit=3)

        started = await reserve(backend, limit=2)

        rest = await rest_of(backend, waiting, cursor)
        assert first + rest == ids(reversed(given[2:]))
        assert not set(rest) & set(ids(started))

    @pytest.mark.parametrize("after", BAD_CURSORS.values(), ids=list(BAD_CURSORS))
    async def test_a_cursor_that_no_listing_gave_is_refused(self, backend: Backend, job: Jobs, after: str) -> None:
        await given_dead(backend, job())

        for query in (JobQuery(), DEAD):
            with pytest.raises(InvalidRequestError) as error:
                await backend.list_jobs(query, after=after, limit=1)

            assert error.value.field == "cursor"


class DeadListingConformance(ConformanceSuite):
    async def test_the_latest_death_comes_first(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        await enqueue(backend, *(job() for _ in range(3)))
        first, second, third = await reserve(backend)

        for running in (second, third, first):
            await die(backend, running)
            await clock.advance(1)

        assert await walk(backend, DEAD) == [first.id, third.id, second.id]

    @pytest.mark.parametrize("limit", [1, 2, 9])
    async def test_deaths_of_one_millisecond_come_latest_first_too(
        self, backend: Backend, job: Jobs, limit: int
    ) -> None:
        await enqueue(backend, *(job() for _ in range(5)))
        a, b, c, d, e = await reserve(backend)

        await die(backend, b, a)
        await die(backend, e)
        await die(backend, c, d)

        assert await walk(backend, DEAD, limit=limit) == ids([d, c, e, a, b])

    async def test_a_listing_of_the_dead_holds_while_everything_moves(self, backend: Backend, job: Jobs) -> None:
        await enqueue(backend, *(job() for _ in range(8)))
        a, b, c, d, e, f, g, late = await reserve(backend)
        await die(backend, a, b, c, d, e, f, g)
        first, cursor = await page_of(backend, DEAD, None, limit=2)

        await backend.replay([g.id, c.id])
        await backend.delete([f.id, e.id])
        await die(backend, late)

        assert first == [g.id, f.id]
        assert await rest_of(backend, DEAD, cursor) == [d.id, b.id, a.id]

    async def test_who_dies_again_is_the_latest(self, backend: Backend, job: Jobs) -> None:
        first, second = await given_dead(backend, job()), await given_dead(backend, job())
        assert await walk(backend, DEAD) == [second.id, first.id]

        await backend.replay([first.id])
        await die(backend, *await reserve(backend))

        assert await walk(backend, DEAD) == [first.id, second.id]
        assert (await look(backend, first)).replays == 1
