"""Dead letters as a file: exported, mended by hand, taken in here or elsewhere, once; in memory and in Redis."""

import json
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Annotated, Any

import pytest
from msgspec import Meta
from tests.integration.http_client import Answer
from tests.integration.in_asgi import ORIGIN, Api
from tests.integration.test_workbench import die, given_dead, status_of
from tests.integration.wire import assert_is_error
from tests.redis_servers import RedisServer, running
from tests.redis_stores import StoreClock, new_store

from gotaskq import Callback, Settings, Status, TaskQ
from gotaskq.backend import Backend
from gotaskq.backends.memory import MemoryBackend
from gotaskq.job import Job
from gotaskq.testing import FlakyBackend

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
NOTHING = {"lines": 1, "replayed": 0, "stored": 0, "already": 0, "conflicts": 0, "errors": []}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


class Stores:
    """Makes stores of one kind."""

    def __init__(self, server: RedisServer | None, clock: StoreClock, rng: Random) -> None:
        self._server, self._clock, self._rng = server, clock, rng

    def new(self) -> Backend:
        if self._server is None:
            return MemoryBackend(clock=self._clock, rng=self._rng)
        return self._clock.watch(new_store(self._server, clock=self._clock, rng=self._rng))


@pytest.fixture(params=["memory", "redis"])
def stores(request: pytest.FixtureRequest, clock: StoreClock, rng: Random) -> Stores:
    return Stores(request.getfixturevalue("redis") if request.param == "redis" else None, clock, rng)


@pytest.fixture
def store(stores: Stores) -> Backend:
    return stores.new()


def new_app(store: Backend, clock: StoreClock, rng: Random) -> TaskQ:
    app = TaskQ(store, settings=Settings(callback_secret=SECRET), clock=clock, rng=rng)

    @app.task("email", queue="mail")
    async def email(to: Annotated[str, Meta(pattern="@")], n: int = 0) -> None: ...

    return app


@pytest.fixture
async def app(store: Backend, clock: StoreClock, rng: Random) -> AsyncIterator[TaskQ]:
    async with new_app(store, clock, rng) as app:
        yield app


@pytest.fixture
async def elsewhere(stores: Stores, clock: StoreClock, rng: Random) -> AsyncIterator[TaskQ]:
    """Return the same app on another store, which is empty."""
    async with new_app(stores.new(), clock, rng) as app:
        yield app


@pytest.fixture
def api(app: TaskQ) -> Api:
    return Api(app)


def lines_of(answer: Answer) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.body.endswith(b"\n") or not answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


async def take_in(api: Api, *lines: dict[str, Any] | bytes) -> Answer:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return await api.post("/dlq/import", b"\n".join(texts))


async def a_line(app: TaskQ, api: Api, store: Backend, **options: Any) -> tuple[Job, dict[str, Any]]:
    """Return a dead job and its line in an export."""
    job = await app.enqueue("plain", {"to": "a@b.c"}, **options)
    await die(store, 1)
    [line] = lines_of(await api.get("/dlq/export"))
    return await app.get(job.id), line


# ---- export


async def test_a_line_has_all_that_makes_the_job_again(app: TaskQ, api: Api, store: Backend) -> None:
    job, line = await a_line(
        app, api, store, priority=7, max_retries=2, timeout=3, headers={"tenant": "acme"}, unique_key="ada"
    )

    for name, value in {
        "id": str(job.id),
        "origin": job.enqueue_nonce,
        "type": "plain",
        "queue": "default",
        "payload": {"to": "a@b.c"},
        "priority": 7,
        "max_retries": 2,
        "timeout": 3,
        "headers": {"tenant": "acme"},
        "unique_key": "ada",
        "status": "DEAD",
        "error": "ValueError: no luck",
        "reason": "no_retry",
    }.items():
        assert line[name] == value
    assert [attempt["error"] for attempt in line["attempts"]] == ["ValueError: no luck"]


async def test_what_we_wrote_among_the_headers_stands_in_no_way(
    app: TaskQ, api: Api, elsewhere: TaskQ, store: Backend
) -> None:
    job, line = await a_line(
        app, api, store, headers={"tenant": "acme"}, callback=Callback("https://example.com/", on=("done",))
    )

    there, here = await take_in(Api(elsewhere), line), await take_in(api, line)

    [stored] = (await elsewhere.list_jobs()).jobs
    assert "gotaskq-callback" in line["headers"]
    assert (there.json["stored"], here.json["replayed"]) == (1, 1)
    assert stored.headers == {"tenant": "acme", "replayed-from": str(job.id)}
    assert "gotaskq-callback" in (await app.get(job.id)).headers


