"""`GET /jobs`: every filter, pages, and what is refused by name."""

from collections.abc import AsyncIterator
from random import Random

import pytest
from tests.integration.in_asgi import Api
from tests.integration.wire import assert_is_error

from gotaskq import Job, TaskQ
from gotaskq.testing.clock import FakeClock


@pytest.fixture
async def app(clock: FakeClock, rng: Random) -> AsyncIterator[TaskQ]:
    app = TaskQ("memory://", clock=clock, rng=rng)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("No luck")

    async with app:
        yield app


@pytest.fixture
def api(app: TaskQ) -> Api:
    return Api(app)


async def listed(api: Api, query: str) -> list[str]:
    answer = await api.get(f"/jobs?{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return [job["id"] for job in answer.json["jobs"]]


async def test_an_empty_store_has_one_empty_page(api: Api) -> None:
    answer = await api.get("/jobs")

    assert (answer.status, answer.body) == (200, b'{"jobs":[]}')


async def test_a_listed_job_is_shown_as_by_itself(app: TaskQ, api: Api) -> None:
    job = await app.enqueue("mail", {"n": 1.0}, priority=3)

    answer = await api.get("/jobs")

    assert answer.json["jobs"] == [(await api.get(f"/jobs/{job.id}")).json]


async def test_pages_make_up_the_whole(app: TaskQ, api: Api) -> None:
    ids = [str((await app.enqueue("mail")).id) for _ in range(5)]

    first = (await api.get("/jobs?limit=2")).json
    await app.enqueue("mail")
    second = (await api.get(f"/jobs?limit=2&cursor={first['next_cursor']}")).json
    third = (await api.get(f"/jobs?limit=2&cursor={second['next_cursor']}")).json

    assert [job["id"] for page in (first, second, third) for job in page["jobs"]] == ids[::-1]
    assert "next_cursor" not in third


async def test_each_filter_narrows(app: TaskQ, api: Api, clock: FakeClock) -> None:
    await app.create_queue("mail")
    failed = await app.enqueue("fail", {"user": {"id": 7}, "tags": ["a b"]}, max_retries=0)
    async with app.workers(concurrency=1):
        await clock.settle()
    await clock.advance(7_200)
    mail = await app.enqueue("send", {"user": {"id": "7"}}, queue="mail")
    push = await app.enqueue("push", {"user": None}, delay=60)
    all_three = [str(job.id) for job in (push, mail, failed)]

    for query, expected in {
        "status=DEAD": [2],
        "status=pending": [0, 1],
        "queue=MAIL": [1],
        "type=push": [0],
        "type=nothing": [],
        "since=1h": [0, 1],
        "until=1h": [2],
        "since=3h": [0, 1, 2],
        "since=2026-11-23T12:00:00Z": [0, 1],
        "until=2026-11-23t13:00:00%2B01:00": [2],
        "since=2026-11-23T12:00:00.001Z": [],
        "q=luck": [2],
        "q=PUSH": [0],
        f"q={mail.id}": [1],
        "q=": [0, 1, 2],
        "payload.user.id=7": [1, 2],
        "payload.user.id=%227%22": [1],
        "payload.user=null": [0],
        "payload.tags.0=a+b": [2],
        "payload.user.id=7&status=DEAD&type=fail&queue=default&until=1h&q=fail": [2],
    }.items():
        assert await listed(api, query) == [all_three[place] for place in expected], query


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("status=FAILED", "status", "status must be one of PENDING, RUNNING, DONE, DEAD, CANCELLED"),
        ("status=", "status", "status must be one of PENDING, RUNNING, DONE, DEAD, CANCELLED"),
        ("queue=a+b", "queue", "queue name must be 1 to 64 of A-Z a-z 0-9 . _ -"),
        ("limit=0", "limit", "limit must be between 1 and 500"),
        ("limit=501", "limit", "limit must be between 1 and 500"),
        ("limit=x", "limit", "limit must be between 1 and 500"),
        ("cursor=x", "cursor", "cursor must be one that a listing answered with"),
        ("since=2000d&until=40000d", "until", "until must be at most 100 years ago"),
        ("payload.=1", "payload.", "payload path must be member names joined by dots, at most 256 characters, not ''"),
        ("type=a&type=b", "type", "parameter 'type' is there twice"),
        ("payload.a=1&payload.a=2", "payload.a", "parameter 'payload.a' is there twice"),
        (
            "&".join(f"payload.x{number}=1" for number in range(9)),
            "payload",
            "at most 8 filters may look into payloads",
        ),
        (
            "state=DEAD",
            "state",
            "unknown parameter 'state'; known: cursor, limit, q, queue, since, status, type, until, payload.…",
        ),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_name(api: Api, query: str, field: str, message: str) -> None:
    answer = await api.get(f"/jobs?{query}")

    assert answer.status == 400
    assert answer.json == {"error": message, "field": field}


@pytest.mark.parametrize(
    "text",
    ["yesterday", "1", "2026-11-23", "2026-11-23T10:00:00", "2026-02-30T10:00:00Z", "2026-11-23T10:00:00+01:00", ""],
)
async def test_an_instant_names_its_zone_and_exists(api: Api, text: str) -> None:
    answer = await api.get(f"/jobs?since={text}")  # a plus that is not escaped is a space

    allowed = "an instant such as 2026-11-23T10:00:00Z, or so long ago as 1h"
    assert_is_error(answer, 400, f"since must be {allowed}, not {text.replace('+', ' ')!r}", field="since")
