"""What can be asked of one job, and changed in it, over HTTP: every status of every route."""

from collections.abc import AsyncIterator
from random import Random
from typing import Annotated

import pytest
from msgspec import Meta
from tests.integration.in_asgi import ORIGIN, Api
from tests.integration.wire import assert_is_error

from gotaskq import Context, Job, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.amending import CHANGEABLE
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock

NOT_FOUND = "can't get job with this id"
ROUTES = [("GET", "attempts"), ("GET", "result"), ("GET", "explain"), ("POST", "retry"), ("POST", "run")]


@pytest.fixture
def flaky() -> FlakyBackend:
    return FlakyBackend()


@pytest.fixture
async def app(clock: FakeClock, rng: Random, flaky: FlakyBackend) -> AsyncIterator[TaskQ]:
    app = TaskQ(flaky.around(MemoryBackend(clock=clock, rng=rng)), clock=clock, rng=rng)

    @app.task("email")
    async def email(ctx: Context, to: Annotated[str, Meta(pattern="@")], copies: int = 1) -> int:
        return copies

    @app.handler("fail")
    async def fail(job: Job) -> None:
        raise ValueError("no luck")

    @app.handler("hang")
    async def hang(job: Job) -> None:
        await clock.sleep(3_600)

    async with app:
        yield app


@pytest.fixture
def api(app: TaskQ) -> Api:
    return Api(app)


@pytest.fixture
async def jobs(app: TaskQ, clock: FakeClock) -> AsyncIterator[dict[str, int]]:
    """Give the ids of jobs by where they are, one of each; a worker runs meanwhile."""
    given = {
        "DONE": await app.enqueue("email", {"to": "a@b.c", "copies": 2}),
        "DEAD": await app.enqueue("fail", max_retries=0),
        "retrying": await app.enqueue("fail", max_retries=1),
        "RUNNING": await app.enqueue("hang"),
        "scheduled": await app.enqueue("email", {"to": "a@b.c"}, delay=3_600),
        "CANCELLED": await app.cancel((await app.enqueue("email", {"to": "a@b.c"})).id),
    }
    async with app.workers(concurrency=4) as worker:
        await clock.settle()
        yield {name: job.id for name, job in given.items()}
        worker.hurry()


# ---- everywhere


@pytest.mark.parametrize("job_id", ["1", "9" * 19, "abc", "9" * 21])
@pytest.mark.parametrize(("method", "what"), ROUTES)
async def test_a_job_that_is_not_there_is_not_found(api: Api, method: str, what: str, job_id: str) -> None:
    assert_is_error(await api.ask(method, f"/jobs/{job_id}/{what}"), 404, NOT_FOUND)
    assert_is_error(await api.ask("PATCH", f"/jobs/{job_id}", {"priority": 1}), 404, NOT_FOUND)


@pytest.mark.parametrize(("method", "what"), ROUTES)
async def test_a_store_that_is_away_is_said(api: Api, flaky: FlakyBackend, method: str, what: str) -> None:
    for call in ("get", "amend"):
        flaky.fail(call, times=2)

    answer = await api.ask(method, f"/jobs/1/{what}")
    patched = await api.ask("PATCH", "/jobs/1", {"priority": 1})

    for refused in (answer, patched):
        assert_is_error(refused, 503, "the job store is unavailable; try again later")
        assert refused.headers["retry-after"] == "5"


@pytest.mark.parametrize("what", ["retry", "run"])
async def test_a_form_of_another_site_does_nothing(api: Api, jobs: dict[str, int], what: str) -> None:
    answer = await api.ask("POST", f"/jobs/{jobs['retrying']}/{what}", headers=ORIGIN)

    assert_is_error(answer, 415, "content-type must be application/json")


# ---- attempts and result


async def test_the_attempts_are_those_that_failed_and_the_latest(
    app: TaskQ, api: Api, jobs: dict[str, int], clock: FakeClock
) -> None:
    shown = {name: (await api.get(f"/jobs/{job_id}/attempts")).json for name, job_id in jobs.items()}

    at = "2026-11-23T10:00:00.000Z"
    assert [attempt["status"] for attempt in shown["DEAD"]["attempts"]] == ["FAILED"]
    assert shown["DEAD"]["attempts"][0]["error"] == "ValueError: no luck"
    assert (shown["DONE"]["id"], shown["DONE"]["status"], shown["DONE"]["attempt"]) == (str(jobs["DONE"]), "DONE", 1)
    [done] = shown["DONE"]["attempts"]
    assert done.pop("worker")
    assert done == {"attempt": 1, "status": "DONE", "started_at": at, "finished_at": at}
    [running] = shown["RUNNING"]["attempts"]
    assert running.pop("worker")
    assert running == {"attempt": 1, "status": "RUNNING", "started_at": at}
    assert (shown["CANCELLED"]["attempts"], shown["scheduled"]["attempts"]) == ([], [])


async def test_a_result_is_what_was_returned_and_nothing_around_it(app: TaskQ, api: Api, jobs: dict[str, int]) -> None:
    answer = await api.get(f"/jobs/{jobs['DONE']}/result")

    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", b"2")


