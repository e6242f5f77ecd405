"""Requests that are sent again: whose key it is, in the body, beside it, and in a batch; and their turn in the lane."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.api.test_protocol import InProcess, answered, in_process, post

from gotaskq import TaskQ
from gotaskq.api.answers import Answer
from gotaskq.api.submit import submit, submit_batch

BODY = b'{"type":"email"}'
KEYED = b'{"type":"email","idempotency_key":"k"}'


@pytest.fixture
async def app() -> AsyncIterator[TaskQ]:
    async with TaskQ() as app:
        yield app


def id_of(answer: Answer) -> Any:
    assert answer.status == 201
    return json.loads(answer.body)["id"]


async def test_the_key_beside_a_body_is_the_one_within_it(app: TaskQ) -> None:
    beside = await submit(app.door, BODY, None, key="k", principal="alice")
    within = await submit(app.door, KEYED, None, principal="alice")

    assert id_of(beside) == id_of(within)
    assert (beside.headers, within.headers) == ((), (("idempotency-replayed", "true"),))


async def test_principals_do_not_see_the_jobs_of_each_other_by_a_key(app: TaskQ) -> None:
    answers = [await submit(app.door, BODY, None, key="k", principal=name) for name in ("", "alice", "bob")]
    batches = [await submit_batch(app.door, KEYED, lines=True, principal=name) for name in ("", "alice", "bob")]

    jobs = [id_of(answer) for answer in answers]
    assert len(set(jobs)) == 3
    assert [json.loads(batch.body)["jobs"][0]["id"] for batch in batches] == jobs


@pytest.mark.parametrize("key", ["bob\\nk", "\\nk"])
async def test_a_body_cannot_write_the_key_of_another(app: TaskQ, key: str) -> None:
    await submit(app.door, BODY, None, key="k", principal="bob")
    body = KEYED.replace(b'"k"', b'"%b"' % key.encode())

    answer = await submit(app.door, body, None)
    batch = await submit_batch(app.door, body, lines=True)

    assert (answer.status, batch.status) == (400, 400)


@pytest.fixture
async def server() -> AsyncIterator[InProcess]:
    async with in_process(fast_lane=True) as server:
        yield server


async def test_in_the_lane_answers_keep_their_order_where_some_have_keys(server: InProcess) -> None:
    connection, transport = server.connect()

    connection.data_received(post(KEYED) + post(BODY) + post(KEYED) + post(b"{}"))
    await answered(connection)

    statuses = [part.partition(b" ")[0] for part in transport.sent.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"201", b"201", b"201", b"400"]
    assert transport.sent.count(b"idempotency-replayed: true") == 1
