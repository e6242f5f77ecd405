"""The client: what it sends, when it sends it again, and how it reads what comes back."""

from collections.abc import Callable
from random import Random
from typing import Any

import httpx2
import msgspec
import pytest

from gotaskq.client import ApiError, AsyncClient, Client, NoAnswerError, calls
from gotaskq.client.calls import Call, Retries
from gotaskq.client.sse import EventReader
from gotaskq.errors import InvalidRequestError

JOB = {
    "id": "7",
    "type": "email",
    "payload": {"n": 12345678901234567890},
    "status": "PENDING",
    "priority": 5,
    "delay": 0,
    "max_retries": 5,
    "retry_count": 0,
    "created_at": "2026-11-23T10:00:00.123Z",
    "updated_at": "2026-11-23T10:00:00.123Z",
    "run_after": "2026-11-23T10:00:00.123Z",
    "member_of_a_later_version": True,
}


class NoWait(Random):
    """Chance that never makes anybody wait."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class Service:
    """Answers with what the test says, in turn, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, object] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer[0], content=msgspec.json.encode(answer[1]))

    def client(self, **options: Any) -> Client:
        return Client("http://service", rng=NoWait(), transport=httpx2.MockTransport(self), **options)

    @property
    def keys(self) -> set[str]:
        return {request.headers["idempotency-key"] for request in self.asked}


def test_a_job_is_stored_and_read_back_whatever_a_later_service_adds() -> None:
    service = Service((201, JOB))

    with service.client(token="gtq_a_b") as client:
        job = client.enqueue("email", {"to": "a@b.c"}, queue="mail", priority=None)

    [request] = service.asked
    assert (job.id, job.payload, job.status, job.queue, job.has_ended) == (
        "7",
        JOB["payload"],
        "PENDING",
        "default",
        False,
    )
    assert (request.method, request.url.path) == ("POST", "/jobs")
    assert msgspec.json.decode(request.content) == {"type": "email", "payload": {"to": "a@b.c"}, "queue": "mail"}
    assert request.headers["authorization"] == "Bearer gtq_a_b"


@pytest.mark.parametrize(
    "failure", [(503, {"error": "draining"}), (429, {"error": "full"}), (502, {}), httpx2.ReadError("reset")]
)
def test_what_passes_is_tried_again_under_the_same_key(failure: tuple[int, object] | Exception) -> None:
    service = Service(failure, failure, (201, JOB))

    with service.client() as client:
        assert client.enqueue("email").id == "7"

    assert len(service.asked) == 3
    assert len(service.keys) == 1


def test_two_jobs_have_two_keys_and_one_that_is_given_is_kept() -> None:
    service = Service((201, JOB), (201, JOB), (201, JOB))

    with service.client() as client:
        client.enqueue("email")
        client.enqueue("email")
        client.enqueue("email", idempotency_key="order-7")

    assert len(service.keys) == 3
    assert service.asked[-1].headers["idempotency-key"] == "order-7"
    assert b"order-7" not in service.asked[-1].content


def test_each_job_of_a_batch_has_a_key() -> None:
    service = Service((201, {"jobs": [JOB], "errors": [{"index": 1, "error": "type is required", "field": "type"}]}))

    with service.client() as client:
        result = client.enqueue_many([{"type": "email"}, {}], atomic=True)

    body = msgspec.json.decode(service.asked[0].content)
    assert len({job["idempotency_key"] for job in body["jobs"]}) == 2
    assert body["atomic"] is True
    assert (result.jobs[0].id, result.errors[0].index, result.errors[0].field) == ("7", 1, "type")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_does_not_pass_is_said_at_once(status: int) -> None:
    service = Service((status, {"error": "no", "field": "priority", "request_id": "r1"}))

    with service.client() as client, pytest.raises(ApiError) as raised:
        client.enqueue("email")

    error = raised.value
    assert (error.status, error.error, error.field, error.request_id) == (status, "no", "priority", "r1")


def test_it_gives_up_after_its_retries_and_says_what_it_heard_last() -> None:
    service = Service(*[(503, {"error": "draining"})] * 3)

    with service.client(retries=2) as client, pytest.raises(ApiError, match="503: draining"):
        client.get(7)
    assert len(service.asked) == 3


def test_no_answer_at_all_is_an_error_of_its_own() -> None:
    service = Service(httpx2.ConnectError("refused"), httpx2.ConnectError("refused"))

    with service.client(retries=1) as client, pytest.raises(NoAnswerError, match="GET /jobs/7 was not answered"):
        client.get(7)


def act_on(client: Client, name: str) -> object:
    acts: dict[str, Callable[[], object]] = {
        "replay": lambda: client.dlq.replay(7),
        "delete": lambda: client.dlq.delete(7),
        "create": lambda: client.queues.create("mail"),
    }
    return acts[name]()


@pytest.mark.parametrize("name", ["replay", "delete", "create"])
def test_what_a_repeat_would_find_done_is_sent_once(name: str) -> None:
    service = Service(httpx2.ReadError("reset"), (200, JOB))

    with service.client() as client, pytest.raises(NoAnswerError):
        act_on(client, name)
    assert len(service.asked) == 1


def test_a_page_that_is_no_answer_of_ours_is_shown_in_part() -> None:
    def proxy(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404, content=b"<html>" + b"x" * 1_000)

    with Client("http://service", transport=httpx2.MockTransport(proxy)) as client, pytest.raises(ApiError) as raised:
        client.get(7)

    assert raised.value.error == "<html>" + "x" * 194


