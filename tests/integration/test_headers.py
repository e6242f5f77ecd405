"""Headers of a job, from whoever asks for it to its handler: by HTTP, the library and middleware."""

import json
import re
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest
from tests.integration.test_lanes_agree import ask
from tests.unit.api.test_protocol import in_process
from tests.unit.test_headers import TRACE

from gotaskq import Context, Job, JobRequest, TaskQ, current_context
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.submission import SubmitNext
from gotaskq.errors import InvalidRequestError
from gotaskq.testing import drain

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")

seen: list[object] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


async def put_tenant_in(request: JobRequest, call_next: SubmitNext) -> Job:
    request.headers = {**(request.headers or {}), "tenant": TENANT.get()}
    return await call_next(request)


async def take_tenant_out(job: Job, call_next: CallNext) -> object:
    TENANT.set(job.headers["tenant"])
    return await call_next(job)


async def post(body: object, path: bytes = b"/jobs", headers: bytes = b"", *, lane: bool = True) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with in_process(fast_lane=lane) as server:
        head = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
        transport = await ask(server, head % (path, headers, len(content)) + content)
    answered, _, rest = transport.sent.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answered)
    assert length is not None
    return int(answered.split()[1]), msgspec.json.decode(rest[: int(length[1])])


@pytest.mark.parametrize("lane", [True, False])
async def test_they_are_stored_and_shown_and_left_out_where_there_are_none(lane: bool) -> None:
    asked = {"type": "a", "headers": {"tenant": "größe", "x-1": ""}}

    status, job = await post(asked, lane=lane)
    _, without = await post({"type": "a", "headers": {}}, lane=lane)

    assert (status, job["headers"]) == (201, {"tenant": "größe", "x-1": ""})
    assert "headers" not in without


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"type":"a","headers":{"A":"x"}}', "header name 'A' must be 1 to 64 of a-z 0-9 -"),
        (b'{"type":"a","headers":{"a":1}}', "invalid headers: Expected `str`, got `int`"),
        (b'{"type":"a","headers":["a"]}', "invalid headers: Expected `object | null`, got `array`"),
        (b'{"type":"a","headers":{"a":"1","b":"2","a":"3"}}', "header 'a' is there twice"),
        (b'{"type":"a","headers":{"a":"\\u0000"}}', "header a must be text without control characters"),
    ],
)
async def test_bad_ones_are_refused(body: bytes, error: str, lane: bool) -> None:
    assert await post(body, lane=lane) == (400, {"error": error, "field": "headers"})


async def test_a_name_that_is_twice_in_another_object_is_no_matter() -> None:
    status, _ = await post(b'{"type":"a","headers":{"a":"1"},"payload":{"a":1,"a":2},"x":{"b":1,"b":2}}')

    assert status == 201


async def test_the_trace_of_a_request_goes_with_its_job() -> None:
    header = f"TraceParent: {TRACE}\r\n".encode()

    _, job = await post({"type": "a", "headers": {"tenant": "x"}}, headers=header)
    _, own = await post({"type": "a", "headers": {"traceparent": "mine"}}, headers=header)
    _, other = await post({"type": "a"}, headers=b"traceparent: nonsense\r\n")

    assert job["headers"] == {"traceparent": TRACE, "tenant": "x"}
    assert own["headers"] == {"traceparent": "mine"}
    assert "headers" not in other


async def test_the_trace_of_a_batch_goes_with_each_job_and_each_is_refused_alone() -> None:
    jobs = [{"type": "a"}, {"type": "a", "headers": {"A": "x"}}, {"type": "a", "headers": {"b": "x"}}, {"type": 7}]

    status, answer = await post({"jobs": jobs}, b"/jobs/batch", f"traceparent: {TRACE}\r\n".encode())

    assert status == 201
    assert [job["headers"] for job in answer["jobs"]] == [{"traceparent": TRACE}, {"traceparent": TRACE, "b": "x"}]
    assert [(error["index"], error.get("field")) for error in answer["errors"]] == [(1, "headers"), (3, "type")]


async def test_a_handler_reads_them_in_its_context() -> None:
    app = TaskQ()

    @app.task()
    async def note(ctx: Context, word: str) -> None:
        seen.append((word, ctx.headers, current_context().job.headers))

    async with app.override():
        await note.options(headers={"a": "1"}, priority=2).options(priority=3).enqueue("x")
        await note.enqueue("y")
        await drain(app)

    assert seen == [("x", {"a": "1"}, {"a": "1"}), ("y", {}, {})]


async def test_a_pair_of_middleware_carries_a_context_variable() -> None:
    app = TaskQ(enqueue_middleware=[put_tenant_in], middleware=[take_tenant_out])

    @app.handler("note")
    async def note(_: Job) -> None:
        seen.append(TENANT.get())

    @app.handler("note-in-thread")
    def note_in_thread(_: Job) -> None:
        seen.append(TENANT.get())

    async with app.override():
        for tenant in ("blue", "green"):
            TENANT.set(tenant)
            await app.enqueue("note")
            await app.enqueue_many([app.job("note-in-thread", headers={"other": "x"})])
        TENANT.set("whoever drains")
        await drain(app)

    assert seen == ["blue", "blue", "green", "green"]
    assert TENANT.get() == "whoever drains"


async def test_headers_of_a_middleware_are_checked_too() -> None:
    async def spoil(request: JobRequest, call_next: SubmitNext) -> Job:
        request.headers = {"BAD": "x"}
        return await call_next(request)

    async with TaskQ(enqueue_middleware=[spoil]) as app:
        with pytest.raises(InvalidRequestError, match="'BAD'"):
            await app.enqueue("a")
