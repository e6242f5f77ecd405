"""Narrowed listings: by when jobs were made, by text, and by what their payloads hold."""

import pytest

from gotaskq.backend import Backend, JobQuery
from gotaskq.criteria import payload_criterion
from gotaskq.job import JobId, Status
from gotaskq.testing.clock import MovableClock
from gotaskq.testing.conformance.given import (
    Jobs,
    die,
    enqueue,
    fail,
    given_dead,
    given_running,
    ids,
    reserve,
    walk,
)
from gotaskq.testing.conformance.suite import ConformanceSuite

PAYLOAD = (
    b'{"user":7,"name":"ada","ok":true,"none":null,"tags":["a",{"x":"1"}],"in":{"deep":1.5},"\\u0065sc":"q","a.b":1}'
)


async def listed(backend: Backend, query: JobQuery) -> list[JobId]:
    """Return the ids of a whole listing, which is the same whatever the size of its pages."""
    found = await walk(backend, query, limit=2)
    assert found == await walk(backend, query)
    return found


class FilterConformance(ConformanceSuite):
    async def test_since_and_until_cut_a_listing(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given, instants = [], []
        for _ in range(4):
            given.append([job(), job()])
            instants.append(clock.now_ms())
            await clock.advance(60)
            await enqueue(backend, *given[-1])
        newest_first = [ids(reversed(pair)) for pair in given]

        def between(since_ms: int | None, until_ms: int | None) -> JobQuery:
            return JobQuery(since_ms=since_ms, until_ms=until_ms)

        assert await listed(backend, between(instants[2], None)) == newest_first[3] + newest_first[2]
        assert await listed(backend, between(instants[2] + 1, None)) == newest_first[3]
        assert await listed(backend, between(None, instants[1])) == newest_first[0]
        assert await listed(backend, between(None, instants[1] + 1)) == newest_first[1] + newest_first[0]
        assert await listed(backend, between(instants[1], instants[2])) == newest_first[1]
        assert await listed(backend, between(instants[2], instants[2])) == []
        assert await listed(backend, between(clock.now_ms(), None)) == []
        assert await listed(backend, between(0, 1)) == []
        assert len(await listed(backend, between(0, 1 << 60))) == 8

    async def test_the_dead_are_narrowed_by_when_they_were_made(
        self, backend: Backend, job: Jobs, clock: MovableClock
    ) -> None:
        old = await given_running(backend, job())
        await clock.advance(10)
        since_ms = clock.now_ms()
        young = await given_dead(backend, job())
        await die(backend, old)

        assert await listed(backend, JobQuery(status=Status.DEAD)) == [old.id, young.id]
        assert await listed(backend, JobQuery(status=Status.DEAD, since_ms=since_ms)) == [young.id]
        assert await listed(backend, JobQuery(status=Status.DEAD, until_ms=since_ms)) == [old.id]

    async def test_a_cursor_and_its_bounds_go_together(self, backend: Backend, job: Jobs, clock: MovableClock) -> None:
        given = []
        for _ in range(6):
            given.append(job())
            await clock.advance(1)
        await enqueue(backend, *given)
        query = JobQuery(since_ms=given[1].created_at_ms, until_ms=given[5].created_at_ms)
        page = await backend.list_jobs(query, after=None, limit=2)

        await enqueue(backend, job())
        rest = await backend.list_jobs(query, after=page.next_cursor, limit=9)

        assert ids(page.jobs) == [given[4].id, given[3].id]
        assert (ids(rest.jobs), rest.next_cursor) == ([given[2].id, given[1].id], None)

    async def test_text_is_found_in_type_id_and_error(self, backend: Backend, job: Jobs) -> None:
        failed = await fail(backend, await given_running(backend, job(job_type="sms.send")), "SMTPError: Mailbox ä")
        mail, push = job(job_type="Email.Send"), job(job_type="push")
        await enqueue(backend, mail, push)

        assert await listed(backend, JobQuery(text="email")) == [mail.id]
        assert await listed(backend, JobQuery(text=".SEND")) == [mail.id, failed.id]
        assert await listed(backend, JobQuery(text="mailbox Ä")) == [failed.id]
        assert await listed(backend, JobQuery(text=str(push.id))) == [push.id]
        assert await listed(backend, JobQuery(text="nothing like it")) == []
        assert await listed(backend, JobQuery(text="send", status=Status.PENDING, type="sms.send")) == [failed.id]

    @pytest.mark.parametrize(
        ("path", "text", "is_admitted"),
        [
            *[("user", "7", True), ("user", "7.0", True), ("user", '"7"', False), ("user", "8", False)],
            *[("name", "ada", True), ("name", '"ada"', True), ("name", "ad", False), ("name", "Ada", False)],
            *[("ok", "true", True), ("ok", "1", False), ("ok", "True", False), ("none", "null", True)],
            *[("tags.0", "a", True), ("tags.1.x", "1", True), ("tags.2", "a", False), ("tags.x", "a", False)],
            *[("tags", '["a",{"x":"1"}]', True), ("in.deep", "1.5", True), ("in", '{ "deep": 1.5 }', True)],
            *[("esc", "q", True), ("deep", "1.5", False), ("user.id", "7", False), ("a.b", "1", False)],
            *[("nobody", "null", False), ("name", "", False), ("name", "{", False), ("none", "", False)],
        ],
    )
    async def test_a_payload_is_looked_into(
        self, backend: Backend, job: Jobs, path: str, text: str, *, is_admitted: bool
    ) -> None:
        given = job(payload_json=PAYLOAD)
        others = [job(payload_json=payload) for payload in (b"null", b"[]", b'"user"', b"7", b"[1e400]", b"{}")]
        await enqueue(backend, *others[:3], given, *others[3:])

        query = JobQuery(payload=(payload_criterion(path, text),))

        assert await listed(backend, query) == ([given.id] if is_admitted else [])

    async def test_all_criteria_hold_at_once(self, backend: Backend, job: Jobs) -> None:
        one, two = job(payload_json=b'{"a":1,"b":1}'), job(payload_json=b'{"a":1,"b":2}')
        await enqueue(backend, one, two)
        a, b = payload_criterion("a", "1"), payload_criterion("b", "2")

        assert await listed(backend, JobQuery(payload=(a,))) == [two.id, one.id]
        assert await listed(backend, JobQuery(payload=(a, b))) == [two.id]
        assert ids(await reserve(backend, limit=1)) == [one.id]
        assert await listed(backend, JobQuery(payload=(a,), status=Status.PENDING)) == [two.id]

    async def test_a_page_of_large_jobs_is_short(self, backend: Backend, job: Jobs) -> None:
        given = [job(payload_json=b'"' + b"x" * (3 << 20) + b'"') for _ in range(5)]
        await enqueue(backend, *given)

        page = await backend.list_jobs(JobQuery(), after=None, limit=5)

        assert 1 <= len(page.jobs) < 5
        assert await walk(backend) == ids(reversed(given))
