"""`POST /jobs/actions` and `GET /operations/{id}`: acts on many jobs, counted, begun, and looked at."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
from tests.integration.in_asgi import ORIGIN, Api
from tests.integration.wire import assert_is_error

from gotaskq import Job, Status, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.bulk import MAX_KEPT, MAX_RUNNING
from gotaskq.events import Event, JobAmended, JobCancelled, JobReplayed
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock

AT = "2026-11-23T10:00:00.000Z"


@pytest.fixture
def flaky() -> FlakyBackend:
    return FlakyBackend()


@pytest.fixture
async def app(clock: FakeClock, rng: Random, flaky: FlakyBackend) -> AsyncIterator[TaskQ]:
    app = TaskQ(flaky.around(MemoryBackend(clock=clock, rng=rng)), clock=clock, rng=rng)

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    @app.handler("ok")
    async def ok(job: Job) -> None: ...

    async with app:
        yield app


@pytest.fixture
def api(app: TaskQ) -> Api:
    return Api(app)


async def given_dead(app: TaskQ, clock: FakeClock, count: int) -> list[int]:
    ids = [(await app.enqueue("fail", {"n": number}, max_retries=0)).id for number in range(count)]
    async with app.workers(concurrency=2):
        await clock.settle()
    return [int(job_id) for job_id in ids]


async def ended(app: TaskQ, api: Api, begun: dict[str, object]) -> dict[str, object]:
    """Wait for an operation's end, and return it as it is shown then."""
    await app.bulk.wait(str(begun["id"]))
    shown: dict[str, object] = (await api.get(f"/operations/{begun['id']}")).json
    return shown


async def act_on_all(app: TaskQ, api: Api, action: str, which: dict[str, object]) -> dict[str, object]:
    """Begin an operation and return it as it is shown at its end."""
    begun = await api.post("/jobs/actions", {"action": action, "filter": which})
    assert begun.status == 202
    return await ended(app, api, begun.json)


# ---- what is done


async def test_an_act_is_begun_and_can_be_looked_at(app: TaskQ, api: Api, clock: FakeClock) -> None:
    dead = await given_dead(app, clock, 250)

    answer = await api.post("/jobs/actions", {"action": "retry", "filter": {"status": "DEAD"}})

    begun = answer.json
    assert (answer.status, answer.headers["location"]) == (202, f"/operations/{begun['id']}")
    assert begun == {
        "id": begun["id"],
        "action": "retry",
        "status": "running",
        "matched": 0,
        "done": 0,
        "failed": 0,
        "started_at": AT,
    }
    done = await ended(app, api, begun)
    assert done == begun | {"status": "done", "matched": 250, "done": 250, "finished_at": AT}
    assert {(await app.get(job_id)).status for job_id in dead} == {Status.PENDING}


async def test_retry_acts_on_what_has_failed_and_tells(app: TaskQ, api: Api, clock: FakeClock) -> None:
    events: list[Event] = []
    app.observe(events.append, [JobReplayed, JobAmended, JobCancelled])
    [dead] = await given_dead(app, clock, 1)
    retrying = await app.enqueue("fail", max_retries=1)
    done = await app.enqueue("ok")
    async with app.workers(concurrency=2):
        await clock.settle()
    scheduled = await app.enqueue("fail", delay=60)

    shown = await act_on_all(app, api, "retry", {"since": "1h"})

    assert (shown["matched"], shown["done"], shown["failed"]) == (2, 2, 0)
    assert [(type(event), event.job.id) for event in events] == [(JobReplayed, dead), (JobAmended, retrying.id)]  # type: ignore[union-attr]
    assert (await app.get(done.id)).status is Status.DONE
    assert (await app.get(scheduled.id)).run_after_ms == scheduled.run_after_ms


async def test_cancel_and_delete_act_on_the_rest(app: TaskQ, api: Api, clock: FakeClock) -> None:
    await app.create_queue("mail")
    await given_dead(app, clock, 1)
    for number in range(4):
        await app.enqueue("ok", {"user": {"id": number % 2}}, queue="mail")

    cancelled = await act_on_all(app, api, "cancel", {"queue": "MAIL", "payload": {"user.id": 1}})
    deleted = await act_on_all(app, api, "delete", {"since": "1h"})

    assert (cancelled["matched"], cancelled["done"]) == (2, 2)
    assert (deleted["matched"], deleted["done"], deleted["failed"]) == (5, 5, 0)
    assert (await api.get("/jobs")).json == {"jobs": []}


