"""What the HTTP contract shows of jobs that have run: done, retried, dead, replayed and deleted."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.http_client import Answer
from tests.integration.server_process import ServerProcess, eventually, running_server
from tests.integration.wire import INSTANT, ORIGINAL_MEMBERS

numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(env={"BASE_DELAY": "1", "MAX_DELAY": "1"}) as server:
        yield server


def dead_job(server: ServerProcess, job_type: str = "fail", **members: Any) -> Any:
    job = server.submit(job_type, **{"max_retries": 0, **members})
    return server.wait_for_status(job["id"], "DEAD")


def own_queue(server: ServerProcess) -> str:
    name = f"own-{next(numbers)}"
    assert server.post(f"/queue/{name}").status == 201
    return name


def dead_ids(server: ServerProcess) -> list[str]:
    return [job["id"] for job in server.get("/dlq").json]


def test_a_done_job_shows_when_it_ran_and_no_error(server: ServerProcess) -> None:
    job = server.submit("ok", {"a": 1}, priority=2)

    done = server.wait_for_status(job["id"], "DONE")

    assert list(done) == [*ORIGINAL_MEMBERS, "attempt", "started_at", "finished_at"]
    unchanged = ["id", "type", "payload", "priority", "delay", "max_retries", "retry_count", "created_at", "run_after"]
    assert {name: done[name] for name in unchanged} == {name: job[name] for name in unchanged}
    assert done["attempt"] == 1
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] == done["updated_at"]


def test_a_job_that_failed_and_then_succeeded_keeps_its_last_error(server: ServerProcess) -> None:
    job = server.submit("flaky")

    done = server.wait_for_status(job["id"], "DONE")

    assert (done["retry_count"], done["attempt"]) == (2, 3)
    assert done["error"] == "ConnectionError: attempt 2"


def test_a_job_without_retries_left_is_dead_with_its_error_and_the_reason(server: ServerProcess) -> None:
    job = server.submit("fail", "payload", max_retries=2)

    server.wait_for_status(job["id"], "DEAD")
    answer = server.get(f"/jobs/{job['id']}")

    assert re.search(
        rb'"status":"DEAD","priority":0,"delay":0,"max_retries":2,"retry_count":2,"created_at":%b,"updated_at":(%b),'
        rb'"run_after":%b,"error":"ValueError: no luck","reason":"retries_exhausted","attempt":3,'
        rb'"started_at":%b,"finished_at":\1,"attempts":\[.*\]\}$' % ((INSTANT,) * 4),
        answer.body,
    )


def test_an_error_of_several_lines_becomes_one(server: ServerProcess) -> None:
    dead = dead_job(server, "injure")

    assert dead["error"].isprintable()
    assert dead["error"].startswith('SecretError: first  {"level":"fake"}')


def test_a_handler_that_exits_fails_its_job_only(server: ServerProcess) -> None:
    dead = dead_job(server, "exit")

    assert dead["error"] == "SystemExit: 3"
    assert server.get("/healthz").status == 200


def test_the_dead_letters_are_listed_newest_first_without_their_attempts(server: ServerProcess) -> None:
    dead = [dead_job(server)["id"] for _ in range(3)]

    answer = server.get("/dlq")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert [job["id"] for job in answer.json if job["id"] in dead] == dead[::-1]
    looked_up = server.job(dead[0])
    assert looked_up.pop("attempts")
    assert looked_up in answer.json


def test_the_dead_letters_come_in_pages_when_asked(server: ServerProcess) -> None:
    dead = {dead_job(server)["id"] for _ in range(3)}

    pages = list(pages_of(server, "/dlq?limit=2"))

    listed = [job["id"] for page in pages for job in page.json]
    assert all(len(page.json) == 2 for page in pages[:-1])
    assert listed == dead_ids(server)
    assert dead <= set(listed)


def pages_of(server: ServerProcess, path: str) -> Iterator[Answer]:
    while True:
        page = server.get(path)
        assert page.status == 200
        yield page
        if "link" not in page.headers:
            return
        link = re.fullmatch(r'<(/dlq\?[^>]+)>; rel="next"', page.headers["link"])
        assert link is not None
        path = link[1]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=", "limit"), ("cursor=x", "cursor")],
)
def test_a_bad_page_is_refused(server: ServerProcess, query: str, field: str) -> None:
    answer = server.get(f"/dlq?{query}")

    assert (answer.status, answer.json["field"]) == (400, field)


def test_a_replayed_job_is_pending_on_its_own_queue_with_a_fresh_count(server: ServerProcess, tmp_path: Path) -> None:
    queue = own_queue(server)
    dead = dead_job(server, "mortal", queue=queue, payload={"folder": str(tmp_path)}, max_retries=1)

    answer = server.post(f"/dlq/{dead['id']}/replay")

    replayed = answer.json
    assert answer.status == 200
    assert (replayed["status"], replayed["queue"], replayed["retry_count"]) == ("PENDING", queue, 0)
    assert {"error", "reason", "started_at", "finished_at"}.isdisjoint(replayed)
    assert (replayed["id"], replayed["payload"]) == (dead["id"], dead["payload"])
    (tmp_path / "go").touch()
    done = server.wait_for_status(dead["id"], "DONE")
    assert (done["queue"], done["retry_count"], done["replays"]) == (queue, 0, 1)


def test_a_replayed_job_is_no_dead_letter_any_more(server: ServerProcess, tmp_path: Path) -> None:
    dead = dead_job(server, "mortal", payload={"folder": str(tmp_path)})

    server.post(f"/dlq/{dead['id']}/replay")
    again = server.post(f"/dlq/{dead['id']}/replay")

    assert dead["id"] not in dead_ids(server)
    assert (again.status, again.json) == (404, {"error": "dead job not found"})
    (tmp_path / "go").touch()
    server.wait_for_status(dead["id"], "DONE")


def test_a_replayed_job_has_all_its_retries_again(server: ServerProcess) -> None:
    dead = dead_job(server, max_retries=1)

    server.post(f"/dlq/{dead['id']}/replay")

    again = eventually(lambda: job if (job := server.job(dead["id"]))["attempt"] == 4 else None)
    assert server.wait_for_status(dead["id"], "DEAD")["retry_count"] == 1
    assert again["replays"] == 1


def test_a_deleted_dead_job_is_gone(server: ServerProcess) -> None:
    dead = dead_job(server)

    deleted = server.ask("DELETE", f"/dlq/{dead['id']}")
    again = server.ask("DELETE", f"/dlq/{dead['id']}")
    looked_up = server.get(f"/jobs/{dead['id']}")

    assert (deleted.status, deleted.body) == (200, b'{"message":"dead job deleted successfully"}')
    assert deleted.headers["content-type"] == "application/json"
    assert (again.status, again.body) == (404, b'{"error":"dead job not found"}')
    assert (looked_up.status, looked_up.json["error"]) == (404, "can't get job with this id")
    assert dead["id"] not in dead_ids(server)


def test_a_done_job_is_no_dead_letter(server: ServerProcess) -> None:
    job = server.submit("ok")
    server.wait_for_status(job["id"], "DONE")

    answer = server.ask("DELETE", f"/dlq/{job['id']}")

    assert answer.status == 404
    assert server.job(job["id"])["status"] == "DONE"


def test_a_def_handler_runs_in_a_thread(server: ServerProcess, tmp_path: Path) -> None:
    job = server.submit("in-thread", {"folder": str(tmp_path)})

    server.wait_for_status(job["id"], "DONE")

    assert "MainThread" not in (tmp_path / "thread").read_text()


def test_the_demo_runs_a_logger_job_and_says_so(tmp_path: Path) -> None:
    with running_server("--log-format", "json", app=None, folder=tmp_path) as server:
        job = server.submit("logger", {"msg": "hello"})

        server.wait_for_status(job["id"], "DONE")

        line = server.wait_for_line(job["id"])
        assert '"logger": "gotaskq.demo"' in line
        assert '{\\"msg\\": \\"hello\\"}' in line