def test_a_payload_that_is_no_json_is_refused_before_anything_is_sent() -> None:
    service = Service()

    with service.client() as client, pytest.raises(InvalidRequestError, match="payload"):
        client.enqueue("email", object())


def test_waiting_asks_until_it_has_ended() -> None:
    service = Service((200, JOB), (200, {**JOB, "status": "RUNNING"}), (200, {**JOB, "status": "DONE", "result": 250}))

    with service.client() as client:
        job = client.wait(7, timeout=60)

    assert (job.has_ended, job.result) == (True, 250)
    assert [request.url.params["wait"] for request in service.asked] == ["20", "20", "20"]


def test_waiting_for_no_time_is_a_timeout() -> None:
    with Service().client() as client, pytest.raises(TimeoutError, match="goes on all the same"):
        client.wait(7, timeout=0)


def test_a_listing_is_followed_to_its_end() -> None:
    service = Service(
        (200, {"jobs": [JOB, JOB], "next_cursor": "5"}), (200, {"jobs": [], "next_cursor": "3"}), (200, {"jobs": [JOB]})
    )

    with service.client() as client:
        found = list(client.list(status="DEAD"))

    assert len(found) == 3
    assert [request.url.params.get("cursor") for request in service.asked] == [None, "5", "3"]
    assert {request.url.params["status"] for request in service.asked} == {"DEAD"}


@pytest.mark.parametrize("job_id", ["../queue/x", "7?wait=1", "a b", "7/cancel"])
def test_an_id_cannot_become_another_path(job_id: str) -> None:
    service = Service((404, {"error": "can't get job with this id"}))

    with service.client() as client, pytest.raises(ApiError):
        client.get(job_id)

    assert service.asked[0].url.raw_path.count(b"/") == 2


def test_what_the_service_says_of_waiting_is_heeded_within_bounds() -> None:
    retries, call = Retries(3, NoWait()), calls.get(7)

    assert retries.delay_s(call, 1, status=429, retry_after="7") == 7.0
    assert retries.delay_s(call, 1, status=503, retry_after="9999") == 30.0
    assert retries.delay_s(call, 1, status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT") == 0.0
    assert retries.delay_s(call, 4, status=503, retry_after="7") is None
    assert retries.delay_s(Call("POST", "/", calls.nothing, may_repeat=False), 1, status=503, retry_after="1") is None


def test_delays_grow_up_to_a_bound() -> None:
    class Longest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    retries = Retries(20, Longest())

    delays = [retries.delay_s(calls.get(7), tried, status=None, retry_after=None) for tried in range(1, 20)]
    assert delays[:3] == [0.2, 0.4, 0.8]
    assert max(delay for delay in delays if delay is not None) == 5.0


def test_events_are_read_from_lines() -> None:
    reader = EventReader()
    lines = [
        "retry: 2000",
        "",
        ": ping",
        "",
        "id: a-1",
        "event: job.done",
        'data: {"id":',
        'data: "7"}',
        "",
        "data:{}",
        "",
    ]

    events = [event for line in lines for event in reader.feed(line)]

    assert [(event.name, event.id, event.data) for event in events] == [
        ("job.done", "a-1", {"id": "7"}),
        ("", "a-1", {}),
    ]
    assert reader.last_id == "a-1"


async def test_the_asynchronous_client_does_the_same() -> None:
    service = Service(
        (503, {}), (201, JOB), (200, {**JOB, "status": "DONE"}), (200, {"jobs": [JOB]}), (200, ["default"])
    )

    async with AsyncClient("http://service", rng=NoWait(), transport=httpx2.MockTransport(service)) as client:
        job = await client.enqueue("email")
        assert (await client.wait(job.id)).has_ended
        assert [found.id async for found in client.list()] == ["7"]
        assert await client.queues.names() == ["default"]

    assert len({request.headers["idempotency-key"] for request in service.asked[:2]}) == 1


OPERATION = {
    "id": "f8",
    "action": "retry",
    "status": "running",
    "matched": 2,
    "done": 1,
    "failed": 1,
    "started_at": "2026-11-23T10:00:00.123Z",
    "errors": [{"id": "7", "error": "is not there"}],
}
WORKER = {"id": "host:1:ab", "last_seen_at": "2026-11-23T10:00:00.123Z", "quiet": False, "types": ["email"]}


def test_operations_are_listed_looked_at_and_cancelled() -> None:
    service = Service(
        (200, {"operations": [OPERATION]}), (200, OPERATION), (200, OPERATION | {"cancel_requested": True})
    )

    with service.client() as client:
        [listed] = client.operations(limit=5)
        seen, asked = client.operation("f8"), client.cancel_operation("f8")

    assert [(request.method, request.url.raw_path) for request in service.asked] == [
        ("GET", b"/operations?limit=5"),
        ("GET", b"/operations/f8"),
        ("POST", b"/operations/f8/cancel"),
    ]
    assert (listed, seen.errors, asked.cancel_requested) == (seen, OPERATION["errors"], True)


async def test_workers_are_listed() -> None:
    service = Service((200, {"workers": [WORKER], "complete": True}))

    async with AsyncClient("http://service", transport=httpx2.MockTransport(service)) as client:
        [worker] = await client.workers()

    assert (worker.id, worker.queues, worker.types, worker.slots) == ("host:1:ab", None, ["email"], None)