async def test_named_jobs_that_cannot_be_acted_on_are_told(app: TaskQ, api: Api, clock: FakeClock) -> None:
    [dead] = await given_dead(app, clock, 1)
    waiting = await app.enqueue("ok")
    ids = [str(dead), str(waiting.id), "7", str(dead)]

    counted = await api.post("/jobs/actions", {"action": "cancel", "ids": ids, "dry_run": True})
    shown = await ended(app, api, (await api.post("/jobs/actions", {"action": "cancel", "ids": ids})).json)

    assert (counted.status, counted.json) == (200, {"matched": 1})
    assert (shown["matched"], shown["done"], shown["failed"]) == (3, 1, 2)
    assert shown["errors"] == [
        {"id": str(dead), "error": "is DEAD, and cannot be cancelled"},
        {"id": "7", "error": "is not there"},
    ]
    assert (await app.get(waiting.id)).status is Status.CANCELLED


async def test_a_dry_run_counts_and_does_nothing(app: TaskQ, api: Api, clock: FakeClock) -> None:
    dead = await given_dead(app, clock, 3)
    await app.enqueue("ok")

    counts = {
        action: (await api.post("/jobs/actions", {"action": action, "filter": {"since": "1h"}, "dry_run": True})).json
        for action in ("retry", "cancel", "delete")
    }

    assert counts == {"retry": {"matched": 3}, "cancel": {"matched": 1}, "delete": {"matched": 4}}
    assert {(await app.get(job_id)).status for job_id in dead} == {Status.DEAD}


