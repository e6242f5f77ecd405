"""Types of other programs: which of what was said of them counts, and that only what all would refuse is refused."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from gotaskq import Job, TaskQ
from gotaskq.assembly import types_of
from gotaskq.board import Notice
from gotaskq.descriptions import MAX_NOTICE_BYTES, notices_of
from gotaskq.errors import InvalidPayloadError
from gotaskq.types_elsewhere import SIDE_BY_SIDE_MS, TypesElsewhere


def old(to: str) -> None: ...


def new(to: str, subject: str) -> None: ...


def upcast(payload: dict[str, Any], _: int) -> dict[str, Any]:
    return {**payload, "subject": ""}


def said(function: Any, job_type: str = "email", **options: Any) -> bytes:
    """Return what a worker of a program with this task says of it."""
    app = TaskQ()
    app.task(job_type, **options)(function)
    [notice] = notices_of(app.tasks, app.job_types)
    return notice


def heard(body: bytes, age_ms: int) -> Notice:
    return Notice(repr(body), body, age_ms)


def young(*bodies: bytes) -> list[Notice]:
    return [heard(body, 0) for body in bodies]


def elsewhere_of(app: TaskQ | None = None) -> TypesElsewhere:
    app = app or TaskQ()
    return TypesElsewhere(types_of(app.tasks), lambda: app.job_types)


def takes(elsewhere: TypesElsewhere, payload: object, job_type: str = "email") -> bool:
    try:
        elsewhere.at_the_door()[job_type].check(msgspec.json.encode(payload))
    except InvalidPayloadError:
        return False
    return True


V1, V2 = said(old, queue="mail", priority=3), said(new, version=2, upcast=upcast, queue="mails")
PLAIN = b'{"type":"logger"}'


def test_what_is_said_is_known_with_its_defaults() -> None:
    elsewhere = elsewhere_of()

    assert elsewhere.hear(young(V1, PLAIN))
    door = elsewhere.at_the_door()
    assert elsewhere.names() == ["email", "logger"]
    assert (door["email"].queue, door["email"].priority, door["email"].max_retries) == ("mail", 3, None)
    assert [entry["type"] for entry in elsewhere.shown()] == ["email", "logger"]
    assert takes(elsewhere, {"to": "a"})
    assert not takes(elsewhere, {"to": 7})
    assert takes(elsewhere, [1, 2], "logger")


def test_only_what_is_new_is_a_change() -> None:
    elsewhere = elsewhere_of()
    first = [elsewhere.hear(young(V1)), elsewhere.hear([heard(V1, 9_000)]), elsewhere.hear(young(V1, PLAIN))]

    assert first == [True, False, True]
    assert elsewhere.hear(young(PLAIN))
    assert elsewhere.hear([])
    assert not elsewhere.hear([])
    assert elsewhere.names() == []


def test_the_newest_version_is_shown_and_sets_the_defaults() -> None:
    elsewhere = elsewhere_of()
    elsewhere.hear(young(V1, V2))

    [entry] = elsewhere.shown()

    assert (entry["version"], elsewhere.at_the_door()["email"].queue) == (2, "mails")


def test_what_one_of_two_takes_that_run_side_by_side_is_taken() -> None:
    one, other = said(old), said(new)
    elsewhere = elsewhere_of()
    elsewhere.hear([heard(one, SIDE_BY_SIDE_MS - 1), heard(other, 0)])

    assert takes(elsewhere, {"to": "a"})
    assert takes(elsewhere, {"to": "a", "subject": "b"})
    with pytest.raises(InvalidPayloadError, match="got `int`"):
        elsewhere.at_the_door()["email"].check(b'{"to":7}')


def test_one_that_is_gone_counts_no_more_once_another_has_taken_over() -> None:
    elsewhere = elsewhere_of()
    elsewhere.hear([heard(said(old), 10 + SIDE_BY_SIDE_MS), heard(said(new), 10)])

    assert not takes(elsewhere, {"to": "a"})


def test_where_all_are_gone_those_that_were_there_last_count() -> None:
    hour_ms = 3_600_000
    elsewhere = elsewhere_of()
    elsewhere.hear([heard(said(old), hour_ms), heard(said(new), hour_ms + 60_000), heard(PLAIN, 0)])

    assert takes(elsewhere, {"to": "a"})
    assert takes(elsewhere, {"to": "a", "subject": "b"})
    assert not takes(elsewhere, {})


def test_the_code_here_goes_first_and_what_others_take_is_taken_too() -> None:
    app = TaskQ()
    app.task("email", queue="own")(old)
    elsewhere = elsewhere_of(app)
    elsewhere.hear(young(V2))

    assert takes(elsewhere, {"to": "a"})
    assert takes(elsewhere, {"$v": 2, "to": "a", "subject": "b"})
    with pytest.raises(InvalidPayloadError, match="newer than the code here"):  # in the words of the code
        elsewhere.at_the_door()["email"].check(b'{"$v":3,"to":"a"}')
    assert elsewhere.at_the_door()["email"].queue == "own"
    assert elsewhere.shown() == []


def test_what_we_say_ourselves_is_no_news() -> None:
    app = TaskQ()
    app.task("email", queue="mail", priority=3)(old)
    elsewhere = elsewhere_of(app)

    assert not elsewhere.hear(young(V1), own=notices_of(app.tasks, app.job_types))
    assert elsewhere.at_the_door() == types_of(app.tasks)


def test_a_plain_handler_here_takes_whatever_others_refuse() -> None:
    app = TaskQ()

    @app.handler("email")
    async def email(job: Job) -> None: ...

    elsewhere = elsewhere_of(app)
    elsewhere.hear(young(V1))

    assert elsewhere.at_the_door() == {}


def test_a_schema_that_is_too_large_is_not_said() -> None:
    def many(to: Annotated[str, Meta(description="x" * MAX_NOTICE_BYTES)]) -> None: ...

    notice = said(many, queue="mail")
    elsewhere = elsewhere_of()
    elsewhere.hear(young(notice))

    assert msgspec.json.decode(notice) == {"type": "email", "queue": "mail", "version": 1}
    assert takes(elsewhere, {"to": 7})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"type":7}',
        b'{"type":"a b"}',
        b'{"type":"a","version":0}',
        b'{"type":"a","queue":"no such name"}',
        b'{"type":"a","priority":11}',
        b'{"type":"a","schema":"x"}',
        b'{"type":"a","schema":{"$defs":7}}',
    ],
)
def test_what_is_no_notice_does_no_harm(body: bytes) -> None:
    elsewhere = elsewhere_of()
    elsewhere.hear(young(body, PLAIN))

    assert {*elsewhere.names()} - {"a"} == {"logger"}
    assert takes(elsewhere, 7, "logger")