async def test_the_filters_are_those_of_the_list_and_the_group(app: TaskQ, api: Api, store: Backend) -> None:
    plain = await given_dead(app, store, {"n": 1}, {"n": 2}, job_type="plain")
    [other] = await given_dead(app, store, {"n": 1}, job_type="other")
    [group] = [g for g in (await api.get("/dlq/summary")).json["groups"] if g["type"] == "other"]

    async def ids(query: str) -> list[int]:
        return [int(line["id"]) for line in lines_of(await api.get(f"/dlq/export{query}"))]

    assert await ids("") == [other.id, plain[1].id, plain[0].id]
    assert await ids("?type=plain&payload.n=1") == [plain[0].id]
    assert await ids(f"?fingerprint={group['fingerprint']}") == [other.id]
    assert await ids("?type=nothing") == []
    for wrong in ("?limit=1", "?since=x", "?status=DONE", "?fingerprint=", "?fingerprint=x"):
        assert (await api.get(f"/dlq/export{wrong}")).status == 400


async def test_more_than_a_page_is_exported(app: TaskQ, api: Api, store: Backend) -> None:
    jobs = await given_dead(app, store, *({"n": number} for number in range(450)), job_type="plain")

    lines = lines_of(await api.get("/dlq/export"))

    assert [int(line["id"]) for line in lines] == [job.id for job in reversed(jobs)]


async def test_a_payload_over_several_lines_is_one(app: TaskQ, api: Api, store: Backend) -> None:
    await api.post("/jobs", b'{"type":"plain","payload":{\r\n "a" : "x\\ny",\n "b": 1.0 }}')
    await die(store, 1)

    answer = await api.get("/dlq/export")

    assert answer.body.count(b"\n") == 1
    assert lines_of(answer)[0]["payload"] == {"a": "x\ny", "b": 1.0}


async def test_a_store_that_is_away_is_told_before_the_first_line(clock: StoreClock, rng: Random) -> None:
    flaky = FlakyBackend(MemoryBackend(clock=clock, rng=rng))
    async with TaskQ(flaky, clock=clock, rng=rng) as app:
        flaky.fail("list_jobs")

        assert (await Api(app).get("/dlq/export")).status == 503


# ---- import, where the job lies


async def test_a_mended_line_brings_its_job_back_once(app: TaskQ, api: Api, store: Backend) -> None:
    dead, line = await a_line(app, api, store)
    line |= {"payload": {"to": "x@y.z"}, "priority": 3}

    first, second = await take_in(api, line), await take_in(api, line)

    assert (first.status, first.json) == (200, NOTHING | {"replayed": 1})
    assert second.json == NOTHING | {"already": 1}
    back = await app.get(dead.id)
    assert (back.status, back.payload, back.priority, back.replays) == (Status.PENDING, {"to": "x@y.z"}, 3, 1)
    await die(store, 1)
    assert (await take_in(api, line)).json == NOTHING | {"already": 1}
    assert await status_of(app, dead) == [Status.DEAD]


async def test_what_cannot_be_changed_is_told_by_line_and_field(app: TaskQ, api: Api, store: Backend) -> None:
    dead, line = await a_line(app, api, store, headers={"tenant": "acme"})

    answer = await take_in(
        api,
        line | {"type": "other"},
        b"",
        line | {"queue": "mail"},
        line | {"headers": {}},
        line | {"unique_key": "ada"},
        line | {"priority": 11},
    )

    assert [(error["line"], error["field"]) for error in answer.json["errors"]] == [
        (1, "type"),
        (3, "queue"),
        (4, "headers"),
        (5, "unique_key"),
        (6, "priority"),
    ]
    assert await app.get(dead.id) == dead


async def test_a_line_whose_twin_is_alive_is_a_conflict(app: TaskQ, api: Api, store: Backend) -> None:
    dead, line = await a_line(app, api, store, unique_key="ada")
    await app.enqueue("plain", {}, unique_key="ada")

    assert (await take_in(api, line)).json == NOTHING | {"conflicts": 1}
    assert await status_of(app, dead) == [Status.DEAD]


