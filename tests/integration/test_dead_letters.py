"""The dead letters over HTTP: found, grouped, brought back many at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.server_process import ServerProcess, running_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(env={"MAX_RETRIES": "0", "BASE_DELAY": "1", "MAX_DELAY": "1"}) as server:
        yield server


def dead(server: ServerProcess, job_type: str, count: int = 1) -> list[str]:
    ids = [server.submit(job_type)["id"] for _ in range(count)]
    for job_id in ids:
        server.wait_for_status(job_id, "DEAD")
    return ids


def post(server: ServerProcess, path: str, **members: Any) -> Any:
    return server.post(path, msgspec.json.encode(members))


def test_dead_jobs_are_grouped_by_what_they_died_of(server: ServerProcess) -> None:
    fails, flakies = dead(server, "fail", 3), dead(server, "flaky")

    answer = server.get("/dlq/summary").json

    [first, second] = answer["groups"]
    assert answer["complete"] is True
    about = ("type", "reason", "error", "place", "count", "example")
    assert [first[name] for name in about] == ["fail", "retries_exhausted", "ValueError", "apps.py:fail", 3, fails[-1]]
    assert [second[name] for name in about[:5]] == [
        *("flaky", "retries_exhausted", "ConnectionError", "apps.py:fail_twice", 1),
    ]
    assert second["example"] == flakies[0]
    assert first["first_died_at"] <= first["last_died_at"]


def test_one_group_is_counted_and_then_brought_back(server: ServerProcess) -> None:
    fails, flakies = dead(server, "fail", 2), dead(server, "flaky", 2)
    [fingerprint] = [g["fingerprint"] for g in server.get("/dlq/summary").json["groups"] if g["type"] == "flaky"]

    tried = post(server, "/dlq/replay", fingerprint=fingerprint, dry_run=True).json
    still_dead = server.get("/dlq").json
    done = post(server, "/dlq/replay", fingerprint=fingerprint).json

    assert tried == {"matched": 2, "replayed": 0, "complete": True}
    assert len(still_dead) == 4
    assert done == {"matched": 2, "replayed": 2, "complete": True}
    assert {server.job(job_id)["replays"] for job_id in flakies} == {1}
    assert [server.job(job_id)["status"] for job_id in fails] == ["DEAD", "DEAD"]


def test_a_limit_leaves_the_rest_and_says_so(server: ServerProcess) -> None:
    dead(server, "fail", 3)

    assert post(server, "/dlq/replay", type="fail", limit=2).json == {"matched": 2, "replayed": 2, "complete": False}


def test_the_list_can_be_narrowed_and_its_link_keeps_the_filter(server: ServerProcess) -> None:
    fails = dead(server, "fail", 3)
    dead(server, "flaky")

    page = server.get("/dlq?type=fail&q=luck&limit=2")
    link = page.headers["link"]
    rest = server.get(link[link.index("<") + 1 : link.index(">")]).json

    assert [job["id"] for job in [*page.json, *rest]] == fails[::-1]


def test_a_dead_job_is_shown_with_its_attempts(server: ServerProcess) -> None:
    [job_id] = dead(server, "fail")

    shown = server.get(f"/dlq/{job_id}").json

    assert (shown["status"], shown["attempts"][0]["error"]) == ("DEAD", "ValueError: no luck")


def test_what_is_no_dead_job_is_none_here(server: ServerProcess) -> None:
    job_id = server.submit("ok")["id"]
    server.wait_for_status(job_id, "DONE")

    for path in (f"/dlq/{job_id}", "/dlq/7", "/dlq/x"):
        answer = server.get(path)
        assert (answer.status, answer.json) == (404, {"error": "dead job not found"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"fingerprint": "x"}, "fingerprint"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"queue": "a b"}, "queue"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_a_wish_that_is_none_is_refused_by_name_and_nothing_is_replayed(
    server: ServerProcess, body: dict[str, object], field: str
) -> None:
    answer = post(server, "/dlq/replay", **body)

    assert (answer.status, answer.json["field"]) == (400, field)


def test_a_member_nobody_knows_is_refused(server: ServerProcess) -> None:
    answer = post(server, "/dlq/replay", status="DONE")

    assert (answer.status, answer.json["field"]) == (400, "status")


@pytest.mark.parametrize("path", ["/dlq?status=DONE", "/dlq?tpye=fail", "/dlq/summary?limit=1", "/dlq?since=x"])
def test_a_filter_nobody_knows_is_refused(server: ServerProcess, path: str) -> None:
    assert server.get(path).status == 400
