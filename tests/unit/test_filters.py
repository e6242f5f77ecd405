"""Filters: what Python says of jobs becomes what a store is asked for."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gotaskq import Status
from gotaskq.backend import JobQuery
from gotaskq.criteria import PayloadCriterion, payload_criterion
from gotaskq.errors import InvalidRequestError
from gotaskq.filters import query_of
from gotaskq.snowflake import created_at_ms, first_id

NOW_MS = 1_795_428_000_000


def test_nothing_named_admits_all() -> None:
    assert query_of({}, now_ms=NOW_MS) == JobQuery()
    assert query_of({"status": None, "text": "", "payload": {}, "since": None}, now_ms=NOW_MS) == JobQuery()


def test_every_filter_arrives() -> None:
    query = query_of(
        {
            "status": Status.DEAD,
            "queue": "mail",
            "job_type": "email",
            "since": timedelta(hours=1),
            "until": datetime(2026, 11, 23, 11, tzinfo=timezone(timedelta(hours=1))),
            "text": "luck",
            "payload": {"user.id": 7, "name": "ada"},
        },
        now_ms=NOW_MS,
    )

    assert query == JobQuery(
        status=Status.DEAD,
        queue="mail",
        type="email",
        since_ms=NOW_MS - 3_600_000,
        until_ms=NOW_MS,
        text="luck",
        payload=(PayloadCriterion(("user", "id"), "7", True), PayloadCriterion(("name",), '"ada"', True)),
    )


def test_criteria_arrive_as_they_are() -> None:
    criteria = [payload_criterion("a", "x")]

    assert query_of({"payload": criteria}, now_ms=NOW_MS).payload == tuple(criteria)


@pytest.mark.parametrize("field", ["since", "until"])
def test_an_instant_must_name_its_zone(field: str) -> None:
    bound = datetime(2026, 11, 23, 10)  # noqa: DTZ001 - that is the point

    with pytest.raises(InvalidRequestError) as error:
        query_of({"since": bound} if field == "since" else {"until": bound}, now_ms=NOW_MS)

    assert error.value.field == field


@pytest.mark.parametrize("instant", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_any_instant_bounds_ids(instant: datetime) -> None:
    query = query_of({"since": instant, "until": instant}, now_ms=NOW_MS)

    assert 0 <= query.lowest_id == query.beyond_id <= 1 << 63


def test_the_first_id_of_an_instant_is_made_then() -> None:
    assert created_at_ms(first_id(NOW_MS)) == NOW_MS
    assert created_at_ms(type(first_id(0))(first_id(NOW_MS) - 1)) == NOW_MS - 1


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "x" * 257])
def test_a_path_leads_somewhere(path: str) -> None:
    with pytest.raises(InvalidRequestError, match="payload path must be"):
        payload_criterion(path, "1")


def test_a_payload_python_cannot_hold_is_not_admitted() -> None:
    criterion = payload_criterion("n", "1")

    assert not criterion.admits(b'{"n":' + b"1" * 5_000 + b"}")
    assert not payload_criterion("n", "1" * 5_000).admits(b'{"n":1}')
    assert not payload_criterion("n\ud800", "\ud800").admits(b'{"n":1}')
    assert not payload_criterion("n", "\ud800").admits(b'{"n":1}')