# ---- import, elsewhere


async def test_elsewhere_a_new_job_is_stored_once_and_says_where_it_comes_from(
    app: TaskQ, elsewhere: TaskQ, api: Api, store: Backend
) -> None:
    dead, line = await a_line(app, api, store, priority=7, max_retries=2, timeout=3, headers={"tenant": "acme"})
    other = Api(elsewhere)

    first, second = await take_in(other, line), await take_in(other, line)

    assert (first.json, second.json) == (NOTHING | {"stored": 1}, NOTHING | {"already": 1})
    [job] = (await elsewhere.list_jobs()).jobs
    assert (job.type, job.payload, job.priority, job.max_retries) == ("plain", {"to": "a@b.c"}, 7, 2)
    assert (job.queue, job.timeouts.execution_ms, job.status) == ("default", 3_000, Status.PENDING)
    assert job.headers == {"tenant": "acme", "replayed-from": str(dead.id)}
    assert (await other.get(f"/jobs/{job.id}")).json["replayed_from"] == str(dead.id)
    await elsewhere.cancel(job.id)
    await elsewhere.delete(job.id)
    assert (await take_in(other, line)).json == NOTHING | {"already": 1}


async def test_elsewhere_another_payload_for_the_same_death_is_refused(
    app: TaskQ, elsewhere: TaskQ, api: Api, store: Backend
) -> None:
    _, line = await a_line(app, api, store)
    await take_in(Api(elsewhere), line)

    [error] = (await take_in(Api(elsewhere), line | {"payload": 1})).json["errors"]

    assert (error["line"], error["field"]) == (1, "id")
    assert error["error"].startswith("was imported before with other members")


async def test_a_job_of_the_same_id_that_is_another_is_left(app: TaskQ, api: Api, store: Backend) -> None:
    dead, line = await a_line(app, api, store)

    answer = await take_in(api, line | {"origin": "of-another-store"})

    assert answer.json == NOTHING | {"stored": 1}
    assert await app.get(dead.id) == dead


async def test_each_line_is_judged_for_itself(app: TaskQ, elsewhere: TaskQ, api: Api, store: Backend) -> None:
    _, line = await a_line(app, api, store)

    def changed(number: int, **members: Any) -> dict[str, Any]:
        return line | {"id": str(number)} | members

    answer = await take_in(
        Api(elsewhere),
        changed(1),
        changed(2, type="email", payload={"to": "nobody"}),
        changed(3, queue="nowhere"),
        changed(4, prioritty=1),
        {"id": "5", "type": "plain"},
        b"{",
        b'{"id":"7","id":"7"}',
        changed(8, max_retries=101),
        changed(9, id="x"),
        changed(10),
    )

    said = answer.json
    assert (answer.status, said["lines"], said["stored"]) == (200, 10, 2)
    assert [(error["line"], error.get("field")) for error in said["errors"]] == [
        (2, "$.payload.to"),
        (3, "queue"),
        (4, "prioritty"),
        (5, None),
        (6, None),
        (7, None),
        (8, "max_retries"),
        (9, "id"),
    ]


async def test_a_file_that_is_too_long_or_none_is_refused(api: Api) -> None:
    assert_is_error(await api.post("/dlq/import", b"\n"), 400, "a file holds 1 to 1000 lines, not 0; send it in parts")
    assert (await api.post("/dlq/import", b"{}\n" * 1_001)).status == 400
    assert (await api.post("/dlq/import", b"x" * ((8 << 20) + 1))).status == 413
    assert (await api.ask("POST", "/dlq/import", b"{}", headers=ORIGIN)).status == 415


async def test_a_store_that_is_away_takes_nothing_in_and_may_be_asked_again(clock: StoreClock, rng: Random) -> None:
    flaky = FlakyBackend(MemoryBackend(clock=clock, rng=rng))
    async with TaskQ(flaky, clock=clock, rng=rng) as app:
        _, line = await a_line(app, Api(app), flaky)
        flaky.lose_reply("amend")

        assert (await take_in(Api(app), line)).status == 503
        assert (await take_in(Api(app), line)).json == NOTHING | {"already": 1}