async def test_a_job_that_returned_nothing_has_null(app: TaskQ, api: Api, clock: FakeClock) -> None:
    @app.handler("quiet")
    async def quiet(job: Job) -> None: ...

    job = await app.enqueue("quiet")
    async with app.workers(concurrency=1):
        await clock.settle()

    assert (await api.get(f"/jobs/{job.id}/result")).body == b"null"


@pytest.mark.parametrize(
    ("name", "status"),
    [("DEAD", "DEAD"), ("RUNNING", "RUNNING"), ("scheduled", "PENDING"), ("CANCELLED", "CANCELLED")],
)
async def test_a_job_that_is_not_done_has_no_result(api: Api, jobs: dict[str, int], name: str, status: str) -> None:
    answer = await api.get(f"/jobs/{jobs[name]}/result")

    assert_is_error(answer, 409, f"job {jobs[name]} is {status}; only a job that is DONE has a result")


# ---- retry and run


async def test_a_dead_job_is_run_again(api: Api, jobs: dict[str, int]) -> None:
    answer = await api.post(f"/jobs/{jobs['DEAD']}/retry")

    assert answer.status == 200
    assert (answer.json["status"], answer.json["replays"], answer.json["retry_count"]) == ("PENDING", 1, 0)


@pytest.mark.parametrize("what", ["retry", "run"])
async def test_a_retry_is_due_now(api: Api, jobs: dict[str, int], clock: FakeClock, what: str) -> None:
    answer = await api.post(f"/jobs/{jobs['retrying']}/{what}")
    await clock.settle()

    assert (answer.status, answer.json["status"], answer.json["retry_count"]) == (200, "PENDING", 1)
    assert answer.json["run_after"] == "2026-11-23T10:00:00.000Z"
    assert (await api.get(f"/jobs/{jobs['retrying']}")).json["status"] == "DEAD"  # its second attempt was its last


async def test_a_scheduled_job_runs_now(api: Api, jobs: dict[str, int], clock: FakeClock) -> None:
    answer = await api.post(f"/jobs/{jobs['scheduled']}/run")
    await clock.settle()

    assert (answer.status, answer.json["delay"]) == (200, 3_600)
    assert (await api.get(f"/jobs/{jobs['scheduled']}")).json["status"] == "DONE"


@pytest.mark.parametrize(
    ("what", "name", "status"),
    [
        *[("retry", "DONE", "DONE"), ("retry", "CANCELLED", "CANCELLED"), ("retry", "RUNNING", "RUNNING")],
        *[("retry", "scheduled", "PENDING"), ("run", "DONE", "DONE"), ("run", "DEAD", "DEAD")],
        *[("run", "CANCELLED", "CANCELLED"), ("run", "RUNNING", "RUNNING")],
    ],
)
async def test_other_jobs_are_left_and_say_why(
    api: Api, jobs: dict[str, int], what: str, name: str, status: str
) -> None:
    before = (await api.get(f"/jobs/{jobs[name]}")).body

    answer = await api.post(f"/jobs/{jobs[name]}/{what}")

    allowed = {
        "retry": "only a job that is DEAD, or waits for its retry, can be run again",
        "run": "only a job that waits can be changed or run now",
    }
    assert_is_error(answer, 409, f"job {jobs[name]} is {status}; {allowed[what]}")
    assert (await api.get(f"/jobs/{jobs[name]}")).body == before


# ---- PATCH


async def test_a_waiting_job_is_changed(api: Api, jobs: dict[str, int], clock: FakeClock) -> None:
    change = b'{"priority":9,"run_after":"2026-11-23T10:01:00Z","max_retries":0,"timeout":1.5,"schedule_timeout":60,'
    answer = await api.ask("PATCH", f"/jobs/{jobs['scheduled']}", change + b'"payload":{"to":"x@y.z", "copies":3}}')

    assert answer.status == 200
    assert answer.json == (await api.get(f"/jobs/{jobs['scheduled']}")).json
    shown = {
        name: answer.json[name] for name in ("priority", "run_after", "max_retries", "timeout", "schedule_timeout")
    }
    assert list(shown.values()) == [9, "2026-11-23T10:01:00.000Z", 0, 1.5, 60]
    assert b'"payload":{"to":"x@y.z", "copies":3}' in answer.body
    await clock.advance(60)
    assert (await api.get(f"/jobs/{jobs['scheduled']}/result")).body == b"3"


async def test_null_takes_a_timeout_away(app: TaskQ, api: Api) -> None:
    job = await app.enqueue("later", timeout=5, schedule_timeout=6)

    answer = await api.ask("PATCH", f"/jobs/{job.id}", {"timeout": None, "schedule_timeout": None})

    assert {"timeout", "schedule_timeout"}.isdisjoint(answer.json)


