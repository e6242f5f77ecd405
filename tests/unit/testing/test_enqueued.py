"""Assertions about enqueued jobs: what they find, and what they show where they find nothing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import pytest

from gotaskq import Job, TaskQ
from gotaskq.testing import assert_enqueued, drain, refute_enqueued


class ATask:
    job_type = "email"


class OfType:
    type = "email"


@pytest.fixture
async def app() -> AsyncIterator[TaskQ]:
    app = TaskQ()

    @app.handler("email")
    async def send(job: Job) -> None:
        pass

    async with app.override():
        await app.create_queue("mail")
        yield app


async def message_of(app: TaskQ, **asked: object) -> str:
    with pytest.raises(AssertionError) as error:
        await assert_enqueued(app, "email", **asked)  # type: ignore[arg-type]  # any mix of them
    return str(error.value)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"to": "a@b.c"},
        {"to": ANY, "about": {"lines": [1, {"deep": True}]}},
        {"about": {"lines": (1, {})}},
        {"at": datetime(2026, 11, 23, 10, tzinfo=UTC)},
    ],
)
async def test_a_payload_may_hold_more_than_is_asked_for(app: TaskQ, members: dict[str, Any]) -> None:
    payload = {"to": "a@b.c", "at": "2026-11-23T10:00:00Z", "about": {"lines": [1, {"deep": True, "x": 1}], "n": 2}}
    job = await app.enqueue("email", payload)

    assert await assert_enqueued(app, "email", **members) == [job]
    with pytest.raises(AssertionError, match="1 job of type 'email'"):
        await refute_enqueued(app, "email", **members)


@pytest.mark.parametrize("task", ["email", ATask(), OfType()])
async def test_a_task_is_named_by_its_type(app: TaskQ, task: ATask) -> None:
    await app.enqueue("email")

    assert len(await assert_enqueued(app, task)) == 1


async def test_a_payload_that_is_no_object_is_asked_for_as_such(app: TaskQ) -> None:
    await app.enqueue("email", [1, 2])
    await app.enqueue("email")

    assert len(await assert_enqueued(app, "email", payload=[1, 2])) == 1
    assert len(await assert_enqueued(app, "email", payload=None)) == 1
    await refute_enqueued(app, "email", payload=[1])
    with pytest.raises(TypeError, match="not both"):
        await assert_enqueued(app, "email", payload=1, to="a@b.c")


async def test_members_named_like_options_are_asked_for_in_the_payload(app: TaskQ) -> None:
    await app.enqueue("email", {"queue": "of people"})

    await assert_enqueued(app, "email", payload={"queue": "of people"})
    await refute_enqueued(app, "email", queue="of people")


async def test_a_job_that_ran_was_enqueued_all_the_same(app: TaskQ) -> None:
    await app.enqueue("email", {"to": "a@b.c"})
    await drain(app)

    await assert_enqueued(app, "email", to="a@b.c", count=1)


async def test_where_nothing_was_enqueued_that_is_said(app: TaskQ) -> None:
    assert await message_of(app) == "no job of type 'email' was enqueued; nothing was"


async def test_a_message_shows_what_was_enqueued_and_why_it_does_not_match(app: TaskQ) -> None:
    await app.enqueue("sms", {"to": "+49"})
    await app.enqueue("email", {"to": "a@b.c"}, priority=3)
    await app.enqueue("email", {"to": "x@y.z"}, queue="mail")
    await app.enqueue("email", {}, queue="mail", priority=3)

    assert await message_of(app, queue="mail", priority=3, to="a@b.c") == (
        "no job of type 'email' on queue 'mail' of priority 3 with {'to': 'a@b.c'} in its payload was enqueued; "
        "these were:\n"
        '  sms on default, priority 0, PENDING: {"to":"+49"}  (type is \'sms\')\n'
        '  email on default, priority 3, PENDING: {"to":"a@b.c"}  (queue is \'default\')\n'
        '  email on mail, priority 0, PENDING: {"to":"x@y.z"}  (priority is 0)\n'
        "  email on mail, priority 3, PENDING: {}  (payload has no 'to')"
    )


async def test_a_message_says_where_a_payload_differs(app: TaskQ) -> None:
    await app.enqueue("email", {"to": ["a@b.c", {"name": "Ada"}]})

    assert "(payload.to[1].name is 'Ada')" in await message_of(app, to=["a@b.c", {"name": "Bob"}])
    assert "(payload.to is ['a@b.c', {'name': 'Ada'}])" in await message_of(app, to=["a@b.c"])


async def test_a_wrong_count_is_told(app: TaskQ) -> None:
    await app.enqueue("email")

    assert (await message_of(app, count=2)).startswith("1, not 2, job of type 'email' was enqueued; these were:")
    await assert_enqueued(app, "sms", count=0)


async def test_a_long_message_is_cut(app: TaskQ) -> None:
    for _ in range(25):
        await app.enqueue("sms", "x" * 1_000)

    message = await message_of(app)

    assert message.endswith("\n  … and 5 more")
    assert len(message) < 10_000


async def test_what_names_no_type_is_refused(app: TaskQ) -> None:
    with pytest.raises(TypeError, match="neither a job type nor a task"):
        await assert_enqueued(app, 7)  # type: ignore[arg-type]  # the point of the test
