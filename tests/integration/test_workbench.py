"""Dead letters brought back: patched, at a rate, past those whose twin is alive; in memory and in Redis."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Annotated, Any

import pytest
from msgspec import Meta
from tests.integration.in_asgi import ORIGIN, Api
from tests.integration.wire import assert_is_error
from tests.redis_servers import RedisServer, running
from tests.redis_stores import StoreClock, new_store

from gotaskq import Status, TaskQ
from gotaskq.backend import Backend
from gotaskq.backends.memory import MemoryBackend
from gotaskq.job import DeathReason, Job, Lease
from gotaskq.outcome import DeadLetter
from gotaskq.policies.scheduling import Turn

LEASE_MS = 30_000


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: StoreClock, rng: Random) -> Backend:
    if request.param == "memory":
        return MemoryBackend(clock=clock, rng=rng)
    return clock.watch(new_store(request.getfixturevalue("redis"), clock=clock, rng=rng))


@pytest.fixture
async def app(store: Backend, clock: StoreClock, rng: Random) -> AsyncIterator[TaskQ]:
    app = TaskQ(store, clock=clock, rng=rng)

    @app.task("email")
    async def email(to: Annotated[str, Meta(pattern="@")], n: int = 0) -> None: ...

    async with app:
        yield app


@pytest.fixture
def api(app: TaskQ) -> Api:
    return Api(app)


async def die(store: Backend, count: int) -> None:
    """Let the next jobs die."""
    jobs = await store.reserve([Turn("default", count)], limit=count, lease_ms=LEASE_MS, worker="w")
    assert len(jobs) == count
    for job in sorted(jobs, key=lambda job: job.id):
        lease = job.lease or Lease(job.id, "")
        await store.settle([DeadLetter(lease, reason=DeathReason.NO_RETRY, error="ValueError: no luck")])


async def given_dead(app: TaskQ, store: Backend, *payloads: dict[str, Any], job_type: str = "email") -> list[Job]:
    jobs = [await app.enqueue(job_type, payload) for payload in payloads]
    await die(store, len(jobs))
    return [await app.get(job.id) for job in jobs]


async def status_of(app: TaskQ, *jobs: Job) -> list[Status]:
    return [(await app.get(job.id)).status for job in jobs]


# ---- one


async def test_one_comes_back_patched(app: TaskQ, api: Api, store: Backend) -> None:
    [dead] = await given_dead(app, store, {"to": "a@b.c", "n": 1})

    answer = await api.post(f"/dlq/{dead.id}/replay", {"patch": {"to": "x@y.z", "n": None}})

    assert (answer.status, answer.json["status"], answer.json["payload"]) == (200, "PENDING", {"to": "x@y.z"})
    assert (answer.json["replays"], answer.json["replayed_at"]) == (1, answer.json["updated_at"])
    assert (await api.get(f"/jobs/{dead.id}")).json["replayed_at"] == answer.json["replayed_at"]


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_without_a_patch_it_comes_back_as_it_was(app: TaskQ, api: Api, store: Backend, body: bytes) -> None:
    [dead] = await given_dead(app, store, {"to": "a@b.c"})

    answer = await api.post(f"/dlq/{dead.id}/replay", body)

    assert (answer.status, answer.json["payload"]) == (200, {"to": "a@b.c"})


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"patch": {"to": "nobody"}}, 422, "$.payload.to"),
        ({"patch": {"n": "x"}}, 422, "$.payload.n"),
        ({"patch": {"cc": 1}}, 422, "$.payload.cc"),
        ({"patch": None}, 400, "patch"),
        ({"patch": [1]}, 400, "patch"),
        ({"rate": 1}, 400, "rate"),
    ],
)
async def test_one_that_cannot_be_patched_so_stays_dead(
    app: TaskQ, api: Api, store: Backend, body: dict[str, Any], status: int, field: str
) -> None:
    [dead] = await given_dead(app, store, {"to": "a@b.c"})

    answer = await api.post(f"/dlq/{dead.id}/replay", body)

    assert (answer.status, answer.json["field"]) == (status, field)
    assert await app.get(dead.id) == dead


async def test_what_is_not_dead_or_no_body_is_refused(app: TaskQ, api: Api) -> None:
    waiting = await app.enqueue("email", {"to": "a@b.c"})
    path = f"/dlq/{waiting.id}/replay"

    for body in (None, {"patch": {"n": 1}}):
        assert_is_error(await api.post(path, body), 404, "dead job not found")
    assert_is_error(await api.post("/dlq/7/replay", {"patch": {"n": 1}}), 404, "dead job not found")
    assert_is_error(await api.post(path, b"{"), 400, "invalid json")
    assert (await api.post(path, b'"%b"' % (b"x" * (1 << 20)))).status == 413
    assert (await api.ask("POST", path, b"{}", headers=ORIGIN)).status == 415


@pytest.mark.parametrize("body", [None, {"patch": {"n": 1}}])
async def test_one_whose_twin_is_alive_stays_dead(
    app: TaskQ, api: Api, store: Backend, body: dict[str, Any] | None
) -> None:
    dead = await app.enqueue("email", {"to": "a@b.c"}, unique_key="ada")
    await die(store, 1)
    await app.enqueue("email", {"to": "a@b.c"}, unique_key="ada")

    answer = await api.post(f"/dlq/{dead.id}/replay", body)

    assert (answer.status, answer.json["field"]) == (409, "unique_key")
    assert await status_of(app, dead) == [Status.DEAD]


# ---- many


@pytest.mark.parametrize("patch", [{}, {"patch": {"n": 7}}])
async def test_many_come_back_past_those_whose_twin_is_alive(
    app: TaskQ, api: Api, store: Backend, patch: dict[str, Any]
) -> None:
    unique = await app.enqueue("email", {"to": "a@b.c"}, unique_key="ada")
    await die(store, 1)
    others = await given_dead(app, store, {"to": "b@b.c"}, {"to": "c@b.c"})
    await app.enqueue("email", {"to": "a@b.c"}, unique_key="ada")

    answer = await api.post("/dlq/replay", {"type": "email", **patch})

    assert answer.json == {"matched": 3, "replayed": 2, "conflicts": 1, "complete": True}
    assert await status_of(app, unique, *others) == [Status.DEAD, Status.PENDING, Status.PENDING]
    assert {(await app.get(job.id)).payload.get("n") for job in others} == {7 if patch else None}


async def test_a_dry_run_says_what_the_patch_would_do(app: TaskQ, api: Api, store: Backend) -> None:
    plain = await given_dead(app, store, {"to": "a@b.c", "list": 1}, job_type="plain")
    jobs = await given_dead(app, store, {"to": "b@b.c"})

    answer = await api.post("/dlq/replay", {"patch": {"n": "seven"}, "dry_run": True})

    said = answer.json
    assert (said["matched"], said["replayed"], said["refused"], said["complete"]) == (2, 0, 1, True)
    assert [(error["id"], error["field"]) for error in said["errors"]] == [(str(jobs[0].id), "$.payload.n")]
    assert said["example"] == {
        "id": str(plain[0].id),
        "before": {"to": "a@b.c", "list": 1},
        "after": {"to": "a@b.c", "list": 1, "n": "seven"},
    }
    assert await status_of(app, *plain, *jobs) == [Status.DEAD, Status.DEAD]


async def test_a_patch_that_one_cannot_take_brings_none_back(app: TaskQ, api: Api, store: Backend) -> None:
    plain = await given_dead(app, store, {"to": "a@b.c"}, job_type="plain")
    [email] = await given_dead(app, store, {"to": "b@b.c"})

    answer = await api.post("/dlq/replay", {"patch": {"n": "seven"}})

    assert (answer.status, answer.json["field"]) == (422, "$.payload.n")
    assert answer.json["error"].startswith(f"job {email.id}: ")
    assert await status_of(app, *plain, email) == [Status.DEAD, Status.DEAD]


async def test_one_that_died_again_is_not_given_a_patch_made_for_what_it_was(app: TaskQ, store: Backend) -> None:
    [dead] = await given_dead(app, store, {"to": "a@b.c"})
    await app.replay(dead.id, patch={"to": "x@y.z"})
    await die(store, 1)

    late = await app.revive(dead, payload={"to": "late@b.c"})

    assert (late.is_amended, late.job.payload["to"], late.job.replays) == (False, "x@y.z", 1)
    assert (await app.replay(dead.id, patch={"n": 2})).payload == {"to": "x@y.z", "n": 2}


# ---- at a rate


async def test_they_come_back_evenly(app: TaskQ, api: Api, store: Backend, clock: StoreClock) -> None:
    jobs = await given_dead(app, store, *({"to": f"{number}@b.c"} for number in range(5)))

    begun = await api.post("/dlq/replay", {"patch": {"n": 1}, "rate": 2})

    assert (begun.status, begun.json["action"], begun.json["status"]) == (202, "retry", "running")
    assert begun.headers["location"] == f"/operations/{begun.json['id']}"
    back = []
    for _ in range(5):
        await clock.settle()
        back.append((await status_of(app, *jobs)).count(Status.PENDING))
        await clock.advance(0.5)
    assert back == [1, 2, 3, 4, 5]
    await app.bulk.wait(begun.json["id"])
    shown = (await api.get(begun.headers["location"])).json
    assert (shown["status"], shown["matched"], shown["done"], shown["failed"]) == ("done", 5, 5, 0)


async def test_those_that_cannot_come_back_are_told_and_the_rest_goes_on(app: TaskQ, api: Api, store: Backend) -> None:
    unique = await app.enqueue("plain", {}, unique_key="ada")
    await die(store, 1)
    [email] = await given_dead(app, store, {"to": "b@b.c"})
    [plain] = await given_dead(app, store, {}, job_type="plain")
    await app.enqueue("plain", {}, unique_key="ada")

    begun = await api.post("/dlq/replay", {"patch": {"n": "seven"}, "rate": 1_000})

    done = await app.bulk.wait(begun.json["id"])
    assert (done.matched, done.done, done.failed) == (3, 1, 2)
    errors = {error.job_id: error.error for error in done.errors}
    assert errors[unique.id] == "another job has its unique key"
    assert errors[email.id] == "invalid payload: Expected `int`, got `str`, at $.payload.n"
    assert await status_of(app, unique, email, plain) == [Status.DEAD, Status.DEAD, Status.PENDING]


async def test_a_shutdown_in_the_middle_leaves_the_rest_dead(store: Backend, clock: StoreClock, rng: Random) -> None:
    app = TaskQ(store, clock=clock, rng=rng)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(app)
        jobs = await given_dead(app, store, {}, {}, {}, job_type="plain")
        begun = app.dead_letters.replay_paced(rate=0.1)
        await clock.settle()
        assert (await status_of(app, *jobs)).count(Status.PENDING) == 1

    assert app.bulk.get(begun.id).status.value == "cancelled"
    async with app:
        assert (await status_of(app, *jobs)).count(Status.DEAD) == 2


@pytest.mark.parametrize("rate", [0, -1, 0.001, 1_001, "2"])
async def test_a_rate_that_is_none_is_refused(api: Api, rate: object) -> None:
    answer = await api.post("/dlq/replay", {"rate": rate})

    assert (answer.status, answer.json["field"]) == (400, "rate")


async def test_a_dry_run_at_a_rate_counts_all_of_them(app: TaskQ, api: Api, store: Backend) -> None:
    await given_dead(app, store, {"to": "a@b.c"}, {"to": "b@b.c"})

    answer = await api.post("/dlq/replay", {"rate": 1, "dry_run": True})

    assert (answer.status, answer.json) == (200, {"matched": 2, "replayed": 0, "complete": True})


async def test_too_many_at_once_are_refused(app: TaskQ, api: Api, store: Backend) -> None:
    await given_dead(app, store, {"to": "a@b.c"}, {"to": "b@b.c"})
    for _ in range(2):
        await api.post("/dlq/replay", {"rate": 0.01})

    assert (await api.post("/dlq/replay", {"rate": 1})).status == 429