async def test_an_instant_that_is_past_is_now(api: Api, jobs: dict[str, int], clock: FakeClock) -> None:
    answer = await api.ask("PATCH", f"/jobs/{jobs['scheduled']}", {"run_after": "2020-01-01T00:00:00+02:00"})
    await clock.settle()

    assert answer.json["run_after"] == "2026-11-23T10:00:00.000Z"
    assert (await api.get(f"/jobs/{jobs['scheduled']}")).json["status"] == "DONE"


@pytest.mark.parametrize("status", ["DONE", "DEAD", "RUNNING", "CANCELLED"])
async def test_a_job_that_waits_no_more_is_not_changed(api: Api, jobs: dict[str, int], status: str) -> None:
    before = (await api.get(f"/jobs/{jobs[status]}")).body

    answer = await api.ask("PATCH", f"/jobs/{jobs[status]}", {"priority": 9})

    assert_is_error(answer, 409, f"job {jobs[status]} is {status}; only a job that waits can be changed or run now")
    assert (await api.get(f"/jobs/{jobs[status]}")).body == before


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", None, "invalid json"),
        (b"{", None, "invalid json"),
        (b'{"payload":"\xff"}', None, "invalid json"),
        (b"[]", None, "invalid json: Expected `object`, got `array`"),
        (
            b"{}",
            None,
            f"nothing to change; name one of {CHANGEABLE}",
        ),
        (b'{"queue":"mail"}', "queue", "'queue' is no member that can be given here"),
        (b'{"type":"mail"}', "type", "'type' is no member that can be given here"),
        (b'{"priority":11}', "priority", "priority must be between 0 and 10"),
        (b'{"priority":true}', "priority", "priority must be between 0 and 10"),
        (b'{"priority":null}', "priority", "priority must be between 0 and 10"),
        (b'{"priority":1,"priority":2}', "priority", "member 'priority' is there twice"),
        (b'{"delay":-1}', "delay", "delay must be between 0 and 31536000 seconds"),
        (
            b'{"delay":1,"run_after":"2027-01-01T00:00:00Z"}',
            "run_after",
            "delay and run_after exclude each other; name one of them",
        ),
        (b'{"run_after":"2028-01-01T00:00:00Z"}', "run_after", "run_after must be within 31536000 seconds from now"),
        (b'{"run_after":"1h"}', "run_after", "run_after must be an instant such as 2026-11-23T10:00:00Z, not '1h'"),
        (b'{"run_after":1}', "run_after", "invalid run_after: Expected `str`, got `int`"),
        (b'{"max_retries":101}', "max_retries", "max_retries must be between 0 and 100"),
        (b'{"timeout":0}', "timeout", "timeout must be between 0.001 and 31536000 seconds"),
        (b'{"schedule_timeout":0}', "schedule_timeout", "schedule_timeout must be between 0.001 and 31536000 seconds"),
        (b'{"payload":' + b"[" * 65 + b"]" * 65 + b"}", "payload", "payload is nested deeper than 64 levels"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_by_name(
    api: Api, jobs: dict[str, int], body: bytes, field: str | None, message: str
) -> None:
    before = (await api.get(f"/jobs/{jobs['scheduled']}")).body

    answer = await api.ask("PATCH", f"/jobs/{jobs['scheduled']}", body)

    assert_is_error(answer, 400, message, field=field)
    assert (await api.get(f"/jobs/{jobs['scheduled']}")).body == before


async def test_a_payload_must_fit_the_task_as_when_it_is_posted(api: Api, jobs: dict[str, int]) -> None:
    answer = await api.ask("PATCH", f"/jobs/{jobs['scheduled']}", {"payload": {"to": 7}, "priority": 9})

    assert_is_error(answer, 422, "invalid payload: Expected `str`, got `int`", field="$.payload.to")
    assert (await api.get(f"/jobs/{jobs['scheduled']}")).json["priority"] == 0


async def test_a_body_too_large_or_packed_is_refused(api: Api, jobs: dict[str, int]) -> None:
    path = f"/jobs/{jobs['scheduled']}"

    large = await api.ask("PATCH", path, b" " * ((1 << 20) + 1))
    packed = await api.ask("PATCH", path, b"{}", headers={"content-encoding": "gzip"})

    assert (large.status, packed.status) == (413, 415)


# ---- explain


async def test_every_place_has_its_reason(api: Api, jobs: dict[str, int]) -> None:
    shown = {name: (await api.get(f"/jobs/{job_id}/explain")).json for name, job_id in jobs.items()}

    reasons = {name: [reason["reason"] for reason in one["reasons"]] for name, one in shown.items()}
    assert reasons == {
        "DONE": ["ended"],
        "DEAD": ["ended"],
        "retrying": ["retry_at"],
        "RUNNING": ["running"],
        "scheduled": ["scheduled_for"],
        "CANCELLED": ["ended"],
    }
    assert shown["scheduled"] == {
        "id": str(jobs["scheduled"]),
        "status": "PENDING",
        "queue": "default",
        "type": "email",
        "reasons": [{"reason": "scheduled_for", "due_at": "2026-11-23T11:00:00.000Z", "due_in_seconds": 3_600}],
    }
    assert shown["DEAD"]["reasons"][0]["cause"] == "retries_exhausted"
