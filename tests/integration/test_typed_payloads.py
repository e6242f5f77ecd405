"""The HTTP door checks the payloads of types it knows, in both lanes alike, and in batches."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from msgspec import Meta
from tests.integration.test_lanes_agree import Lanes, assert_same
from tests.unit.api.test_protocol import in_process, post

from gotaskq import TaskQ


def define(app: TaskQ) -> None:
    @app.task("email", queue="mail", priority=7, max_retries=1)
    async def email(to: Annotated[str, Meta(pattern="@")], copies: Annotated[int, Meta(ge=1)] = 1) -> None: ...

    @app.task()
    def sweep() -> None: ...


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    async with in_process(fast_lane=True, define=define) as fast, in_process(fast_lane=False, define=define) as full:
        yield fast, full


@pytest.fixture
async def strict_lanes() -> AsyncIterator[Lanes]:
    async with (
        in_process(fast_lane=True, define=define, strict_types=True) as fast,
        in_process(fast_lane=False, define=define, strict_types=True) as full,
    ):
        yield fast, full


async def ask(lanes: Lanes, body: bytes, *, path: bytes = b"/jobs") -> tuple[int, Any]:
    """Return the status and the body that both lanes answer with."""
    answer = await assert_same(lanes, post(body, path=path))
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.JSONDecoder().raw_decode(rest.decode())[0]


@pytest.mark.parametrize(
    ("payload", "field", "error"),
    [
        (b'{"to":1}', "$.payload.to", "invalid payload: Expected `str`, got `int`"),
        (b'{"to":"nobody"}', "$.payload.to", "invalid payload: Expected `str` matching regex '@'"),
        (b'{"to":"@","copies":0}', "$.payload.copies", "invalid payload: Expected `int` >= 1"),
        (b'{"to":"@","bcc":[]}', "$.payload.bcc", "invalid payload: Object contains unknown field `bcc`"),
        (b"{}", "$.payload.to", "invalid payload: Object missing required field `to`"),
        (b'"@"', "$.payload", "invalid payload: Expected `object`, got `str`"),
    ],
)
async def test_a_payload_that_does_not_fit_is_422_with_its_place(
    lanes: Lanes, payload: bytes, field: str, error: str
) -> None:
    body = b'{"type":"email","payload":%b}'
    await ask(lanes, body % b'{"to":"a@b.c"}')  # from now on the fast lane knows the frame of such a body

    for _ in range(2):
        assert await ask(lanes, body % payload) == (422, {"error": error, "field": field})
    assert (await lanes[0].taskq.queues())["mail"].depth == 1


async def test_a_payload_that_fits_comes_back_as_it_was_sent(lanes: Lanes) -> None:
    body = b'{"type":"email","payload":{ "to" : "a@b.c" , "copies":2 }}'

    for _ in range(2):
        answer = await assert_same(lanes, post(body))

        assert answer.startswith(b"HTTP/1.1 201")
        assert b'"payload":{ "to" : "a@b.c" , "copies":2 }' in answer


@pytest.mark.parametrize(
    ("members", "path", "queue", "priority", "max_retries"),
    [
        (b"", b"/jobs", "mail", 7, 1),
        (b',"queue":null,"priority":null,"max_retries":null', b"/jobs", "mail", 7, 1),
        (b',"priority":0,"max_retries":0', b"/jobs", "mail", 0, 0),
        (b',"queue":"default"', b"/jobs", None, 7, 1),
        (b"", b"/default/jobs", None, 7, 1),
    ],
)
async def test_what_a_body_does_not_say_is_as_the_task_says(
    lanes: Lanes, members: bytes, path: bytes, queue: str | None, priority: int, max_retries: int
) -> None:
    for _ in range(2):
        status, job = await ask(lanes, b'{"type":"email","payload":{"to":"a@b.c"}%b}' % members, path=path)

        assert status == 201
        assert (job.get("queue"), job["priority"], job["max_retries"]) == (queue, priority, max_retries)


@pytest.mark.parametrize("body", [b'{"type":"sweep"}', b'{"type":"sweep","payload":{}}'])
async def test_a_task_without_arguments_needs_no_payload(lanes: Lanes, body: bytes) -> None:
    status, _ = await ask(lanes, body)

    assert status == 201


async def test_an_unknown_type_is_taken(lanes: Lanes) -> None:
    status, job = await ask(lanes, b'{"type":"other","payload":7}')

    assert (status, job["payload"]) == (201, 7)


async def test_an_unknown_type_is_422_where_types_are_strict(strict_lanes: Lanes) -> None:
    for _ in range(2):
        assert await ask(strict_lanes, b'{"type":"emial","payload":7}') == (
            422,
            {"error": "unknown type 'emial'; known here: email, sweep", "field": "type"},
        )
    status, _ = await ask(strict_lanes, b'{"type":"sweep"}')
    assert status == 201


async def test_a_batch_refuses_only_what_does_not_fit(lanes: Lanes) -> None:
    good, bad = b'{"type":"email","payload":{"to":"a@b.c"}}', b'{"type":"email","payload":{"to":1}}'

    status, answer = await ask(lanes, b'{"jobs":[%b,%b]}' % (good, bad), path=b"/jobs/batch")

    assert status == 201
    assert [job["queue"] for job in answer["jobs"]] == ["mail"]
    assert answer["errors"] == [
        {"index": 1, "error": "invalid payload: Expected `str`, got `int`", "field": "$.payload.to"}
    ]


async def test_an_atomic_batch_with_one_that_does_not_fit_is_422(lanes: Lanes) -> None:
    good, bad = b'{"type":"email","payload":{"to":"a@b.c"}}', b'{"type":"email","payload":{"to":1}}'

    status, answer = await ask(lanes, b'{"jobs":[%b,%b],"atomic":true}' % (good, bad), path=b"/jobs/batch")

    assert status == 422
    assert answer["jobs"] == []
    assert [error.get("field") for error in answer["errors"]] == [None, "$.payload.to"]