async def test_a_count_ends_somewhere_and_says_so(app: TaskQ, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gotaskq.bulk.COUNT_BATCHES", 2)
    for _ in range(250):
        await app.enqueue("ok")

    counted = await api.post("/jobs/actions", {"action": "cancel", "filter": {"type": "ok"}, "dry_run": True})

    assert counted.json == {"matched": 200, "more": True}


async def test_jobs_made_meanwhile_are_not_met(app: TaskQ, api: Api) -> None:
    await app.enqueue("ok")
    begun = (await api.post("/jobs/actions", {"action": "cancel", "filter": {"status": "PENDING"}})).json
    await app.bulk.wait(begun["id"])
    late = await app.enqueue("ok")

    assert (await ended(app, api, begun))["done"] == 1
    assert (await app.get(late.id)).status is Status.PENDING


async def test_a_store_that_is_away_ends_an_operation(
    app: TaskQ, api: Api, clock: FakeClock, flaky: FlakyBackend
) -> None:
    await given_dead(app, clock, 2)
    flaky.fail("replay")

    shown = await ended(
        app, api, (await api.post("/jobs/actions", {"action": "retry", "filter": {"status": "DEAD"}})).json
    )

    assert (shown["status"], shown["matched"], shown["done"], shown["finished_at"]) == ("failed", 2, 0, AT)
    assert shown["error"] == "the job store is unavailable; ask for the rest again later"


async def test_a_fault_of_ours_ends_an_operation_and_is_not_told(
    app: TaskQ, api: Api, clock: FakeClock, flaky: FlakyBackend
) -> None:
    flaky.fail("list_jobs", error=RuntimeError("secret"))

    shown = await ended(
        app, api, (await api.post("/jobs/actions", {"action": "retry", "filter": {"status": "DEAD"}})).json
    )

    assert (shown["status"], shown["error"]) == ("failed", "internal")


async def test_what_runs_when_the_app_closes_is_cancelled(clock: FakeClock, rng: Random, flaky: FlakyBackend) -> None:
    app = TaskQ(flaky.around(MemoryBackend(clock=clock, rng=rng)), clock=clock, rng=rng)
    never = asyncio.Event()
    async with app:
        api = Api(app)
        flaky.delay("list_jobs", until=never)
        begun = (await api.post("/jobs/actions", {"action": "retry", "filter": {"status": "DEAD"}})).json
        unbegun = (await api.post("/jobs/actions", {"action": "retry", "filter": {"status": "DEAD"}})).json

    shown = [(await api.get(f"/operations/{one['id']}")).json for one in (begun, unbegun)]
    assert [(one["status"], one["finished_at"]) for one in shown] == [("cancelled", AT)] * 2


async def test_few_run_at_once_and_not_all_are_remembered(app: TaskQ, api: Api, flaky: FlakyBackend) -> None:
    act = {"action": "retry", "filter": {"status": "DEAD"}}
    go = asyncio.Event()
    flaky.delay("list_jobs", until=go, times=MAX_RUNNING)
    begun = [(await api.post("/jobs/actions", act)).json for _ in range(MAX_RUNNING)]

    refused = await api.post("/jobs/actions", act)

    assert_is_error(refused, 429, f"{MAX_RUNNING} operations run already; try again later")
    assert refused.headers["retry-after"] == "5"
    go.set()
    for one in begun:
        assert (await ended(app, api, one))["status"] == "done"
    for _ in range(MAX_KEPT):
        await ended(app, api, (await api.post("/jobs/actions", act)).json)
    assert [(await api.get(f"/operations/{one['id']}")).status for one in begun] == [404] * MAX_RUNNING


# ---- what is refused


async def test_an_operation_nobody_knows_is_not_found(api: Api) -> None:
    answer = await api.get("/operations/17")

    assert_is_error(answer, 404, "no operation with id 17; it never began, or ended long ago")


NEITHER = "name either the ids of jobs or a filter that is not empty"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", None, "invalid json"),
        (b"[]", None, "invalid json: Expected `object`, got `array`"),
        (b"{}", None, "invalid json: Object missing required field `action`"),
        (b'{"action":"explode","ids":["1"]}', "action", "invalid action: Invalid enum value 'explode'"),
        (b'{"action":"retry"}', "filter", NEITHER),
        (b'{"action":"retry","filter":{}}', "filter", NEITHER),
        (b'{"action":"retry","filter":{"q":""}}', "filter", NEITHER),
        (b'{"action":"retry","filter":{"q":"a"},"ids":["1"]}', "filter", NEITHER),
        (
            b'{"action":"retry","filter":{"state":"DEAD"}}',
            "filter.state",
            "'state' is no member that can be given here",
        ),
        (b'{"action":"retry","fitler":{"q":"a"}}', "fitler", "'fitler' is no member that can be given here"),
        (b'{"action":"retry","action":"delete","ids":["1"]}', "action", "member 'action' is there twice"),
        (b'{"action":"retry","ids":[]}', "ids", "ids must be 1 to 1000, not 0; or name a filter"),
        (b'{"action":"retry","ids":["x"]}', "ids", "ids must be those of jobs, as strings of digits"),
        (b'{"action":"retry","ids":[1]}', "ids[0]", "invalid ids[0]: Expected `str`, got `int`"),
        (b'{"action":"retry","filter":{"since":"soon"}}', "filter.since", None),
        (b'{"action":"retry","filter":{"status":"FAILED"}}', "filter.status", None),
        (b'{"action":"retry","filter":{"payload":{"a..b":1}}}', "filter.payload.a..b", None),
        (b'{"action":"retry","filter":{"q":1}}', "filter.q", "invalid filter.q: Expected `str`, got `int`"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_cannot_be_understood_is_refused_by_name(
    api: Api, body: bytes, field: str | None, message: str | None, *, dry_run: bool
) -> None:
    if dry_run and body.startswith(b'{"'):
        body = b'{"dry_run":true,' + body[1:]

    answer = await api.post("/jobs/actions", body)

    assert answer.status == 400
    assert answer.json.get("field") == field
    assert message in (None, answer.json["error"])


async def test_a_form_of_another_site_does_nothing(app: TaskQ, api: Api) -> None:
    job = await app.enqueue("ok")

    answer = await api.ask("POST", "/jobs/actions", {"action": "cancel", "ids": [str(job.id)]}, headers=ORIGIN)

    assert_is_error(answer, 415, "content-type must be application/json")
    assert (await app.get(job.id)).status is Status.PENDING


async def test_a_store_that_is_away_is_said_when_counting(api: Api, flaky: FlakyBackend) -> None:
    flaky.fail("list_jobs")

    answer = await api.post("/jobs/actions", {"action": "retry", "filter": {"q": "a"}, "dry_run": True})

    assert answer.status == 503
